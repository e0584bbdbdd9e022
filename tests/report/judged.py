"""Verdicts with chosen numbers, for tests of what shows them."""

from collections.abc import Sequence

from tokenprune.claims import Verdict
from tokenprune.experiments import CLAIMS
from tokenprune.statistics import mean_interval

CLAIM = {claim.id: claim for claim in CLAIMS if not claim.laboratory}


def verdict(
    claim: str,
    depth: int = 1,
    effects: Sequence[float] = (0.03, 0.04, 0.05),
    *,
    outcome: str = "supported",
    site: str | None = None,
    data: str = "composite",
    family: str = "fa111111",
    evidence: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> Verdict:
    """effects: one per seed; none where nothing was measured."""
    effect, low, high = mean_interval(effects) if effects else (None, None, None)
    return Verdict(
        claim=claim,
        experiment=CLAIM[claim].experiment,
        statement=CLAIM[claim].statement,
        title=data,
        published="; ".join(map(str, CLAIM[claim].published)) or None,
        family=family,
        setting=f"{family}-{depth}",
        recipe="shallow",
        depth=depth,
        site=site,
        variant=f"site {site}" if site else None,
        verdict=outcome,
        effect=effect,
        low=low,
        high=high,
        support=CLAIM[claim].support,
        unit=CLAIM[claim].unit,
        p=0.01 if effects else None,
        p_adjusted=0.02 if effects else None,
        n=len(effects),
        of="seeds",
        models=len(effects),
        beside=None,
        source=CLAIM[claim].source,
        methods=tuple(methods),
        images=None,
        image_error=None,
        why="what was found.",
        todo=None if outcome != "undecided" else "tokenprune train --recipe shallow --seed 3",
        evidence=tuple(evidence),
        values=dict(enumerate(effects)),
    )
