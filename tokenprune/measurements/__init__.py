"""Measurements of a finished run's model, by name, one file each. Names are known without torch.

A measurement is a module of this folder with a function

    measure(model, batches, **options) -> dict[str, Values]

that gets the trained model in eval mode and its test batches, and returns named arrays with units.
"""

import functools
import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tokenprune.errors import refused_options, unknown
from tokenprune.runs import Values

if TYPE_CHECKING:
    from tokenprune.data import Batch
    from tokenprune.models import SparseViT

MEASUREMENTS = {"attention": "share of attention on label-relevant tokens, block by block"}


def measure(name: str, model: "SparseViT", batches: "Iterator[Batch]", options: Mapping[str, Any]) -> dict[str, Values]:
    """The arrays of a measurement. Raises UsageError for an unknown name, or options that it does not take."""
    if name not in MEASUREMENTS:
        raise unknown("measurement", name, MEASUREMENTS)
    module = importlib.import_module(f"tokenprune.measurements.{name}")
    taken = functools.partial(module.measure, model, batches)
    try:
        inspect.signature(taken).bind(**options)
    except TypeError as error:
        raise refused_options(f"measurement {name!r}", taken, options, error) from None
    found: dict[str, Values] = module.measure(model, batches, **options)
    return found
