"""Scaling of sample complexity where success need not reach 1: tokenprune.complexity's logistic with a lapse rate.

Shapes: c = v n cells of v values and n training set sizes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokenprune.complexity import Array, Table, deviance, power_law
from tokenprune.statistics import Z

#: Of s, c, g and the lapse.
_BOUNDS = ((1e-3, 100.0), (None, None), (None, None), (0.0, 0.5))


@dataclass(frozen=True)
class Lapsing:
    """N50 ~ x^exponent where success tends to 1 - lapse as N grows, with Wald's 95 % interval."""

    exponent: float
    low: float
    high: float
    lapse: float
    deviance: float
    freedom: int


def lapsing(x: Sequence[float], samples: Sequence[int], successes: Table, trials: int) -> Lapsing | None:
    """P(success) = (1 - lapse) logistic(s (log N - c - g log x)), lapse in [0, 1/2]; None where `power_law` has none.

    A logistic that runs to 1 takes failures at large N for a shallow slope (Wichmann & Hill, Percept. Psychophys. 63,
    2001), and g with it.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    plain = power_law(x, samples, successes, trials, draws=1)
    if plain.estimate is None or plain.slope is None or plain.intercept is None:
        return None
    n, v = np.tile(np.log(samples), len(x)), np.repeat(np.log(x), len(samples))
    centre_n, centre_v = n.mean(), v.mean()
    counts = np.asarray(successes, float).reshape(-1)

    def rates(theta: Float[Array, " 4"]) -> tuple[Float[Array, " c"], Float[Array, "c 4"]]:
        s, c, g, lapse = theta
        inner = n - centre_n - c - g * (v - centre_v)
        rate = expit(s * inner)
        by_odds = (1 - lapse) * rate * (1 - rate)
        slopes = np.stack([by_odds * inner, -by_odds * s, -by_odds * s * (v - centre_v), -rate], axis=1)
        return np.clip((1 - lapse) * rate, 1e-12, 1 - 1e-12), slopes

    def loss(theta: Float[Array, " 4"]) -> tuple[float, Float[Array, " 4"]]:
        rate, slopes = rates(theta)
        value = -(counts * np.log(rate) + (trials - counts) * np.log1p(-rate)).sum()
        return float(value), -((counts - trials * rate) / (rate * (1 - rate))) @ slopes

    at = plain.intercept + plain.estimate * centre_v - centre_n
    tries = [
        minimize(loss, [plain.slope, at, plain.estimate, lapse], jac=True, method="L-BFGS-B", bounds=_BOUNDS)
        for lapse in (0.0, 0.02, 0.1)
    ]
    theta = min(tries, key=lambda found: found.fun).x
    rate, slopes = rates(theta)
    information = (slopes * (trials / (rate * (1 - rate)))[:, None]).T @ slopes
    half = Z * math.sqrt(max(np.linalg.pinv(information)[2, 2], 0.0))
    g, lapse = float(theta[2]), float(theta[3])
    return Lapsing(g, g - half, g + half, lapse, deviance(rate, counts, trials), len(counts) - 4)
