"""Interleaved timing: variants take turns, so that a slow moment of the machine hits all alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch


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
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(warm_up + rounds):
        for name, run in variants.items():
            started = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in seconds.items()}
