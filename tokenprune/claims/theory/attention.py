"""Claims about attention during training: findings from attention results.

Growth is tested by trial with Student's t. The rate is read off the mean curve from its steepest step on, with a
bootstrap over trials: powers of single trials often lie at an end of the range that can be distinguished, and a t
interval of such values means nothing.

Shapes: t trials, i iterations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.theory.decay import DISTINGUISHABLE, Decay, decays, limits
from tokenprune.claims.theory.study import Array, LaboratoryStudy, once
from tokenprune.claims.theory.trials import AttentionStudy

#: A fit whose residual (root mean square) exceeds this share of the rise it describes is no description of it.
RESIDUAL = 0.01
DRAWS = 200


@dataclass(frozen=True)
class Approach:
    """How mean attention approaches its limit as t^-power.

    limit: that which the theorem's own 1 / t leads to on the second half of the curve, mean over trials; None where
    1 / t does not describe the curve.
    start: iteration of the steepest step, where the fit begins. best: the fit; None where attention did not rise or was
    measured too seldom. powers: of bootstrap draws, none where the residual is too large. power: None where it is not
    identified, and `lacking` says why.
    """

    limit: Estimate | None = None
    start: int | None = None
    best: Decay | None = None
    power: float | None = None
    lacking: str | None = None
    powers: Float[Array, " d"] = field(default_factory=lambda: np.empty(0), repr=False)


def concentration(studies: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """Growth of attention on label-relevant tokens; variant `rate`: the power of its approach to the limit."""
    chosen = [study for study in studies if isinstance(study, AttentionStudy)]
    return [_growth(study) for study in chosen] + [_rate(study) for study in chosen]


@once
def approach(study: AttentionStudy) -> Approach:
    """The power of the approach, as far as it is identified."""
    curves = study.curve("attention").T
    if not len(curves):
        return Approach(lacking="every trial diverged")
    start = int(np.diff(curves.mean(0)).argmax())
    t, tail = study.first.iterations[start:], curves[:, start:]
    found = partial(Approach, _limit(study, curves), t[0])
    fits = decays(t, tail.mean(0)[None])
    if not fits:
        return found(lacking="attention did not rise, or was measured too seldom")
    best, rise = fits[0], float(tail[:, -1].mean() - tail[:, 0].mean())
    found = partial(found, best)
    if best.residual > RESIDUAL * rise:
        share, half = best.residual / rise, len(t) // 2
        said = f"the best fit leaves a residual of {best.residual:.2g}, {share:.1%} of the rise that it describes"
        for later in decays(t[half:], tail.mean(0)[None, half:]):
            said += f"; its power is {best.power:.2g} from iteration {t[0]} on, {later.power:.2g} from {t[half]} on"
        return found(lacking=f"p is not identified: {said}")
    picks = np.random.default_rng(0).integers(0, len(tail), (DRAWS, len(tail)))
    powers = np.array([fit.power for fit in decays(t, tail[picks].mean(1))])
    low, high = np.quantile(powers, (0.025, 0.975))
    least, most = DISTINGUISHABLE
    if least < min(low, best.power) and max(high, best.power) < most:
        return found(power=best.power, powers=powers)
    said = f"the best fit is {best.power:.3g} ({low:.3g} to {high:.3g}), and powers beyond {least:g} to {most:g}"
    return found(lacking=f"p is not identified: {said} cannot be distinguished", powers=powers)


def _growth(study: AttentionStudy) -> Finding:
    curves, lost = study.curve("attention"), study.diverged
    changes = (curves[-1] - curves[0]).tolist()
    return Finding(
        subject=study,
        what="growth of the attention summed over label-relevant tokens",
        estimate=Estimate.of_trials(changes),
        n=study.trials,
        more=partial(study.further, study.trials),
        lacking=None if changes else "every trial diverged",
        beside=f"{lost} diverged, left out" if lost else None,
        todo=_slower(study) if lost else None,
    )


def _rate(study: AttentionStudy) -> Finding:
    found, n = approach(study), study.trials
    todo, beside = None, []
    if not n:
        todo = _slower(study)
    elif found.power is None and found.best is not None:
        longer = {"curve.iterations": 4 * study.first.recipe["curve"]["iterations"]}
        shows = "a longer curve, which shows more of the approach"
        todo, beside = f"More trials would not help: {shows}:\n{study.command(longer)}", ["p not identified"]
    if found.best is not None and found.limit is not None:
        beside.append(f"limit by 1/t {found.limit.value:.3f}")
    return Finding(
        subject=study,
        what="power p of limit - a(t) ~ t^-p, from the steepest step of the mean curve on",
        estimate=None if found.power is None else Estimate.of_draws(found.power, found.powers, n),
        n=n,
        more=partial(study.further, n),
        variant="rate",
        support=(1.0, None),
        unit="power of 1 / t",
        lacking=found.lacking,
        todo=todo,
        beside="; ".join(beside) or None,
    )


def _limit(study: AttentionStudy, curves: Float[Array, "t i"]) -> Estimate | None:
    half = curves.shape[1] // 2
    t, later = np.asarray(study.first.iterations[half:], float), curves[:, half:]
    if len(t) < 3 or t[0] <= 0:
        return None
    found, residual = limits(1 / t, later)
    described = residual <= RESIDUAL * abs(curves[:, -1].mean() - curves[:, 0].mean())
    return Estimate.of_trials(found.tolist()) if described else None


def _slower(study: AttentionStudy) -> str:
    halved = {"train.step_size": study.first.step_size / 2}
    models = "1 model" if study.diverged == 1 else f"{study.diverged} models"
    return f"{models} diverged: a smaller step size:\n{study.command(halved)}"
