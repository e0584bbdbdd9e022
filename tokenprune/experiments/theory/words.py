"""How the laboratory's figures and tables say things, the looks of what they show, and columns of the tables."""

from collections.abc import Iterable
from typing import Any

from tokenprune.drawing.numbers import Interval, plain
from tokenprune.drawing.style import BLUE, GREEN, INK, ORANGE, PURPLE, RED
from tokenprune.drawing.table import Column
from tokenprune.errors import counted

#: What the columns of a phase diagram vary.
AXES = {"alpha": "α*⁻²", "noise": "token noise τ", "start": "starting error σ", "confusion": "confusion tokens α#"}
METHODS = {
    "none": "before removal",
    "random": "random",
    "irrelevant": "label-irrelevant",
    "noisy": "noisy",
    "magnitude": "magnitude",
}
KINDS = {"vit": "ViT", "cnn": "CNN"}

#: (colour, marker, dash). Magnitude often keeps what label-irrelevant keeps: both lines must show.
METHOD_LOOKS: dict[str, tuple[str, str, Any]] = {
    "none": (INK, "v", "-"),
    "random": (ORANGE, "s", "-"),
    "irrelevant": (GREEN, "^", "-"),
    "noisy": (PURPLE, "D", "-"),
    "magnitude": (BLUE, "o", (0, (4, 1.5))),
}
#: (colour, marker)
KIND_LOOKS = {"vit": (BLUE, "o"), "cnn": (RED, "s")}


def lost(count: int, then: str) -> str:
    """A sentence on models that diverged, and what became of them; none where none did."""
    if not count:
        return ""
    return f" {counted(count, 'model')} diverged: {then}."


def spread(counts: set[int]) -> str:
    """`20 trials`, or `4 to 20 trials`"""
    low, high = min(counts), max(counts)
    return counted(low, "trial") if low == high else f"{low} to {high} trials"


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
