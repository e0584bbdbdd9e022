"""Whether an effect grows or falls with depth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tokenprune.claims.claim import Verdict
from tokenprune.claims.judge import REPLICATES
from tokenprune.statistics import holm, slope

#: Fewer depths of three seeds have no trend.
_DEPTHS = 3


@dataclass(frozen=True)
class Trend:
    """Change of a claim's effect per doubling of depth, under one family, site and method variant.

    slope: of a least-squares line through the effects of single seeds over log2 of depth, in the claim's unit. low,
    high, p: Student's t, 95 %, unadjusted, against no change; p_adjusted: Holm's over the claim's trends. All five None
    below three seeds at each of three depths.
    One seed at several depths is treated as independent, though what it draws is in part the same.
    seeds: at the depth that has fewest.
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


def row_of(found: "Verdict | Trend") -> tuple[str, str, str | None, str | None]:
    """Claim, family, site and variant: what the verdicts of one trend share."""
    return found.claim, found.family, found.site, found.variant


def trends(verdicts: Sequence[Verdict]) -> list[Trend]:
    """One for each claim, family, site and variant of which any effect is known, in the order of the verdicts."""
    series: dict[tuple[str, str, str | None, str | None], list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.values:
            series.setdefault(row_of(verdict), []).append(verdict)
    found = [_trend(key, verdicts) for key, verdicts in series.items()]
    adjusted: dict[int, float] = {}
    for claim in {trend.claim for trend in found}:
        family = [(place, trend.p) for place, trend in enumerate(found) if trend.claim == claim and trend.p is not None]
        adjusted |= dict(zip([place for place, _ in family], holm([p for _, p in family]), strict=True))
    return [replace(trend, p_adjusted=adjusted.get(place)) for place, trend in enumerate(found)]


def _trend(key: tuple[str, str, str | None, str | None], verdicts: Sequence[Verdict]) -> Trend:
    points = [(math.log2(v.depth), value) for v in verdicts for value in v.values.values()]
    enough = sum(len(verdict.values) >= REPLICATES for verdict in verdicts) >= _DEPTHS
    fit = slope([x for x, _ in points], [y for _, y in points]) if enough else None
    depths = tuple(sorted({verdict.depth for verdict in verdicts}))
    seeds = min(len(verdict.values) for verdict in verdicts)
    line: tuple[float | None, float | None, float | None, float | None] = fit or (None, None, None, None)
    return Trend(*key, *line, None, depths, seeds)
