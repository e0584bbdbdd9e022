"""Checks of pruners' options, which come from YAML and the command line as whatever was typed there."""

from collections.abc import Sequence
from typing import Any, NoReturn

from tokenprune.errors import UsageError, shortened


def number(pruner: str, option: str, value: Any, least: float, most: float = float("inf")) -> float:
    """A finite number from `least` to `most`. Raises UsageError for anything else."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not least <= value <= most
        or value in _INFINITE
    ):
        upper = "" if most in _INFINITE else f", at most {most:g}"
        _refuse(pruner, option, value, f"a number, at least {least:g}{upper}")
    return float(value)


def whole(pruner: str, option: str, value: Any, least: int) -> int:
    """A whole number from `least` on. Raises UsageError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        _refuse(pruner, option, value, f"a whole number, at least {least}")
    return value


def flag(pruner: str, option: str, value: Any) -> bool:
    """Raises UsageError for anything but true and false."""
    if not isinstance(value, bool):
        _refuse(pruner, option, value, "true or false")
    return value


def one_of(pruner: str, option: str, value: Any, known: Sequence[str]) -> str:
    """One of some words. Raises UsageError for anything else."""
    if value not in known:
        _refuse(pruner, option, value, " or ".join(known))
    return str(value)


def several(pruner: str, option: str, value: Any, count: int | None = None) -> Sequence[Any]:
    """A list of so many, or of at least one. Raises UsageError for anything else."""
    if not isinstance(value, list | tuple) or not value or (count is not None and len(value) != count):
        _refuse(pruner, option, value, f"a list of {'at least 1' if count is None else count}")
    return value


_INFINITE = (float("inf"), float("-inf"))


def _refuse(pruner: str, option: str, value: Any, what: str) -> NoReturn:
    raise UsageError(f"pruner {pruner!r}: option {option}: found {shortened(repr(value))}, must be {what}")
