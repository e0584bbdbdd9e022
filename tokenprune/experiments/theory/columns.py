"""Columns of the laboratory's tables."""

from collections.abc import Iterable
from typing import Any

from tokenprune.drawing.numbers import Interval, plain
from tokenprune.drawing.table import Column


def word(value: Any) -> str:
    """The first cell of a row."""
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def number(value: Any) -> str:
    """As it is if it is text: the side of the grid on which N50 lies."""
    return value if isinstance(value, str) else plain(value, ",.0f")


def interval(name: str) -> Column:
    """A column of estimates, each with its interval below."""
    return Column(name, lambda value: plain(value.value), _between)


def _between(value: Interval) -> str | None:
    return None if value.low is None or value.high is None else f"{plain(value.low)} to {plain(value.high)}"


def columns(first: str, others: Iterable[str], form: Any = str) -> tuple[Column, ...]:
    """One that names the row, and numbers."""
    return (Column(first, word, look="word"), *(Column(name, form) for name in others))
