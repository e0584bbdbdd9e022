"""Claims about sample complexity: findings from phase results."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
from jaxtyping import Int

from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.published import PHASE_VIT
from tokenprune.claims.theory.n50 import wider
from tokenprune.claims.theory.study import Array, LaboratoryStudy, once
from tokenprune.claims.theory.trials import PhaseStudy
from tokenprune.complexity import ColumnFit, LackOfFit, Line, Power, columns, lack_of_fit, line, power_law
from tokenprune.lapse import Lapsing, lapsing

#: Parts of the largest N up to which the exponent is fitted again.
_PARTS = (1, 2, 4, 8)
_NAMES = {"alpha": "alpha_*^-2", "noise": "tau", "start": "sigma", "confusion": "alpha_#"}
#: Seeds of the bootstrap, so that the draws of two networks are independent.
_SEEDS = {"vit": 0, "cnn": 1}


@dataclass(frozen=True)
class ScalingFit:
    """How N50 depends on the axis of a phase diagram.

    law: joint fit of all cells, over alpha_* a power of 1 / alpha_*, else a line of N50^-1/2. columns: N50 of each.
    lack_of_fit: of the law against the columns.
    lapse: the power law where success need not reach 1; up_to: exponent by the largest N used; both of alpha_* alone.
    """

    law: Power | Line
    columns: ColumnFit
    lack_of_fit: LackOfFit | None
    lapse: Lapsing | None = None
    up_to: Mapping[int, float | None] = field(default_factory=dict)
    tokens: int | None = None

    def n50(self, value: float) -> float | None:
        """By the law, at a value of the axis."""
        return self.law.n50(_whole(value, self.tokens) if isinstance(self.law, Power) else value)


@once
def fit(study: PhaseStudy) -> ScalingFit:
    """All fits of a phase diagram."""
    first = study.first
    return fit_table(
        first.axis, first.values, first.samples, study.successes, study.trials, _SEEDS[first.kind], first.tokens
    )


@cache
def published_fit() -> ScalingFit:
    """The published phase diagram, fitted like every other."""
    table = PHASE_VIT
    return fit_table("alpha", table.values, table.samples, np.array(table.successes), table.trials)


def fit_table(
    axis: str,
    values: Sequence[float],
    samples: Sequence[int],
    successes: Int[Array, "v n"],
    trials: int,
    seed: int = 0,
    tokens: int | None = None,
) -> ScalingFit:
    """successes: of `trials` each. seed: of the bootstrap.

    tokens: L. A sample has whole label-relevant tokens, and a network succeeds when it is right on the samples with the
    fewest: alpha_* of the law is floor(alpha_* L) / L. None: as in `values`, where L is not known.
    """
    free = columns(values, samples, successes, trials)
    if axis != "alpha":
        law = line(values, samples, successes, trials, seed=seed)
        return ScalingFit(law, free, lack_of_fit(law, free))
    x = [_whole(value, tokens) for value in values]
    power = power_law(x, samples, successes, trials, seed=seed)
    smaller = {}
    for part in _PARTS:
        rows = [row for row, n in enumerate(samples) if n <= max(samples) / part]
        if len(rows) > 1:
            fewer = [samples[row] for row in rows]
            smaller[fewer[-1]] = power_law(x, fewer, successes[:, rows], trials, draws=1).estimate
    lapse = lapsing(x, samples, successes, trials)
    return ScalingFit(power, free, lack_of_fit(power, free), lapse, smaller, tokens)


def _whole(value: float, tokens: int | None) -> float:
    """1 / alpha_* of an alpha_*^-2; of whole tokens, if their number is known, with one at least."""
    return value**0.5 if tokens is None else tokens / max(1, math.floor(tokens * value**-0.5 + 1e-9))


def scaling(studies: Sequence[LaboratoryStudy[Any]], axis: str) -> list[Finding]:
    """Exponent of N50 against 1 / alpha_*, or slope of N50^-1/2 against tau or sigma, ViTs."""
    return [_scaling(study) for study in _phases(studies, "vit", axis)]


def against_cnn(studies: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """Exponent of a CNN less that of the ViT on the same data, trained and tested alike.

    A network meets the other with the same model section but for the kind, and all others only if there is none.
    """
    vits, cnns = _phases(studies, "vit", "alpha"), _phases(studies, "cnn", "alpha")
    found = []
    for cnn in cnns:
        rivals = [vit for vit in vits if _task(vit) == _task(cnn)]
        twins = [vit for vit in rivals if _network(vit) == _network(cnn)]
        free = [vit for vit in rivals if all(_network(vit) != _network(other) for other in cnns)]
        found += [_difference(vit, cnn) for vit in twins or free]
        if not (twins or free):
            found.append(_alone(cnn))
    return found


def _phases(studies: Sequence[LaboratoryStudy[Any]], kind: str, axis: str) -> list[PhaseStudy]:
    chosen = [study for study in studies if isinstance(study, PhaseStudy)]
    return [study for study in chosen if (study.first.kind, study.first.axis) == (kind, axis)]


def _scaling(study: PhaseStudy) -> Finding:
    found, name, beside = fit(study), _NAMES[study.first.axis], None
    if study.first.axis == "alpha":
        what = "exponent g of N50 ~ alpha_*^-g"
        if found.lapse:
            beside = f"{found.lapse.exponent:.3g} allowing for {found.lapse.lapse:.1%} that fail at any N"
    else:
        what = f"slope of N50^-1/2 against {name}"
        if found.lack_of_fit:
            p = found.lack_of_fit.p
            said = "below 0.0001" if p < 1e-4 else f"{p:.2g}"
            beside = f"form (Theta(1) - {name})^-2: lack of fit p {said}"
    return Finding(
        subject=study,
        what=what,
        estimate=Estimate.of_fit(found.law, study.trials),
        n=study.trials,
        more=partial(study.further, study.trials),
        lacking=found.law.lacking,
        todo=_wider(study),
        beside=beside,
    )


def _difference(vit: PhaseStudy, cnn: PhaseStudy) -> Finding:
    first, second, n = fit(vit).law, fit(cnn).law, min(vit.trials, cnn.trials)
    finding = partial(
        Finding,
        subject=vit,
        others=(cnn,),
        what="exponent g of N50 ~ alpha_*^-g of the CNN less that of the ViT",
        n=n,
        more=lambda wanted: [*vit.further(n, wanted), *cnn.further(n, wanted)[1:]],
        todo="\n".join(filter(None, map(_wider, (vit, cnn)))) or None,
    )
    if first.estimate is None or second.estimate is None:
        lacking = [f"{name}: {law.lacking}" for name, law in (("vit", first), ("cnn", second)) if law.lacking]
        return finding(lacking="; ".join(lacking))
    return finding(
        estimate=Estimate.of_draws(second.estimate - first.estimate, second.samples - first.samples, n),
        beside="; ".join(
            f"{name} {law.estimate:.3g} ({law.low:.3g} to {law.high:.3g})"
            for name, law in (("CNN", second), ("ViT", first))
        ),
    )


def _alone(cnn: PhaseStudy) -> Finding:
    return Finding(
        subject=cnn,
        what="",
        n=cnn.trials,
        lacking="no ViT was trained and tested like this CNN",
        todo="The ViT beside it:\n" + cnn.command({"model.kind": "vit", "grid.samples": None}),
    )


def _task(study: PhaseStudy) -> str:
    """What a ViT and a CNN must share to be compared."""
    recipe = study.first.recipe
    grid = {key: value for key, value in recipe["grid"].items() if key != "samples"}
    return json.dumps([recipe["data"], recipe["train"], grid], sort_keys=True)


def _network(study: PhaseStudy) -> str:
    return json.dumps({**study.first.recipe["model"], "kind": None}, sort_keys=True)


def _wider(study: PhaseStudy) -> str | None:
    """The grid that would give every column an N50."""
    first = study.first
    models = study.trials * len(first.samples)
    return wider(study, "grid.samples", fit(study).columns, study.diverged.sum(1), models)
