"""Findings that compare the N50 of two arms of one study, and what to run where there is no N50."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
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
    study: LaboratoryStudy[Any],
    method: str,
    reference: str,
    successes: Int[Array, "2 n"],
    diverged: Int[Array, "2 n"],
) -> SampleRatio:
    """successes, diverged: of the reference, then of the method."""
    cells = (1, 2), study.first.samples, successes, study.trials
    # Of x = 1 and 2 the exponent is log2 of the ratio of their N50.
    before, after = diverged.sum(1).tolist()
    return SampleRatio(method, reference, power_law(*cells), columns(*cells), (before, after))


def finding(
    study: LaboratoryStudy[Any],
    found: SampleRatio,
    *,
    key: str,
    what: str,
    names: tuple[str, str],
    variant: str | None = None,
) -> Finding:
    """key: of N in the recipe. names: of the reference and the method, after `N50`."""
    beyond = [f"N50 {name} is {bound}" for name, bound in zip(names, found.columns.bound, strict=True) if bound]
    lost, trials = sum(found.diverged), study.trials
    return Finding(
        subject=study,
        what=what,
        estimate=Estimate.of_fit(found.law, trials),
        n=trials,
        more=partial(study.further, trials),
        variant=variant,
        lacking=found.law.lacking and (" and ".join(beyond) or found.law.lacking),
        todo=wider(study, key, found.columns, np.array(found.diverged), trials * len(study.first.samples)),
        beside=f"{lost} models diverged, counted as failures" if lost else None,
    )


def wider(
    study: LaboratoryStudy[Any], key: str, columns: ColumnFit, diverged: Int[Array, " v"], models: int
) -> str | None:
    """The command that would give every column an N50; None where all have one.

    key: of N in the recipe. diverged: by column, over all N, of `models`.
    """
    train, samples = study.first.recipe["train"], study.first.samples
    none = np.array([(bound or "").startswith(">") for bound in columns.bound])
    every = np.array([(bound or "").startswith("<") for bound in columns.bound])
    lost = none & (2 * diverged >= models)
    more, said, parts = {*samples}, [], []
    if lost.any():
        parts.append(
            f"{lost.sum()} of {len(lost)} N50 are unknown, where {diverged[lost].sum()} of "
            f"{models * lost.sum()} models diverged: a smaller step size, not larger N:\n"
            f"{study.command({'train.step_size': train['step_size'] / 2})}"
        )
    if failed := (none & ~lost).sum():
        said.append(f"{failed} of {len(none)} N50 lie above the N tried: add larger N")
        more |= {2 * max(samples), 4 * max(samples)}
    smaller = {n for n in (min(samples) // 2, min(samples) // 4) if n >= train["batch_size"]}
    if every.any() and smaller:
        said.append(f"{every.sum()} of {len(every)} N50 lie below the N tried: add smaller N")
        more |= smaller
    return "\n".join([*parts, *([f"{'. '.join(said)}:\n{study.command({key: sorted(more)})}"] if said else [])]) or None
