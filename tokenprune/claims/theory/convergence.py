"""Claims about the number of iterations: findings from time results.

Shapes: e step sizes, v values of alpha_*, t trials, c = e v cells, d bootstrap draws.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.theory.study import Array, LaboratoryStudy, once
from tokenprune.claims.theory.trials import TimeStudy

DRAWS = 2000
#: A line through two places fits whatever stands there.
PLACES = 3
#: Of fewer values not even smallest and largest enclose the median at 95 % (2 / 2^5 is more than 5 %).
TRIALS = 6


@dataclass(frozen=True)
class TimeFit:
    """T ~ alpha_*^-h eta^-k, T being the median over trials of the iterations needed.

    A median can be given as long as fewer than half of the trials were given up; other cells (nan) are left out.
    plane: intercept, h and k of log T by least squares; nan where fewer than two alpha_* are known.
    alpha, eta: h and k; None where the cells do not determine it.
    """

    median: Float[Array, "e v"]
    given_up: Int[Array, "e v"]
    plane: tuple[float, float, float]
    alpha: Estimate | None
    eta: Estimate | None

    def fitted(self, step_size: float, alpha: Float[Array, " n"]) -> Float[Array, " n"]:
        """T on the plane."""
        intercept, by_alpha, by_eta = self.plane
        return np.asarray(np.exp(intercept - by_alpha * np.log(alpha) - by_eta * math.log(step_size)))


def convergence(studies: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """h and, as variant `eta`, k of T ~ alpha_*^-h eta^-k, ViTs."""
    return [
        _finding(study, variant)
        for study in studies
        if isinstance(study, TimeStudy) and study.first.kind == "vit"
        for variant in (None, "eta")
    ]


@once
def analyse(study: TimeStudy) -> TimeFit:
    """Medians and the fit through them."""
    times = study.iterations()
    cells = times.reshape(-1, times.shape[-1])
    eta, alpha = np.meshgrid(np.log(study.first.step_sizes), np.log(study.first.values), indexing="ij")
    design = np.stack([np.ones(alpha.size), -alpha.ravel(), -eta.ravel()], axis=1)
    medians = np.median(cells, axis=-1)
    picks = np.random.default_rng(0).integers(0, cells.shape[1], (DRAWS, *cells.shape))
    draws = np.median(np.take_along_axis(cells[None], picks, axis=2), axis=-1)
    plane = _least_squares(design, medians[None])[0]
    exponents: list[Estimate | None] = []
    for which in (1, 2):
        found = _coefficient(design, medians[None], which)
        estimate = None
        if len(found) and study.trials >= TRIALS:
            estimate = Estimate.of_draws(float(found[0]), _coefficient(design, draws, which), study.trials)
        elif len(found):
            estimate = Estimate(float(found[0]), None, None, study.trials, lambda bound: None)
        exponents.append(estimate)
    known = np.isfinite(medians)
    if len(set(alpha.ravel()[known])) < 2:
        plane = np.full(3, np.nan)
    return TimeFit(
        np.where(known, medians, np.nan).reshape(alpha.shape),
        np.isinf(times).sum(-1),
        (float(plane[0]), float(plane[1]), float(plane[2])),
        *exponents,
    )


def _finding(study: TimeStudy, variant: str | None) -> Finding:
    found, diverged = analyse(study), study.diverged
    name, symbol, exponent = ("alpha_*", "h", found.alpha) if variant is None else ("eta", "k", found.eta)
    lacking, todo = None, _todo(study, found)
    if exponent is None:
        lacking = f"fewer than {PLACES} {name} have cells in which most trials reached zero loss"
    elif study.trials < TRIALS:
        lacking = f"the median of {study.trials} trials has no bootstrap interval, it takes {TRIALS}"
        todo = f"{TRIALS} trials:\n{study.command({'convergence.trials': TRIALS})}"
    return Finding(
        subject=study,
        what=f"exponent {symbol} of T ~ {name}^-{symbol}",
        estimate=exponent,
        lacking=lacking,
        n=study.trials,
        more=partial(study.further, study.trials),
        variant=variant,
        unit=f"exponent of 1 / {name}",
        todo=todo,
        beside=f"{diverged} of {found.given_up.size * study.trials} models diverged" if diverged else None,
    )


def _least_squares(design: Float[Array, "c 3"], medians: Float[Array, "d c"]) -> Float[Array, "d 3"]:
    """Plane through the log medians of the finite cells."""
    known = np.isfinite(medians)
    logs = np.log(np.where(known, medians, 1.0))
    masked = known[..., None] * design
    normal = np.swapaxes(masked, 1, 2)
    return np.asarray((np.linalg.pinv(normal @ design) @ (normal @ logs[..., None]))[..., 0])


def _coefficient(design: Float[Array, "c 3"], medians: Float[Array, "d c"], which: int) -> Float[Array, " n"]:
    """One coefficient of `_least_squares`, without draws whose finite cells do not determine it."""
    patterns, pattern = np.unique(np.isfinite(medians), axis=0, return_inverse=True)
    usable = np.array([_determined(design[cells], which) for cells in patterns])[pattern.reshape(-1)]
    return _least_squares(design, medians)[usable, which]


def _determined(design: Float[Array, "c 3"], which: int) -> bool:
    """Whether these cells have places enough along the axis, and the other columns do not already give this one."""
    if len(set(design[:, which])) < PLACES:
        return False
    others = np.delete(design, which, axis=1)
    return bool(np.linalg.matrix_rank(design) > np.linalg.matrix_rank(others))


def _todo(study: TimeStudy, found: TimeFit) -> str | None:
    """More iterations for trials that were given up, smaller steps for those that diverged."""
    diverged, missing, limit = study.diverged or 0, int(np.isnan(found.median).sum()), study.first.limit
    said = []
    if diverged:
        smaller = [size / 2 for size in study.first.step_sizes]
        said.append(
            f"{diverged} models diverged, which more iterations would not mend: smaller step sizes:\n"
            f"{study.command({'convergence.step_sizes': smaller})}"
        )
    if missing and found.given_up.sum() > diverged:
        said.append(
            f"In {missing} {'cell' if missing == 1 else 'cells'} at least half of the trials were given up after "
            f"{limit} iterations: more iterations:\n{study.command({'convergence.iterations': 4 * limit})}"
        )
    return "\n".join(said) or None
