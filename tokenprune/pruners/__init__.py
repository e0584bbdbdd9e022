"""Token pruners: the contract, the registry, one file per method. Names that need torch are imported on first use."""

import importlib
from typing import Any

from tokenprune.pruners.registry import BUILT_IN, create, known_pruners, register

_LAZY = ("Pruner", "ScorePruner", "Shape", "Signals", "TokenState")

__all__ = ["BUILT_IN", "Pruner", "ScorePruner", "Shape", "Signals", "TokenState", "create", "known_pruners", "register"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module("tokenprune.pruners.base"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
