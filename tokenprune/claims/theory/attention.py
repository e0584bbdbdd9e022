"""Claims about attention during training: findings from attention results, with Student's t over trials."""

import math
from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tokenprune.claims.theory.claim import TheoryFinding
from tokenprune.claims.theory.setting import Setting
from tokenprune.runs import AttentionResult
from tokenprune.statistics import mean_interval, t_test

if TYPE_CHECKING:
    pass

#: The fastest decay that is told apart: an exponential one looks like a power without end.
FASTEST = 20.0


def concentration(settings: Sequence[Setting[Any]]) -> list[TheoryFinding]:
    """Growth of attention on label-relevant tokens; variant `rate`: the power of its approach to the limit."""
    chosen: list[Setting[AttentionResult]] = [
        setting for setting in settings if isinstance(setting.first, AttentionResult)
    ]
    return [_growth(setting) for setting in chosen] + [_rate(setting) for setting in chosen]


def _growth(setting: Setting[AttentionResult]) -> TheoryFinding:
    curves = _curves(setting, "attention")
    changes = [curve[-1] - curve[0] for curve in curves]
    effect, low, high = mean_interval(changes) if changes else (None, None, None)
    names = ("query_norm", "query_norm_other", "key_norm", "key_norm_other")
    return TheoryFinding(
        settings=(setting,),
        what="growth of the attention summed over label-relevant tokens",
        trials=len(curves),
        effect=effect,
        low=low,
        high=high,
        p=partial(t_test, changes),
        lacking=None if changes else "every trial diverged",
        details={
            "first": _mean([curve[0] for curve in curves]),
            "last": _mean([curve[-1] for curve in curves]),
            "among_relevant_queries": _mean([c[-1] - c[0] for c in _curves(setting, "attention_relevant")]),
            "norm_growth": {name: _mean([c[-1] / c[0] for c in _curves(setting, name) if c[0] > 0]) for name in names},
            "diverged": _all(setting) - len(curves),
        },
    )


def _rate(setting: Setting[AttentionResult]) -> TheoryFinding:
    """Student's t on log p, so the effect is a geometric mean: powers are compared by ratio."""
    result = setting.first
    fits = decays(result.iterations, _curves(setting, "attention"))
    logs = [math.log(power) for power, _ in fits]
    effect, low, high = (_exp(value) for value in mean_interval(logs)) if logs else (None, None, None)
    limit = _mean([limit for _, limit in fits])
    power = None
    if limit is not None and 0 < limit < 1 and result.step_size < 1:
        power = math.log(1 - limit) / math.log(result.step_size)
    return TheoryFinding(
        settings=(setting,),
        what="power p of limit - a(t) ~ t^-p" + (f" ({FASTEST:g} stands for any faster decay)" if logs else ""),
        trials=len(fits),
        variant="rate",
        effect=effect,
        low=low,
        high=high,
        p=lambda against: t_test(logs, math.log(against)),
        lacking=None if logs else "attention rose in no trial",
        range=(1.0, None),
        unit="power of 1 / t",
        details={
            "limit": limit,
            "C": power,
            "powers": [power for power, _ in fits],
            "fastest": FASTEST,
            "not_rising": _all(setting) - len(fits),
        },
    )


def decays(iterations: Sequence[int], curves: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """(p, limit) of a(t) = limit - k (1 + t / c)^-p by least squares, k > 0, for every curve that rises.

    p from 0.1 to 20 and c from a tenth of the first interval to ten times the whole: all on one grid, limit and k in
    closed form. The best p is that of the best c.
    """
    import numpy as np

    if len(iterations) < 4 or not curves:
        return []
    t, a = np.asarray(iterations, float), np.asarray(curves, float)
    powers = np.geomspace(0.1, FASTEST, 160)
    scales = np.geomspace((t[1] - t[0]) / 10, 10 * t[-1], 80)
    shapes = ((1 + t / scales[:, None, None]) ** -powers[:, None]).reshape(-1, len(t))
    centred = shapes - shapes.mean(1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1)
    overlap = (a - a.mean(1, keepdims=True)) @ (centred / norm[:, None]).T
    best = overlap.argmin(1)  # the most negative: a rising curve falls towards its limit from below
    found = []
    for curve, index, score in zip(a, best, overlap.min(1), strict=True):
        if score < -1e-9:
            k: np.floating = -score / norm[index]
            found.append((float(powers[index % len(powers)]), float(curve.mean() + k * shapes[index].mean())))
    return found


def _curves(setting: Setting[AttentionResult], name: str) -> list[list[float]]:
    """Curves of trials that did not diverge, over all seeds."""
    return [
        [value for value in curve if value is not None]
        for result in setting.results
        for curve in getattr(result, name)
        if None not in curve
    ]


def _all(setting: Setting[AttentionResult]) -> int:
    return sum(len(result.attention) for result in setting.results)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(min(value, 700))
