"""Claims about attention during training: findings from attention results.

Growth is tested by trial with Student's t. The rate is read off the mean curve from its steepest step on, with a
bootstrap over trials: powers of single trials often lie at an end of what can be told apart, and a t interval of such
values means nothing.
"""

import math
from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.theory.study import LaboratoryStudy
from tokenprune.statistics import mean_interval
from tokenprune.theory.attention import AttentionResult

if TYPE_CHECKING:
    import numpy as np

#: Powers that are told apart. A faster one looks like an exponential, a slower one like a logarithm: the fit's own
#: grid is twice as wide, since a best fit near its end says no more than one at it.
TOLD = (0.2, 10.0)
#: A fit whose residual (root mean square) exceeds this share of the rise it describes is no description of it.
RESIDUAL = 0.01
DRAWS = 200


def concentration(settings: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """Growth of attention on label-relevant tokens; variant `rate`: the power of its approach to the limit."""
    chosen: list[LaboratoryStudy[AttentionResult]] = [
        setting for setting in settings if isinstance(setting.first, AttentionResult)
    ]
    return [_growth(setting) for setting in chosen] + [_rate(setting) for setting in chosen]


def measured(setting: LaboratoryStudy[AttentionResult], name: str) -> list[list[float]]:
    """Curves of the trials that did not diverge, over all seeds. name: of a field of AttentionResult.

    A trial whose loss, or anything else, ceased to be finite has diverged: what was measured before is not used.
    """
    found = []
    for result in setting.results:
        fields = [getattr(result, field) for field in ("attention", "loss", name)]
        for *known, curve in zip(*fields, strict=True):
            if not any(None in each for each in (*known, curve)):
                found.append([value for value in curve if value is not None])
    return found


def diverged(setting: LaboratoryStudy[AttentionResult]) -> int:
    return sum(len(result.attention) for result in setting.results) - len(measured(setting, "attention"))


def _growth(setting: LaboratoryStudy[AttentionResult]) -> Finding:
    curves = measured(setting, "attention")
    changes = [curve[-1] - curve[0] for curve in curves]
    names = ("query_norm", "query_norm_other", "key_norm", "key_norm_other")
    lost = diverged(setting)
    return Finding(
        subject=setting,
        what="growth of the attention summed over label-relevant tokens",
        estimate=Estimate.of_trials(changes),
        n=len(curves),
        more=partial(setting.further, len(curves)),
        lacking=None if changes else "every trial diverged",
        beside=f"{lost} diverged, left out" if lost else None,
        todo=_slower(setting, lost) if lost else None,
        details={
            "first": _mean([curve[0] for curve in curves]),
            "last": _mean([curve[-1] for curve in curves]),
            "among_relevant_queries": _mean([c[-1] - c[0] for c in measured(setting, "attention_relevant")]),
            "norm_growth": {name: _mean([c[-1] / c[0] for c in measured(setting, name) if c[0] > 0]) for name in names},
            "diverged": lost,
        },
    )


def _rate(setting: LaboratoryStudy[AttentionResult]) -> Finding:
    import numpy as np

    result, curves, lost = setting.first, measured(setting, "attention"), diverged(setting)
    finding = partial(
        Finding,
        subject=setting,
        what="power p of limit - a(t) ~ t^-p, from the steepest step of the mean curve on",
        n=len(curves),
        more=partial(setting.further, len(curves)),
        variant="rate",
        support=(1.0, None),
        unit="power of 1 / t",
    )
    if not curves:
        return finding(lacking="every trial diverged", todo=_slower(setting, lost), details={"diverged": lost})
    a = np.asarray(curves)
    start = int(np.diff(a.mean(0)).argmax())
    t, tail = list(result.iterations[start:]), a[:, start:]
    fits = decays(t, tail.mean(0)[None])
    details = {"diverged": lost, "start": t[0], "told": list(TOLD), **_limit(setting, curves)}
    known = details["limit"]
    limit_said = "" if known is None else f"limit by 1/t {known:.3f}"
    unknown = partial(
        finding, todo=_no_power(setting), beside="; ".join(filter(None, ("p not identified", limit_said)))
    )
    if not fits:
        return finding(lacking="attention did not rise, or was measured too seldom", details=details)
    power, limit, residual = fits[0]
    rise = float(tail[:, -1].mean() - tail[:, 0].mean())
    later = decays(t[len(t) // 2 :], tail.mean(0)[None, len(t) // 2 :])
    details |= {
        "power": power,
        "limit_of_this_fit": limit,
        "residual": residual,
        "residual_share": residual / rise,
        "power_of_the_later_half": later[0][0] if later else None,
    }
    if residual > RESIDUAL * rise:
        said = f"the best fit leaves a residual of {residual:.2g}, {residual / rise:.1%} of the rise that it describes"
        if later:
            said += f"; its power is {power:.2g} from iteration {t[0]} on, {later[0][0]:.2g} from {t[len(t) // 2]} on"
        return unknown(lacking=f"p is not identified: {said}", details=details)
    picks = np.random.default_rng(0).integers(0, len(tail), (DRAWS, len(tail)))
    powers = np.array([found[0] for found in decays(t, tail[picks].mean(1))])
    low, high = (float(bound) for bound in np.quantile(powers, (0.025, 0.975)))
    details["interval"] = [low, high]
    if not (TOLD[0] < min(low, power) and max(high, power) < TOLD[1]):
        said = f"the best fit is {power:.3g} ({low:.3g} to {high:.3g}), and powers beyond {TOLD[0]:g} to {TOLD[1]:g}"
        return unknown(lacking=f"p is not identified: {said} are not told apart", details=details)
    return finding(estimate=Estimate.of_draws(power, powers, len(curves)), beside=limit_said or None, details=details)


def _limit(setting: LaboratoryStudy[AttentionResult], curves: list[list[float]]) -> dict[str, Any]:
    """The limit that the theorem's own 1 / t leads to on the second half of the curve, by trial; and C of 1 - eta^C.

    other_limits: the same with t^-1/2 and t^-2, because a limit is known no better than the power that leads to it.
    """
    import numpy as np

    half = len(curves[0]) // 2
    t, a = np.asarray(setting.first.iterations[half:], float), np.asarray(curves)[:, half:]
    eta, unknown = setting.first.step_size, dict.fromkeys(("limit", "limit_interval", "limit_residual", "C"))
    if len(t) < 3 or t[0] <= 0:
        return {**unknown, "C_lacking": "the second half of the curve has fewer than three measurements"}
    fitted = {power: _towards(t**-power, a) for power in (1.0, 0.5, 2.0)}
    limit, low, high = mean_interval([float(each) for each in fitted[1.0][0]])
    found = {
        "limit": limit,
        "limit_interval": None if low is None else [low, high],
        "limit_residual": fitted[1.0][1],
        "other_limits": {f"t^-{power:g}": float(fitted[power][0].mean()) for power in (0.5, 2.0)},
        "C": None,
        "C_lacking": None,
    }
    rise = float(np.asarray(curves)[:, -1].mean() - np.asarray(curves)[:, 0].mean())
    if fitted[1.0][1] > RESIDUAL * abs(rise):
        lacking = f"1 / t leaves a residual of {fitted[1.0][1]:.2g} on the second half of the curve"
        return {**found, "limit": None, "limit_interval": None, "C_lacking": lacking}
    if eta >= 1:
        return {**found, "C_lacking": f"1 - eta^C is no share of attention where eta is {eta:g}: it must be below 1"}
    if not 0 < limit < 1:
        return {**found, "C_lacking": "the limit is not between 0 and 1"}
    return {**found, "C": math.log(1 - limit) / math.log(eta)}


def _towards(shape: "np.ndarray", a: "np.ndarray") -> tuple["np.ndarray", float]:
    """Limits of a = limit - k shape by least squares, a trial each; residual (root mean square) of their mean."""
    import numpy as np

    design = np.stack([np.ones_like(shape), -shape], axis=1)
    found = np.linalg.lstsq(design, a.T, rcond=None)[0]
    left = a.mean(0) - design @ found.mean(1)
    return found[0], float(np.sqrt(np.mean(left**2)))


def decays(
    iterations: Sequence[int], curves: "Sequence[Sequence[float]] | np.ndarray"
) -> list[tuple[float, float, float]]:
    """(p, limit, residual) of a(t) = limit - k (1 + (t - t_0) / c)^-p by least squares, k > 0; curves that rise only.

    t_0 is the first iteration. p from half the least to twice the largest that is told, c from a tenth of the first
    interval to ten times the whole. residual: root mean square.
    """
    import numpy as np

    if len(iterations) < 5 or not len(curves):
        return []
    t, a = np.asarray(iterations, float), np.asarray(curves, float)
    t = t - t[0]
    powers = np.geomspace(TOLD[0] / 2, 2 * TOLD[1], 80)
    scales = np.geomspace(t[1] / 10, 10 * t[-1], 80)
    shapes = ((1 + t / scales[:, None, None]) ** -powers[:, None]).reshape(-1, len(t))
    centred = shapes - shapes.mean(1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1)
    overlap = (a - a.mean(1, keepdims=True)) @ (centred / norm[:, None]).T
    best = overlap.argmin(1)  # the most negative: a rising curve falls towards its limit from below
    return [
        _refined(t, curve, float(powers[index % len(powers)]), float(scales[index // len(powers)]))
        for curve, index, score in zip(a, best, overlap.min(1), strict=True)
        if score < -1e-9
    ]


def _refined(t: "np.ndarray", a: "np.ndarray", power: float, scale: float) -> tuple[float, float, float]:
    """Between the places of the grid: limit and k in closed form, p and c by least squares."""
    import numpy as np
    from scipy.optimize import least_squares

    def linear(theta: "np.ndarray") -> tuple["np.ndarray", float]:
        """What is left, and the limit."""
        shape = (1 + t / np.exp(theta[1])) ** -np.exp(theta[0])
        off = shape - shape.mean()
        k = -(off @ a) / (off @ off)
        return a - a.mean() + k * off, float(a.mean() + k * shape.mean())

    bounds = np.log([[TOLD[0] / 2, t[1] / 10], [2 * TOLD[1], 10 * t[-1]]])
    start = np.clip(np.log([power, scale]), bounds[0] + 1e-9, bounds[1] - 1e-9)
    theta = least_squares(lambda at: linear(at)[0], start, bounds=tuple(bounds), x_scale=0.1, ftol=1e-6).x
    left, limit = linear(theta)
    return float(np.exp(theta[0])), limit, float(np.sqrt(np.mean(left**2)))


def _no_power(setting: LaboratoryStudy[AttentionResult]) -> str:
    longer = {"curve.iterations": 4 * setting.first.recipe["curve"]["iterations"]}
    return f"More trials would not help: a longer curve, which shows more of the approach:\n{setting.command(longer)}"


def _slower(setting: LaboratoryStudy[AttentionResult], lost: int) -> str:
    halved = {"train.step_size": setting.first.step_size / 2}
    return f"{_models(lost)} diverged: a smaller step size:\n{setting.command(halved)}"


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
