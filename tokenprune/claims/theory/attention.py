"""Claims about attention during training: findings from attention results.

Growth is tested by trial with Student's t. The rate is read off the mean curve from its steepest step on, with a
bootstrap over trials: powers of single trials often lie at an end of the range that can be distinguished, and a t
interval of such values means nothing.

Shapes: t trials, i iterations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.theory.decay import DISTINGUISHABLE, Decay, decays, limits
from tokenprune.claims.theory.study import Array, LaboratoryStudy, once
from tokenprune.claims.theory.trials import AttentionStudy
from tokenprune.statistics import mean_interval

#: A fit whose residual (root mean square) exceeds this share of the rise it describes is no description of it.
RESIDUAL = 0.01
DRAWS = 200
_UNMEASURED = "the second half of the curve has fewer than three measurements"


class Limit(NamedTuple):
    """The limit that the theorem's own 1 / t leads to on the second half of the curve, mean over trials.

    value: None where 1 / t does not describe the curve; low, high: 95 % t interval. residual: root mean square of the
    mean curve. by_root, by_square: the same with t^-1/2 and t^-2, because a limit is known no better than the power
    that leads to it. c: C of 1 - eta^C; None where `lacking` says why.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    residual: float | None = None
    by_root: float | None = None
    by_square: float | None = None
    c: float | None = None
    lacking: str | None = None


_NO_LIMIT = Limit()


@dataclass(frozen=True)
class Approach:
    """How mean attention approaches its limit as t^-power.

    start: iteration of the steepest step, where the fit begins. best: the fit, and `later` that of the second half;
    None where attention did not rise or was measured too seldom. residual_share: of the rise. powers: of bootstrap
    draws, none where the residual is too large. power: None where it is not identified, and `lacking` says why.
    """

    limit: Limit = _NO_LIMIT
    start: int | None = None
    best: Decay | None = None
    later: Decay | None = None
    residual_share: float | None = None
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
    half, best = len(t) // 2, fits[0]
    later = next(iter(decays(t[half:], tail.mean(0)[None, half:])), None)
    rise = float(tail[:, -1].mean() - tail[:, 0].mean())
    share = best.residual / rise
    found = partial(found, best, later, share)
    if best.residual > RESIDUAL * rise:
        said = f"the best fit leaves a residual of {best.residual:.2g}, {share:.1%} of the rise that it describes"
        if later:
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
    if found.best is not None and found.limit.value is not None:
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


def _limit(study: AttentionStudy, curves: Float[Array, "t i"]) -> Limit:
    half, eta = curves.shape[1] // 2, study.first.step_size
    t, later = np.asarray(study.first.iterations[half:], float), curves[:, half:]
    if len(t) < 3 or t[0] <= 0:
        return Limit(lacking=_UNMEASURED)
    by_time, residual = limits(1 / t, later)
    by_root, by_square = (float(limits(t**power, later)[0].mean()) for power in (-0.5, -2.0))
    found = partial(Limit, residual=residual, by_root=by_root, by_square=by_square)
    if residual > RESIDUAL * abs(curves[:, -1].mean() - curves[:, 0].mean()):
        return found(lacking=f"1 / t leaves a residual of {residual:.2g} on the second half of the curve")
    value, low, high = mean_interval(by_time.tolist())
    found = partial(found, value, low, high)
    if eta >= 1:
        return found(lacking=f"1 - eta^C is no share of attention where eta is {eta:g}: it must be below 1")
    if not 0 < value < 1:
        return found(lacking="the limit is not between 0 and 1")
    return found(c=math.log(1 - value) / math.log(eta))


def _slower(study: AttentionStudy) -> str:
    halved = {"train.step_size": study.first.step_size / 2}
    models = "1 model" if study.diverged == 1 else f"{study.diverged} models"
    return f"{models} diverged: a smaller step size:\n{study.command(halved)}"
