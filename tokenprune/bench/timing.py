"""Ratios of variants that take turns (`evaluation.timing.in_turns`)."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tokenprune import hardware
from tokenprune.evaluation.timing import Watch, in_turns


@dataclass(frozen=True)
class Ratio:
    """One comparison of one run. `ratio` is better when higher, unless `at_most` is set.

    seconds: median of each variant. target: the project's goal for the ratio, None where it has none.
    """

    name: str
    what: str
    ratio: float
    seconds: dict[str, float]
    target: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def interleaved(variants: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of each variant over `rounds` turns, after `warm_up` turns that do not count."""
    taken = in_turns(variants, Watch(hardware.choose_device("auto")), rounds, warm_up=warm_up)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}
