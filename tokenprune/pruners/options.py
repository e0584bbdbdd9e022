"""Checks of a pruner's options, which come from recipes and the command line and may be of any type."""

import math
from typing import Any

from tokenprune.errors import UsageError, shortened


def number(pruner: str, option: str, value: Any, low: float = 0.0, high: float = math.inf) -> float:
    """The number, if it is one in [low, high] and finite. Raises UsageError."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if real and math.isfinite(value) and low <= value <= high:
        return float(value)
    if math.isfinite(high):
        must = f"a number from {low:g} to {high:g}"
    else:
        must = f"a number of at least {low:g}" if math.isfinite(low) else "a number"
    raise UsageError(f"pruner {pruner!r}: option {option}: found {shortened(repr(value))}, must be {must}")
