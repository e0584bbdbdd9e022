"""An effect over all depths: its mean, with a verdict, and whether it grows or falls."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

from tokenprune.claims.claim import Outcome, Support, Verdict
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.judge import FAMILY, REPLICATES, outcome
from tokenprune.statistics import deviation, holm, slope

#: Fewer depths of three seeds have no trend.
_DEPTHS = 3


@dataclass(frozen=True)
class Overall:
    """A claim's first test under one family, site and method variant: the mean of its effect over all depths.

    effect: mean over the seeds that all depths have of the mean over depths; where a depth has fewer than three seeds
    or a model that guesses, over the others. low, high: 95 %, over seeds and, where answers by image are known, test
    images, whose part is taken to be the same at all depths, so that it does not average out. p: two-sided, against the
    mean of the depths' thresholds. p_adjusted: Holm's over the claim's means alone: the depths are a family of their
    own. verdict: by the rule of `judge`.
    """

    effect: float
    low: float
    high: float
    p: float
    p_adjusted: float
    support: Support
    verdict: Outcome
    depths: tuple[int, ...]
    seeds: int


@dataclass(frozen=True)
class Trend:
    """Change of a claim's effect per doubling of depth, under one family, site and method variant.

    slope: of a least-squares line through the effects of single seeds over log2 of depth, in the claim's unit. low,
    high, p: Student's t, 95 %, unadjusted, against no change; p_adjusted: Holm's over the claim's trends. All five None
    below three seeds at each of three depths.
    One seed at several depths is treated as independent, though what it draws is in part the same.
    seeds: at the depth that has fewest. overall: the mean over depths; None below two depths with three seeds each.
    """

    claim: str
    family: str
    site: str | None
    variant: str | None
    slope: float | None
    low: float | None
    high: float | None
    p: float | None
    p_adjusted: float | None
    depths: tuple[int, ...]
    seeds: int
    overall: Overall | None = None


def row_of(found: "Verdict | Trend") -> tuple[str, str, str | None, str | None]:
    """Claim, family, site and variant: what the verdicts of one trend share."""
    return found.claim, found.family, found.site, found.variant


def trends(verdicts: Sequence[Verdict]) -> list[Trend]:
    """One for each claim, family, site and variant of which any effect is known, in the order of the verdicts."""
    series: dict[tuple[str, str, str | None, str | None], list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.values:
            series.setdefault(row_of(verdict), []).append(verdict)
    rows = [_trend(key, verdicts) for key, verdicts in series.items()]
    means = [_mean(verdicts) for verdicts in series.values()]
    for claim in {row.claim for row in rows}:
        own = [place for place, row in enumerate(rows) if row.claim == claim]
        tested = [place for place in own if rows[place].p is not None]
        for place, p in zip(tested, holm([rows[place].p or 0.0 for place in tested]), strict=True):
            rows[place] = replace(rows[place], p_adjusted=p)
        for place, overall in _judged({place: mean for place in own if (mean := means[place])}).items():
            rows[place] = replace(rows[place], overall=overall)
    return rows


class _Mean(NamedTuple):
    """values: mean over `depths` by seed. images: variance from the choice of test images. bound: of support."""

    values: dict[int, float]
    images: float | None
    depths: tuple[int, ...]
    support: Support


def _known(verdict: Verdict) -> bool:
    """Whether it has an effect of three seeds on a model that does not guess; one of exactly 0 is an effect, too."""
    return len(verdict.values) >= REPLICATES and (verdict.p is not None or not any(verdict.values.values()))


def _mean(verdicts: Sequence[Verdict]) -> _Mean | None:
    used = sorted(filter(_known, verdicts), key=lambda v: v.depth)
    seeds = sorted(set.intersection(*(set(v.values) for v in used))) if len(used) > 1 else []
    if len(seeds) < REPLICATES:
        return None
    errors = [v.image_error for v in used if v.image_error is not None]
    lower, upper = zip(*(v.support for v in used), strict=True)
    return _Mean(
        {seed: fmean(v.values[seed] for v in used) for seed in seeds},
        fmean(errors) ** 2 if len(errors) == len(used) else None,
        tuple(v.depth for v in used),
        (None if None in lower else fmean(lower), None if None in upper else fmean(upper)),
    )


def _judged(means: Mapping[int, _Mean]) -> dict[int, Overall]:
    """Those of one claim. Rows of the same values are one test."""
    spreads = [deviation(values) ** 2 for values in {tuple(mean.values.values()) for mean in means.values()}]
    common = fmean(spreads) if len(spreads) >= FAMILY else None
    estimates = {place: Estimate.of_seeds(mean.values, mean.images, common) for place, mean in means.items()}
    p_values: dict[tuple[float, ...], float] = {}
    for place, mean in means.items():
        estimate, bound = estimates[place], next(each for each in mean.support if each is not None)
        if estimate is not None and any(mean.values.values()):
            p_values[tuple(mean.values.values())] = estimate.p(bound) or 0.0
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    found = {}
    for place, mean in means.items():
        estimate, key = estimates[place], tuple(mean.values.values())
        if estimate is None or estimate.low is None or estimate.high is None or key not in adjusted:
            continue
        verdict = outcome(estimate.low, estimate.high, mean.support, adjusted[key])
        found[place] = Overall(
            effect=estimate.value,
            low=estimate.low,
            high=estimate.high,
            p=p_values[key],
            p_adjusted=adjusted[key],
            support=mean.support,
            verdict=verdict,
            depths=mean.depths,
            seeds=estimate.n,
        )
    return found


def _trend(key: tuple[str, str, str | None, str | None], verdicts: Sequence[Verdict]) -> Trend:
    used = list(filter(_known, verdicts))
    points = [(math.log2(v.depth), value) for v in used for value in v.values.values()]
    enough = len(used) >= _DEPTHS
    fit = slope([x for x, _ in points], [y for _, y in points]) if enough else None
    depths = tuple(sorted({verdict.depth for verdict in verdicts}))
    seeds = min(len(verdict.values) for verdict in verdicts)
    line: tuple[float | None, float | None, float | None, float | None] = fit or (None, None, None, None)
    return Trend(*key, *line, None, depths, seeds)
