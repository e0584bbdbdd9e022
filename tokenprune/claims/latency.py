"""Measured latencies of runs (`tokenprune measure latency`), and whether they can be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tokenprune.errors import TokenpruneError, shortened
from tokenprune.runs import MeasureResult

NAME = "latency"
#: No time in ms, and no speed-up, is less, nor more than its inverse.
_LEAST = 1e-9
_COLUMNS = ("method", "options", "site", "keep")
#: A point: method, options as JSON, site, keep.
PointKey = tuple[str, str, str, float | str]
UNPRUNED: PointKey = ("none", "{}", "", 1.0)


class Host(NamedTuple):
    """What two measurements must share to stand in one panel."""

    device: str
    processor: str
    threads: int
    precision: str
    torch: str

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        where = self.processor if self.device == "cpu" else f"{self.device}, {self.processor}"
        return f"{where}, {threads}, {self.precision}, torch {self.torch}"


@dataclass(frozen=True)
class Timing:
    """Milliseconds a batch of one model at one batch size, and how many times as fast as the unpruned one it is."""

    median: float
    p90: float
    speedup: float


@dataclass(frozen=True)
class Latency:
    """One pass of the measurement on one run. timings: by point, then by batch size."""

    machine: Host
    timings: Mapping[PointKey, Mapping[int, Timing]]


def latencies(measured: Sequence[tuple[Path, MeasureResult]], problems: list[str]) -> list[Latency]:
    """A run's latencies, of its measurements with their folders; a line in `problems` for each that cannot be used."""
    found = []
    for path, result in measured:
        if result.measurement == NAME:
            try:
                found.append(_read(path / "result.json", result))
            except TokenpruneError as error:
                problems.append(f"{error}: this measurement is not used")
    return found


def _read(path: Path, result: MeasureResult) -> Latency:
    if result.threads is None or result.processor is None or result.torch is None:
        raise TokenpruneError(f"{path}: damaged: it does not say what it was measured on")
    try:
        timings = _timings(result)
    except (KeyError, ValueError, TypeError) as error:
        raise TokenpruneError(f"{path}: damaged: {_said(error)}") from None
    return Latency(Host(result.device, result.processor, result.threads, result.precision, result.torch), timings)


def _said(error: Exception) -> str:
    return shortened(f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error), 200)


def _timings(result: MeasureResult) -> dict[PointKey, dict[int, Timing]]:
    """Raises KeyError for what is missing, ValueError and TypeError for what is impossible."""
    arrays = {name: result.arrays[name] for name in ("median", "p90", "speed-up")}
    first = arrays["median"]
    if any((each.axes, each.labels) != (("point", "batch"), first.labels) for each in arrays.values()):
        raise ValueError("axes are not those of points and batch sizes")
    points: list[Any] = list(zip(*(first.labels["point"][name] for name in _COLUMNS), strict=True))
    sizes = first.labels["batch"]["batch"]
    if any(not isinstance(size, int) or size < 1 for size in sizes) or len(set(sizes)) < len(sizes):
        raise ValueError("batch sizes are not different whole numbers")
    if len(set(points)) < len(points) or UNPRUNED not in points:
        raise ValueError("points are not different ones with the unpruned model among them")
    values = [np.asarray(arrays[name].values, dtype=float) for name in ("median", "p90", "speed-up")]
    if any((each < _LEAST).any() or (each > 1 / _LEAST).any() for each in values):
        raise ValueError("a time or speed-up that cannot be")
    if (values[1] < values[0]).any():
        raise ValueError("a 90th percentile below its median")
    return {
        point: {int(size): Timing(*(float(each[i, j]) for each in values)) for j, size in enumerate(sizes)}
        for i, point in enumerate(points)
    }
