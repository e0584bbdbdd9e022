"""Fits of rising curves that approach a limit as a power of time.

Shapes: t trials (curves), i iterations.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tokenprune.claims.theory.study import Array

#: Powers that can be distinguished. A faster one looks like an exponential, a slower one like a logarithm: the fit's
#: own grid is twice as wide, since a best fit near its end says no more than one at it.
DISTINGUISHABLE = (0.2, 10.0)


class Decay(NamedTuple):
    """a(t) = limit - k (1 + (t - t_0) / c)^-power, k > 0. residual: root mean square."""

    power: float
    limit: float
    residual: float


def decays(iterations: Sequence[int], curves: Float[Array, "t i"]) -> list[Decay]:
    """By least squares, of curves that rise only; t_0 is the first iteration. None of fewer than five iterations.

    The power is from half the least to twice the largest that can be distinguished, c from a tenth of the first
    interval to ten times the whole.
    """
    if len(iterations) < 5 or not len(curves):
        return []
    t, a = np.asarray(iterations, float), np.asarray(curves, float)
    t = t - t[0]
    powers = np.geomspace(DISTINGUISHABLE[0] / 2, 2 * DISTINGUISHABLE[1], 80)
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


def limits(shape: Float[Array, " i"], curves: Float[Array, "t i"]) -> tuple[Float[Array, " t"], float]:
    """Limits of a = limit - k shape by least squares, one per curve; residual (root mean square) of their mean."""
    design = np.stack([np.ones_like(shape), -shape], axis=1)
    found = np.linalg.lstsq(design, curves.T, rcond=None)[0]
    left = curves.mean(0) - design @ found.mean(1)
    return found[0], float(np.sqrt(np.mean(left**2)))


def _refined(t: Float[Array, " i"], a: Float[Array, " i"], power: float, scale: float) -> Decay:
    """Between the places of the grid: limit and k in closed form, power and c by least squares."""
    from scipy.optimize import least_squares  # takes longer to load than `ls claims` may

    def linear(theta: Array) -> tuple[Array, float]:
        """What is left, and the limit."""
        shape = (1 + t / np.exp(theta[1])) ** -np.exp(theta[0])
        off = shape - shape.mean()
        k = -(off @ a) / (off @ off)
        return a - a.mean() + k * off, float(a.mean() + k * shape.mean())

    least, most = DISTINGUISHABLE
    bounds = np.log([[least / 2, t[1] / 10], [2 * most, 10 * t[-1]]])
    start = np.clip(np.log([power, scale]), bounds[0] + 1e-9, bounds[1] - 1e-9)
    theta = least_squares(lambda at: linear(at)[0], start, bounds=tuple(bounds), x_scale=0.1, ftol=1e-6).x
    left, limit = linear(theta)
    return Decay(float(np.exp(theta[0])), limit, float(np.sqrt(np.mean(left**2))))
