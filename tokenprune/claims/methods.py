"""Methods compared on the same trained models: area under the curve, ranks, and differences from the floors."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean
from typing import Any

import numpy as np

from tokenprune.claims.accuracy import Condition, Points, compare, curve_name, curves_of, paired
from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.study import TrainedStudy
from tokenprune.statistics import Z, image_variance

#: What every method is held against: no choice but a draw, and no choice at all.
FLOORS = ("random", "downsample")
CEILING = "oracle"
#: With these alone there is nothing to compare that I3 does not.
_PLAIN = {"magnitude", "random", "oracle"}
#: Shares of the unpruned model's FLOPs, and multiples of its measured speed, at which accuracies are read off.
SHARES = (0.75, 0.5)
SPEEDS = (1.25, 1.5, 2.0)
#: A method takes part in areas if it gets three quarters of the way to the least FLOPs that any method needs.
_SPARED = 0.25
#: Fewer methods have no ranks worth a verdict.
_RANKED = 4


@dataclass(frozen=True)
class CostCurve:
    """One method on one run: points by rising FLOPs, the unpruned model last.

    flops: in shares of the unpruned model's. speed: measured, in multiples of the unpruned model's; None where it was
    not. answers: share of draws that are right, [points, images]; None where answers by image are not known.
    """

    ratios: tuple[float | str, ...]
    flops: np.ndarray
    accuracy: np.ndarray
    agreement: np.ndarray | None
    speed: np.ndarray | None
    answers: np.ndarray | None

    def weights(self, low: float) -> np.ndarray | None:
        """What each point weighs in the mean accuracy over FLOPs from `low` to all; None where it has no such point."""
        x = self.flops
        if len(x) < 2 or x[0] > low + 1e-9 or low >= 1:
            return None
        hats = np.eye(len(x))
        grid = np.unique([low, *x[x > low]])
        on_grid = np.array([np.interp(grid, x, hat) for hat in hats])
        return np.trapezoid(on_grid, grid, axis=1) / (1 - low)

    def at_flops(self, share: float, values: np.ndarray | None) -> float | None:
        """Accuracy or agreement at that share of the FLOPs, straight between points."""
        if values is None or self.flops[0] > share:
            return None
        return float(np.interp(share, self.flops, values))

    def at_speed(self, multiple: float, values: np.ndarray | None) -> float | None:
        """The best accuracy or agreement at that speed, straight between points, or measured at a higher one."""
        if values is None or self.speed is None or self.speed.max() < multiple:
            return None
        order = np.argsort(self.speed, kind="stable")
        between = float(np.interp(multiple, self.speed[order], values[order]))
        return max(between, float(values[self.speed >= multiple].max()))


@dataclass(frozen=True)
class MethodSummary:
    """A method on the models of one study, over their seeds.

    area: mean accuracy over FLOPs, from the lowest share that all methods reach to all; None of a method whose own work
    costs too much to come near that share. rank: by area among methods but the oracle, 1 the best; mean over seeds.
    less: area less that of each floor, paired by seed. agreement: with the unpruned model's answers, over the same
    FLOPs. flops, speed: accuracy at SHARES of the FLOPs and SPEEDS; agree_flops, agree_speed: agreement there. recall:
    relevant area kept, mean over ratios. own_time: the pruner's share of the time. answered, failed: accuracy on images
    that `downsample` at as many tokens answers, and fails.
    """

    method: str
    name: str
    seeds: int
    area: Estimate | None
    rank: float | None
    less: Mapping[str, Estimate | None]
    agreement: float | None
    flops: Mapping[float, Estimate | None]
    speed: Mapping[float, Estimate | None]
    agree_flops: Mapping[float, Estimate | None]
    agree_speed: Mapping[float, Estimate | None]
    recall: float | None
    own_time: float | None
    answered: float | None
    failed: float | None


@dataclass(frozen=True)
class Comparison:
    """All methods measured on one study under one condition, the best area first. low: least share of FLOPs of all."""

    study: TrainedStudy
    condition: Condition
    low: float
    rows: tuple[MethodSummary, ...]


#: A method's name with its options, as JSON.
_Key = tuple[str, str]


@lru_cache(maxsize=16)
def comparisons(study: TrainedStudy) -> tuple[Comparison, ...]:
    """One for each condition under which two methods or more were measured on the study's runs; made once a study."""
    by_seed = {run.result.seed: (run.result.model.flops, curves_of(run)) for run in study.runs}
    conditions = sorted({at for _, found in by_seed.values() for at, _, _ in found}, key=str)
    found = (_comparison(study, condition, by_seed) for condition in conditions)
    return tuple(each for each in found if each is not None)


def _comparison(
    study: TrainedStudy, condition: Condition, by_seed: Mapping[int, tuple[float, Any]]
) -> Comparison | None:
    points: dict[_Key, dict[int, Points]] = {}
    for seed, (_, found) in by_seed.items():
        for (at, method, options), each in found.items():
            if at == condition and each.by_ratio:
                points.setdefault((method, options), {})[seed] = each
    if len(points) < 2:
        return None
    curves = {
        key: {seed: _curve(each, by_seed[seed][0]) for seed, each in found.items()} for key, found in points.items()
    }
    reach = [max(curve.flops[0] for curve in found.values()) for found in curves.values()]
    enough = min(reach) + (1 - min(reach)) * _SPARED
    low = max(each for each in reach if each <= enough)
    areas = {key: _areas(found, low) for key, found in curves.items()}
    ranks = _ranks({key: area for key, area in areas.items() if key[0] != CEILING})
    floors = {name: key for name in FLOORS if (key := (name, "{}")) in points}
    rows = [_row(key, points, curves, areas, ranks, floors, low) for key in points]
    return Comparison(study, condition, low, tuple(sorted(rows, key=lambda row: -row.area.value if row.area else 1.0)))


def _row(
    key: _Key,
    points: Mapping[_Key, Mapping[int, Points]],
    curves: Mapping[_Key, Mapping[int, CostCurve]],
    areas: Mapping[_Key, Mapping[int, float]],
    ranks: Mapping[_Key, list[float]],
    floors: Mapping[str, _Key],
    low: float,
) -> MethodSummary:
    method, options = key
    own = curves[key]
    marks = [point for found in points[key].values() for each in found.by_ratio.values() for point in each]
    recalls = [point.relevant_recall for point in marks if point.relevant_recall is not None]
    times = [point.own_time for point in marks if point.own_time is not None]
    answered, failed = _by_floor(points[key], points[floors["downsample"]]) if "downsample" in floors else (None, None)
    agreement = [
        float(weights @ curve.agreement)
        for curve in own.values()
        if curve.agreement is not None and (weights := curve.weights(low)) is not None
    ]
    return MethodSummary(
        method=method,
        name=curve_name(method, json.loads(options)),
        seeds=len(own),
        area=_estimate(areas[key], _weighted(own, low)),
        rank=fmean(ranks[key]) if ranks.get(key) else None,
        less={name: _less(key, floor, curves, areas, low) for name, floor in floors.items() if floor != key},
        agreement=fmean(agreement) if agreement else None,
        flops={at: _read({seed: c.at_flops(at, c.accuracy) for seed, c in own.items()}) for at in SHARES},
        speed={at: _read({seed: c.at_speed(at, c.accuracy) for seed, c in own.items()}) for at in SPEEDS},
        agree_flops={at: _read({seed: c.at_flops(at, c.agreement) for seed, c in own.items()}) for at in SHARES},
        agree_speed={at: _read({seed: c.at_speed(at, c.agreement) for seed, c in own.items()}) for at in SPEEDS},
        recall=fmean(recalls) if recalls else None,
        own_time=fmean(times) if times else None,
        answered=answered,
        failed=failed,
    )


def _curve(points: Points, flops: float) -> CostCurve:
    """flops: of the unpruned model. Points that cost as much as it are left out."""
    mean = {ratio: fmean(point.flops for point in found) for ratio, found in points.by_ratio.items()}
    ratios = sorted((ratio for ratio, cost in mean.items() if cost < flops), key=lambda ratio: mean[ratio])
    found = [points.by_ratio[ratio] for ratio in ratios]
    agreement = [[point.agreement for point in each if point.agreement is not None] for each in found]
    speed = [[point.speedup for point in each if point.speedup is not None] for each in found]
    whole, first = points.unpruned(), next(iter(points.rows.values()))[0][1]
    answers = [points.answers([ratio]) for ratio in ratios]
    known = whole is not None and all(each is not None for each in answers)
    return CostCurve(
        tuple(ratios),
        np.array([*(fmean(point.flops for point in each) / flops for each in found), 1.0]),
        np.array([*(fmean(point.accuracy for point in each) for each in found), first.baseline_accuracy]),
        np.array([*map(fmean, agreement), 1.0]) if all(agreement) else None,
        np.array([*map(fmean, speed), 1.0]) if all(speed) else None,
        np.stack([*answers, whole]) if known else None,  # type: ignore[list-item]
    )


def _areas(curves: Mapping[int, CostCurve], low: float) -> dict[int, float]:
    weights = {seed: curve.weights(low) for seed, curve in curves.items()}
    return {seed: float(each @ curves[seed].accuracy) for seed, each in weights.items() if each is not None}


def _weighted(curves: Mapping[int, CostCurve], low: float) -> list[np.ndarray | None]:
    """What each image adds to the area, by seed; None where that is not known."""
    found = []
    for curve in curves.values():
        weights = curve.weights(low)
        found.append(None if weights is None or curve.answers is None else weights @ curve.answers)
    return found


def _estimate(values: Mapping[int, float], answers: Sequence[np.ndarray | None]) -> Estimate | None:
    """Mean over seeds, with images in its interval; of one seed over images alone."""
    known = [each for each in answers if each is not None]
    alike = len(known) == len(values) > 0 and len({len(each) for each in known}) == 1
    return _with_images(values, image_variance(np.stack(known)) if alike else None)


def _with_images(values: Mapping[int, float], images: float | None) -> Estimate | None:
    found = Estimate.of_seeds(values, images)
    if found is None or found.low is not None or images is None:
        return found
    half = Z * images**0.5
    return replace(found, low=found.value - half, high=found.value + half)


def _less(
    key: _Key,
    floor: _Key,
    curves: Mapping[_Key, Mapping[int, CostCurve]],
    areas: Mapping[_Key, Mapping[int, float]],
    low: float,
) -> Estimate | None:
    seeds = [seed for seed in areas[key] if seed in areas[floor]]
    values = {seed: areas[key][seed] - areas[floor][seed] for seed in seeds}
    own, other = (_weighted({seed: curves[each][seed] for seed in seeds}, low) for each in (key, floor))
    return _with_images(values, paired(list(zip(own, other, strict=True))))


def _read(values: Mapping[int, float | None]) -> Estimate | None:
    """The mean over seeds, where each has it."""
    found = {seed: value for seed, value in values.items() if value is not None}
    return Estimate.of_seeds(found) if len(found) == len(values) else None


def _ranks(areas: Mapping[_Key, Mapping[int, float]]) -> dict[_Key, list[float]]:
    """Rank of each method, 1 the largest area, in each seed that all have; equal areas share their mean rank."""
    from scipy.stats import rankdata

    known = {key: found for key, found in areas.items() if found}
    shared = set.intersection(*map(set, known.values())) if known else set()
    ranks: dict[_Key, list[float]] = {key: [] for key in known}
    for seed in sorted(shared):
        for key, rank in zip(known, rankdata([-found[seed] for found in known.values()]), strict=True):
            ranks[key].append(float(rank))
    return ranks


def _by_floor(own: Mapping[int, Points], floor: Mapping[int, Points]) -> tuple[float | None, float | None]:
    """Accuracy on the images that the floor at the same ratio answers, and on those that it fails; over all ratios."""
    right = wrong = 0.0
    of_right = of_wrong = 0
    for seed, points in own.items():
        for ratio in points.by_ratio if seed in floor else ():
            if ratio not in floor[seed].by_ratio:
                continue
            mine, other = points.answers([ratio]), floor[seed].answers([ratio])
            if mine is None or other is None or len(mine) != len(other):
                return None, None
            answered = other > 0.5
            right, of_right = right + float(mine[answered].sum()), of_right + int(answered.sum())
            wrong, of_wrong = wrong + float(mine[~answered].sum()), of_wrong + int((~answered).sum())
    return right / of_right if of_right else None, wrong / of_wrong if of_wrong else None


def compared(study: TrainedStudy) -> list[str]:
    """Methods measured on a study, by name; none where I3 says all that there is to say."""
    methods = {prune.method for run in study.runs for _, prune in run.prunes}
    return sorted(methods) if methods - _PLAIN else []


def against(study: TrainedStudy, floor: str) -> list[Finding]:
    """Accuracy of each method less that of a floor, mean over the ratios below 1 that all runs share."""
    found = []
    for method in compared(study):
        if method in (floor, CEILING):
            continue
        found += [
            replace(finding, variant=f"{finding.variant}, {method}")
            for finding in compare(study, method, floor)
            if finding.estimate is not None
        ]
    return found


def place_of_magnitude(study: TrainedStudy) -> list[Finding]:
    """Share of the other methods, but the oracle, that have a smaller area than magnitude, seed by seed."""
    return [
        _of_seeds(study, each, values, "share of methods below magnitude by area under the curve")
        for each in _enough(study)
        if (values := _beaten(each, "magnitude"))
    ]


def recall_as_proxy(study: TrainedStudy) -> list[Finding]:
    """Rank correlation, over methods but the oracle, of the relevant area kept with the area under the curve."""
    found = []
    for each in _enough(study):
        values = _correlations(each)
        if values:
            what = "rank correlation over methods of the relevant area kept with the area under the curve"
            found.append(_of_seeds(study, each, values, what))
    return found


def _enough(study: TrainedStudy) -> Iterable[Comparison]:
    if not compared(study):
        return []
    return [each for each in comparisons(study) if sum(row.method != CEILING for row in each.rows) >= _RANKED]


def _of_seeds(study: TrainedStudy, comparison: Comparison, values: Mapping[int, float], what: str) -> Finding:
    """Ranks are discrete: where all seeds agree their spread says nothing, and there is no interval and no test."""
    estimate = Estimate.of_seeds(values)
    if estimate is not None and len(set(values.values())) == 1:
        estimate = replace(estimate, low=None, high=None, p=lambda _: None)
    return Finding(
        subject=study,
        what=what,
        estimate=estimate,
        site=comparison.condition.site,
        variant=str(comparison.condition),
        images=comparison.condition.images,
    )


def _plain_areas(comparison: Comparison) -> dict[str, Mapping[int, float]]:
    """Areas by seed of methods without options, but the oracle."""
    return {
        row.method: row.area.values
        for row in comparison.rows
        if row.area is not None and row.method == row.name and row.method != CEILING
    }


def _beaten(comparison: Comparison, method: str) -> dict[int, float]:
    areas = _plain_areas(comparison)
    own = areas.pop(method, {})
    return {
        seed: fmean(float(value > each[seed]) for each in areas.values())
        for seed, value in own.items()
        if areas and all(seed in each for each in areas.values())
    }


def _correlations(comparison: Comparison) -> dict[int, float]:
    from scipy.stats import spearmanr

    areas = _plain_areas(comparison)
    recalls: dict[str, dict[int, float]] = {}
    for run in comparison.study.runs:
        for (at, method, options), points in curves_of(run).items():
            if at != comparison.condition or options != "{}" or method not in areas:
                continue
            known = [p.relevant_recall for each in points.by_ratio.values() for p in each]
            if known and None not in known:
                recalls.setdefault(method, {})[run.result.seed] = fmean(each for each in known if each is not None)
    found = {}
    for seed in sorted({seed for each in areas.values() for seed in each}):
        pairs = [
            (recall[seed], areas[method][seed])
            for method, recall in recalls.items()
            if seed in recall and seed in areas[method]
        ]
        if len(pairs) >= _RANKED and len({first for first, _ in pairs}) > 1:
            found[seed] = float(spearmanr(*zip(*pairs, strict=True)).statistic)
    return found
