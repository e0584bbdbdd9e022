"""Claims of Jelassi, Sander & Li (NeurIPS 2022): patch association grows in training, and what it learned transfers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.theory.n50 import SampleRatio, finding, ratio
from tokenprune.claims.theory.study import LaboratoryStudy, once
from tokenprune.claims.theory.trials import SpatialStudy
from tokenprune.theory.spatial import ARMS

PAPER = "Jelassi, Sander & Li, Vision Transformers provably learn spatial structure, NeurIPS 2022"


def associates(studies: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """Growth of patch association, last less first, by trial: mean overlap, and variant `exact`."""
    chosen = [study for study in studies if isinstance(study, SpatialStudy)]
    return [_growth(study, name) for name in ("overlap", "exact") for study in chosen]


def transfers(studies: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """log2 of N50 from scratch over N50 of transfer."""
    return [
        finding(
            study,
            transfer(study),
            key="transfer.samples",
            what="log2 of N50 from scratch over N50 of transfer",
            names=("of transfer", "of scratch"),
        )
        for study in studies
        if isinstance(study, SpatialStudy)
    ]


@once
def transfer(study: SpatialStudy) -> SampleRatio:
    """N50 from scratch over N50 with transferred attention."""
    successes = np.array([study.successes(arm) for arm in ARMS])
    diverged = np.array([np.isnan(study.target(arm)).sum(-1) for arm in ARMS])
    return ratio(study, "scratch", "transfer", successes, diverged)


def _growth(study: SpatialStudy, name: str) -> Finding:
    curves = study.curve(name)
    finite = (np.isfinite(curves) & np.isfinite(study.curve("loss"))).all(0)
    changes = (curves[-1] - curves[0])[finite].tolist()
    return Finding(
        subject=study,
        what="growth of the mean overlap with the own set" if name == "overlap" else "growth of the exact-match rate",
        n=len(changes),
        more=partial(study.further, len(changes)),
        variant=None if name == "overlap" else name,
        estimate=Estimate.of_trials(changes),
        lacking=None if changes else "every trial diverged",
    )
