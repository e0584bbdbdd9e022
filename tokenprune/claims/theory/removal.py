"""Claims about removing tokens: findings from sparsify results."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tokenprune.claims.claim import Finding
from tokenprune.claims.theory.n50 import SampleRatio, finding, ratio
from tokenprune.claims.theory.study import LaboratoryStudy, once
from tokenprune.claims.theory.trials import SparsifyStudy
from tokenprune.complexity import ColumnFit, columns

_PAIRS = (
    *((method, "none") for method in ("irrelevant", "noisy")),
    *((method, "random") for method in ("irrelevant", "noisy", "magnitude")),
)


def after_removal(studies: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """log2 of N50 after removal over N50 before, and over N50 after random removal of as many tokens."""
    return [_finding(study, found) for study in studies if isinstance(study, SparsifyStudy) for found in ratios(study)]


@once
def ratios(study: SparsifyStudy) -> tuple[SampleRatio, ...]:
    """Each method against no removal, and against random removal."""
    found = []
    for method, reference in _PAIRS:
        if {method, reference} <= {*study.first.compared}:
            both = (reference, method)
            successes = np.array([study.successes(each) for each in both])
            diverged = np.array([study.diverged("complexity", each) for each in both])
            found.append(ratio(study, method, reference, successes, diverged))
    return tuple(found)


@once
def complexity(study: SparsifyStudy) -> ColumnFit:
    """N50 of each method in `study.first.compared`, with one slope for all."""
    successes = np.array([study.successes(method) for method in study.first.compared])
    return columns(range(len(successes)), study.first.samples, successes, study.trials)


def _finding(study: SparsifyStudy, found: SampleRatio) -> Finding:
    method, reference = found.method, found.reference
    before = "before" if reference == "none" else "with as many random ones removed"
    return finding(
        study,
        found,
        key="removal.samples",
        what=f"log2 of N50 with {study.first.complexity_removed} {method} tokens removed over N50 {before}",
        names=(_removed(reference), _removed(method)),
        variant=method if reference == "none" else f"{method} against random",
    )


def _removed(method: str) -> str:
    return "before removal" if method == "none" else f"with {method} tokens removed"
