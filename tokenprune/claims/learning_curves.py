"""Accuracy over the number of training images at several alpha_*: does alpha_* shift the curve in N, or upwards?

Shapes: d draws, c cells (an alpha_* at an N), s seeds, i test images.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokenprune.statistics import Z

Array = np.ndarray

#: Steps of a fit, and the largest |k| and c: beyond them N^-c alpha^-kc is flat or a wall.
_STEPS, _K, _C = 60, 20.0, 4.0


@dataclass(frozen=True)
class Shift:
    """acc = A - B (N alpha_*^k)^-c, by least squares over all cells and seeds: maximum likelihood of a Gaussian error.

    draws: k of the bootstrap over seeds and, where answers by image are known, test images, widened for few seeds.
    rival: AIC of this model less that of acc = A - B N^-c + d(alpha_*), a shift of accuracy at every N: above 0 where
    the rival is better.
    """

    k: float
    c: float
    draws: Float[Array, " d"]
    rival: float


def fit_shift(
    samples: Float[Array, " c"],
    alphas: Float[Array, " c"],
    accuracy: Float[Array, "s c"],
    answers: Float[Array, "s c i"] | None = None,
    count: int = 2000,
) -> Shift:
    """The model of a shift in N, and how its rival compares. answers: which test images were right, 0 or 1.

    count: of draws. Raises ValueError where mean accuracy does not rise with N.
    """
    seeds = len(accuracy)
    log_n, log_a = np.log(samples) - np.log(samples).mean(), np.log(alphas) - np.log(alphas).mean()
    mean = accuracy.mean(axis=0)[None]
    theta = _fit(log_n, log_a, mean)[0]
    level = np.array([[theta[0], 0.0]])
    if _error(level, log_n, log_a, mean)[0] >= mean.var() * mean.size - 1e-12:
        raise ValueError("accuracy does not rise with the number of training images")
    rng = np.random.default_rng(0)
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), count) / seeds
    drawn = weights @ accuracy
    if answers is not None:
        drawn = np.einsum("ds,dsc->dc", weights, _by_image(answers, rng, count))
    k = _fit(log_n, log_a, drawn, theta)[:, 1]
    widened = theta[1] + _few(seeds) * (k - theta[1])
    return Shift(float(theta[1]), float(theta[0]), widened, _rival(log_n, log_a, alphas, accuracy, theta))


def _few(seeds: int) -> float:
    """What widens percentiles of a bootstrap over so few seeds to Student's t interval of their mean."""
    from scipy.special import stdtrit

    return float(stdtrit(seeds - 1, 0.975)) / Z * math.sqrt(seeds / (seeds - 1)) if seeds > 1 else math.inf


def _by_image(answers: Float[Array, "s c i"], rng: np.random.Generator, count: int) -> Float[Array, "d s c"]:
    """Accuracy on images drawn with replacement, the same ones for all seeds and cells of a draw."""
    seeds, cells, images = answers.shape
    table, found = answers.reshape(-1, images).astype(np.float32), []
    for first in range(0, count, 100):
        size = min(100, count - first)
        weights = rng.multinomial(images, np.full(images, 1 / images), size).astype(np.float32) / images
        found.append((weights @ table.T).reshape(-1, seeds, cells))
    return np.concatenate(found)


def _fit(
    log_n: Float[Array, " c"], log_a: Float[Array, " c"], accuracy: Float[Array, "d c"], start: Array | None = None
) -> Float[Array, "d 2"]:
    """(c, k) of each row of accuracies: a pattern search on what the best A and B leave, safe where a curve is flat."""
    if start is None:
        grid = [(c, k) for c in (0.05, 0.15, 0.4, 1.0) for k in (-8.0, -4.0, -2.0, -0.5, 0.5, 2.0, 4.0, 8.0)]
        errors = np.stack([_error(np.tile(each, (len(accuracy), 1)), log_n, log_a, accuracy) for each in grid])
        theta = np.array(grid)[errors.argmin(axis=0)]
    else:
        theta = np.tile(start, (len(accuracy), 1))
    step = np.tile([0.1, 1.0], (len(accuracy), 1))
    best = _error(theta, log_n, log_a, accuracy)
    for _ in range(_STEPS):
        moved = np.zeros(len(theta), bool)
        for sign in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            there = theta + step * sign
            there[:, 0] = np.clip(there[:, 0], 0.01, _C)
            there[:, 1] = np.clip(there[:, 1], -_K, _K)
            error = _error(there, log_n, log_a, accuracy)
            better = error < best - 1e-15
            theta[better], best[better] = there[better], error[better]
            moved |= better
        step[~moved] /= 2
        if step.max() < 1e-4:
            break
    return theta


def _error(
    theta: Float[Array, "d 2"], log_n: Float[Array, " c"], log_a: Float[Array, " c"], accuracy: Float[Array, "d c"]
) -> Float[Array, " d"]:
    """Sum of squares that the best A and B >= 0 leave."""
    x = np.exp(np.clip(-theta[:, :1] * (log_n + theta[:, 1:] * log_a), -50, 50))
    x = x - x.mean(axis=1, keepdims=True)
    y = accuracy - accuracy.mean(axis=1, keepdims=True)
    slope = np.minimum(0.0, (x * y).sum(axis=1) / np.maximum((x * x).sum(axis=1), 1e-300))
    return ((y - slope[:, None] * x) ** 2).sum(axis=1)


def _rival(
    log_n: Float[Array, " c"],
    log_a: Float[Array, " c"],
    alphas: Float[Array, " c"],
    accuracy: Float[Array, "s c"],
    theta: Float[Array, " 2"],
) -> float:
    """AIC of the shift in N less that of the shift of accuracy, one Gaussian deviation each."""
    mean, count = accuracy.mean(axis=0), accuracy.size
    within = float(((accuracy - mean) ** 2).sum())
    seeds, levels = len(accuracy), sorted(set(alphas.tolist()))
    shifted = within + seeds * float(_error(theta[None], log_n, log_a, mean[None])[0])
    dummies = np.stack([alphas == level for level in levels], axis=1).astype(float)
    raised = min(
        float(np.linalg.lstsq(np.column_stack([dummies, np.exp(-c * log_n)]), mean, rcond=None)[1].sum())
        if len(mean) > len(levels) + 1
        else 0.0
        for c in np.geomspace(0.01, _C, 200)
    )
    raised = within + seeds * raised
    return count * math.log(max(shifted, 1e-300) / max(raised, 1e-300)) + 2 * (5 - (len(levels) + 3))
