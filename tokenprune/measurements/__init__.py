"""Measurements of a finished run's model, by name, one file each. Names are known without torch.

A measurement is a module of this folder with a function

    measure(model, batches, **options) -> dict[str, Values]

that gets the trained model in eval mode and its test batches, and returns named arrays with units; or, where it needs
more of the run than that (its curves, its model pruned, its images in other batches), instead of it

    measure_run(subject, **options) -> dict[str, Values]

that gets all of this in a `Subject`.
"""

import functools
import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tokenprune.errors import refused_options, unknown
from tokenprune.runs import Values

if TYPE_CHECKING:
    from tokenprune.measurements.subject import Subject

MEASUREMENTS = {
    "association": "whether patches side by side have position codes that are alike",
    "attention": "share of attention on label-relevant tokens, block by block",
    "fourier": "log amplitude of feature maps over frequency, half-block by half-block",
    "frequency-noise": "accuracy under noise of one frequency",
    "heads": "convex heads on the frozen tokens, certified, and what attention clusters",
    "hessian": "largest eigenvalues of the loss's Hessian, mini-batch by mini-batch",
    "landscape": "loss on a plane through the trained weights",
    "latency": "milliseconds a batch, unpruned and pruned, at several batch sizes",
    "lesion": "accuracy without the attention or the MLP of one block",
    "rank": "how far tokens are from all being alike, half-block by half-block",
    "variance": "variance of feature maps over the picture, half-block by half-block",
}


def timed(name: str) -> bool:
    """Whether a measurement depends on the machine; it says so by `TIMED = True`. UsageError for an unknown name."""
    return getattr(_module(name), "TIMED", False)


def measure(name: str, subject: "Subject", options: Mapping[str, Any]) -> dict[str, Values]:
    """The arrays of a measurement. Raises UsageError for an unknown name, or options that it does not take."""
    module = _module(name)
    if hasattr(module, "measure_run"):
        taken = functools.partial(module.measure_run, subject)
    else:
        taken = functools.partial(module.measure, subject.model, subject.batches())
    try:
        inspect.signature(taken).bind(**options)
    except TypeError as error:
        raise refused_options(f"measurement {name!r}", taken, options, error) from None
    found: dict[str, Values] = taken(**options)
    return found


def _module(name: str) -> Any:
    if name not in MEASUREMENTS:
        raise unknown("measurement", name, MEASUREMENTS)
    return importlib.import_module(f"tokenprune.measurements.{name.replace('-', '_')}")
