"""Accuracy against latency: what was measured of both, joined, and the points that no other beats in both."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tokenprune.claims.accuracy import Condition, curve_name, curves_of
from tokenprune.claims.latency import UNPRUNED, Host, Latency, PointKey, Timing
from tokenprune.claims.methods import CEILING, Comparison


@dataclass(frozen=True)
class MeanTiming:
    """Timings of one point at one batch size, mean over measurements; `least` and `most` of their medians.

    Times are brought to one time of the unpruned model, its mean over all measurements: which points a measurement has,
    and how busy its moment was, then changes no comparison. n: measurements, on runs that differ by their seed alone,
    or on one run again.
    """

    median: float
    p90: float
    speedup: float
    least: float
    most: float
    n: int

    @classmethod
    def of(cls, found: Sequence[Timing]) -> "MeanTiming":
        medians = [each.median for each in found]
        means = (fmean(medians), fmean(each.p90 for each in found), fmean(each.speedup for each in found))
        return cls(*means, min(medians), max(medians), len(found))


@dataclass(frozen=True)
class TimedPoint:
    """A method at a ratio, or the unpruned model (`none`, keep 1). accuracy: mean over so many seeds, and draws."""

    method: str
    name: str
    keep: float | str
    accuracy: float
    seeds: int
    timings: Mapping[int, MeanTiming]

    @property
    def whole(self) -> bool:
        """Whether it is the unpruned model."""
        return self.method == UNPRUNED[0]


@dataclass(frozen=True)
class Timed:
    """The points of one comparison that were timed on one machine, the unpruned model first.

    place: of the machine among those of the comparison. fronts: by batch size, the points that no other beats in both,
    the fastest first; without the oracle, which no model has.
    """

    comparison: Comparison
    machine: Host
    place: int
    batches: tuple[int, ...]
    points: tuple[TimedPoint, ...]
    fronts: Mapping[int, tuple[TimedPoint, ...]]


def front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Places of the points that none dominates, the cheapest first; of equal points all.

    One dominates another if it costs no more and is worth no less, and differs in one of both.
    """
    found: list[int] = []
    best = float("-inf")
    for cost in sorted(set(costs)):
        at = [i for i, each in enumerate(costs) if each == cost]
        most = max(values[i] for i in at)
        if most > best:
            found += [i for i in at if values[i] == most]
            best = most
    return found


def timed(comparison: Comparison) -> list[Timed]:
    """A comparison's accuracies with the latencies of its runs, machine by machine; none where none was measured.

    Nor is there one of a comparison of fine-tuned models, which are not kept and so not timed.
    """
    measured: dict[Host, list[Latency]] = {}
    for run in comparison.study.runs:
        for latency in run.latencies:
            measured.setdefault(latency.machine, []).append(latency)
    if not measured or comparison.condition.finetune_epochs:
        return []
    accuracies = _accuracies(comparison)
    machines = enumerate(sorted(measured))
    found = (_timed(comparison, machine, place, measured[machine], accuracies) for place, machine in machines)
    return [each for each in found if len(each.points) > 1]


#: By method, options, site and keep, as latencies have them.
_Accuracies = Mapping[PointKey, Sequence[float]]


def _accuracies(comparison: Comparison) -> _Accuracies:
    """Accuracies of each seed, mean over draws."""
    condition = comparison.condition
    found: dict[PointKey, list[float]] = {}
    for run in comparison.study.runs:
        whole = [prune.baseline_accuracy for _, prune in run.prunes if Condition.of(prune) == condition]
        if whole:
            found.setdefault(UNPRUNED, []).append(whole[0])
        for (at, method, options), points in curves_of(run).items():
            for keep in points.by_ratio if at == condition else ():
                found.setdefault((method, options, at.site, keep), []).append(points.accuracy(keep))
    return found


def _timed(
    comparison: Comparison, machine: Host, place: int, measured: Sequence[Latency], accuracies: _Accuracies
) -> Timed:
    order = {row.name: i for i, row in enumerate(comparison.rows)}
    whole: dict[int, list[float]] = {}
    for latency in measured:
        for batch, timing in latency.timings[UNPRUNED].items():
            whole.setdefault(batch, []).append(timing.median)
    points = []
    for key, values in accuracies.items():
        timings: dict[int, list[Timing]] = {}
        for latency in measured:
            for batch, timing in latency.timings.get(key, {}).items():
                scale = fmean(whole[batch]) / latency.timings[UNPRUNED][batch].median
                same = Timing(scale * timing.median, scale * timing.p90, timing.speedup)
                timings.setdefault(batch, []).append(same)
        if timings:
            method, options, _, keep = key
            name = "unpruned" if key == UNPRUNED else curve_name(method, json.loads(options))
            spreads = {batch: MeanTiming.of(timings[batch]) for batch in sorted(timings)}
            points.append(TimedPoint(method, name, keep, fmean(values), len(values), spreads))
    points.sort(key=lambda point: (not point.whole, order.get(point.name, 0), *_falling(point.keep)))
    batches = tuple(sorted({batch for point in points for batch in point.timings}))
    fronts = {batch: _front(points, batch) for batch in batches}
    return Timed(comparison, machine, place, batches, tuple(points), fronts)


def _front(points: Sequence[TimedPoint], batch: int) -> tuple[TimedPoint, ...]:
    known = [point for point in points if batch in point.timings and point.method != CEILING]
    places = front([point.timings[batch].median for point in known], [point.accuracy for point in known])
    return tuple(known[place] for place in places)


def _falling(keep: float | str) -> tuple[float, str]:
    return (0.0, keep) if isinstance(keep, str) else (-keep, "")
