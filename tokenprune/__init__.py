"""Token pruning in Vision Transformers of any depth, and tests of the theory behind it.

For code of your own: `sparsify`, `evaluate`, `select`, `to_onnx` (docs/python.md).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenprune.api.evaluate import evaluate as evaluate
    from tokenprune.api.onnx import to_onnx as to_onnx
    from tokenprune.api.select import select as select
    from tokenprune.api.sparsify import Sparsified as Sparsified
    from tokenprune.api.sparsify import sparsify as sparsify

__version__ = "0.1.0"

_OFFERED = {
    "sparsify": "sparsify",
    "Sparsified": "sparsify",
    "evaluate": "evaluate",
    "select": "select",
    "to_onnx": "onnx",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *_OFFERED})


def __getattr__(name: str) -> Any:
    """What is offered is imported when it is asked for: the command line starts without torch."""
    if name not in _OFFERED:
        raise AttributeError(f"module 'tokenprune' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"tokenprune.api.{_OFFERED[name]}"), name)
