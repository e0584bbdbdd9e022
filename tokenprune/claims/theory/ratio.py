"""Findings that compare the sample complexity of two arms of one study."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.theory.grid import wider
from tokenprune.claims.theory.study import Array, LaboratoryStudy
from tokenprune.complexity import ColumnFit, Power, columns, power_law


@dataclass(frozen=True)
class SampleRatio:
    """N50 of `method` over N50 of `reference`. law: its estimate is log2 of the ratio. columns: N50 of both, reference
    first. diverged: models of either, over all N."""

    method: str
    reference: str
    law: Power
    columns: ColumnFit
    diverged: tuple[int, int]


def ratio(
    method: str,
    reference: str,
    samples: Sequence[int],
    successes: Int[Array, "2 n"],
    diverged: Int[Array, "2 n"],
    trials: int,
) -> SampleRatio:
    """successes, diverged: of the reference, then of the method; of `trials` each."""
    # Of x = 1 and 2 the exponent is log2 of the ratio of their N50.
    law = power_law((1, 2), samples, successes, trials)
    before, after = diverged.sum(1).tolist()
    return SampleRatio(method, reference, law, columns((1, 2), samples, successes, trials), (before, after))


def finding(
    study: LaboratoryStudy[Any],
    found: SampleRatio,
    trials: int,
    *,
    key: str,
    what: str,
    names: tuple[str, str],
    variant: str | None = None,
) -> Finding:
    """key: of N in the recipe. names: of the reference and the method, after `N50`."""
    beyond = [f"N50 {name} is {bound}" for name, bound in zip(names, found.columns.bound, strict=True) if bound]
    lost = sum(found.diverged)
    return Finding(
        subject=study,
        what=what,
        estimate=Estimate.of_fit(found.law, trials),
        n=trials,
        more=partial(study.further, trials),
        variant=variant,
        lacking=found.law.lacking and (" and ".join(beyond) or found.law.lacking),
        todo=wider(study, key, found.columns, names, np.array(found.diverged), trials * len(study.first.samples)),
        beside=f"{lost} models diverged, counted as failures" if lost else None,
    )
