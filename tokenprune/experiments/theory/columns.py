"""Columns of the laboratory's tables."""

from collections.abc import Iterable
from typing import Any

from tokenprune.drawing.numbers import Interval, estimate, plain
from tokenprune.drawing.table import Column


def word(value: Any) -> str:
    """The first cell of a row."""
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def number(value: Any) -> str:
    """As it is if it is text: the side of the grid on which N50 lies."""
    return value if isinstance(value, str) else plain(value, ",.0f")


def interval(value: Interval) -> str:
    """1.28 (1.1 to 1.46)"""
    return estimate(value.value, value.low, value.high)


def columns(first: str, others: Iterable[str], form: Any = str) -> tuple[Column, ...]:
    """One that names the row, and numbers."""
    return (Column(first, word, look="word"), *(Column(name, form) for name in others))
