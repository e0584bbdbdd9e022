"""Accuracy over the number of training images at several alpha_*: does alpha_* shift the curve in N, or upwards?

Shapes: d draws, c cells (an alpha_* at an N), s seeds, i test images, l further numbers of steps.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokenprune.complexity import bounds
from tokenprune.statistics import Z

Array = np.ndarray

#: Steps of a fit, and the largest |k| and c: beyond them N^-c alpha^-kc is flat or a wall.
_STEPS, _K, _C = 60, 20.0, 4.0


@dataclass(frozen=True)
class Shift:
    """acc = A - B (N alpha_*^k)^-c, by least squares over all cells and seeds: maximum likelihood of a Gaussian error.

    draws: k of the bootstrap over seeds and, where answers by image are known, test images, widened for few seeds; none
    of a single seed. rival: AIC of this model less that of acc = A - B N^-c + d(alpha_*), a shift of accuracy at every
    N: above 0 where the rival is better.
    """

    k: float
    c: float
    seeds: int
    draws: Float[Array, " d"]
    rival: float

    def p(self, against: float) -> float | None:
        """Two-sided, by Student's t with the interval's half-width on that side as standard error; None of one seed.

        Shares of draws would be too small: of three seeds, one in 27 draws has the same seed three times.
        """
        from scipy.special import stdtr, stdtrit

        if self.seeds < 2:
            return None
        low, high = bounds(self.draws)
        half = self.k - low if against < self.k else high - self.k
        if half <= 0 or self.k == against:
            return float(self.k == against)
        return float(2 * stdtr(self.seeds - 1, -abs(self.k - against) / half * stdtrit(self.seeds - 1, 0.975)))


@dataclass(frozen=True)
class _Cells:
    """Logarithms of N and alpha_*, centred; level: which cells were trained for another number of steps, a column each.

    What is fitted leaves out the mean and these columns: longer training may raise accuracy by itself.
    """

    n: Float[Array, " c"]
    alpha: Float[Array, " c"]
    level: Float[Array, "c l"]

    def without(self, y: Float[Array, "d c"]) -> Float[Array, "d c"]:
        """What the mean and the columns leave of each row."""
        basis = np.linalg.qr(np.column_stack([np.ones(len(self.n)), self.level]))[0]
        return y - (y @ basis) @ basis.T


def fit_shift(
    samples: Float[Array, " c"],
    alphas: Float[Array, " c"],
    accuracy: Float[Array, "s c"],
    answers: Float[Array, "s c i"] | None = None,
    steps: Float[Array, " c"] | None = None,
    count: int = 2000,
) -> Shift:
    """The model of a shift in N, and how its rival compares. answers: which test images were right, 0 or 1.

    steps: of training; cells whose steps differ by more than a fifth have a level of accuracy of their own, unless
    nearly every N has (as with equal epochs: then N stands for both). count: of draws. Raises ValueError where mean
    accuracy does not rise with N.
    """
    seeds = len(accuracy)
    level = _levels(samples, np.ones(len(samples)) if steps is None else steps)
    cells = _Cells(np.log(samples) - np.log(samples).mean(), np.log(alphas) - np.log(alphas).mean(), level)
    mean = accuracy.mean(axis=0)[None]
    theta = _fit(cells, mean)[0]
    if _error(np.array([[theta[0], 0.0]]), cells, mean)[0] >= (cells.without(mean) ** 2).sum() - 1e-12:
        raise ValueError("accuracy does not rise with the number of training images")
    rng = np.random.default_rng(0)
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), count) / seeds
    drawn = weights @ accuracy
    if answers is not None:
        drawn = np.einsum("ds,dsc->dc", weights, _by_image(answers, rng, count))
    k = _fit(cells, drawn, theta)[:, 1] if seeds > 1 else np.empty(0)
    draws = theta[1] + _few(seeds) * (k - theta[1]) if seeds > 1 else k
    return Shift(float(theta[1]), float(theta[0]), seeds, draws, _rival(cells, alphas, accuracy, theta))


def _levels(samples: Float[Array, " c"], steps: Float[Array, " c"]) -> Float[Array, "c l"]:
    """A column for each further number of steps; none where they would leave fewer than three N of one kind."""
    kinds = np.round(np.log(steps / steps.min()) / math.log(1.44))
    further = sorted(set(kinds))[1:]
    if len(further) > len(set(samples)) - 3:
        further = []
    return np.array([kinds == kind for kind in further], float).reshape(len(further), len(kinds)).T


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


def _fit(cells: _Cells, accuracy: Float[Array, "d c"], start: Array | None = None) -> Float[Array, "d 2"]:
    """(c, k) of each row of accuracies: a pattern search on what the best A and B leave, safe where a curve is flat."""
    if start is None:
        grid = [(c, k) for c in (0.05, 0.15, 0.4, 1.0) for k in (-8.0, -4.0, -2.0, -0.5, 0.5, 2.0, 4.0, 8.0)]
        errors = np.stack([_error(np.tile(each, (len(accuracy), 1)), cells, accuracy) for each in grid])
        theta = np.array(grid)[errors.argmin(axis=0)]
    else:
        theta = np.tile(start, (len(accuracy), 1))
    step = np.tile([0.1, 1.0], (len(accuracy), 1))
    best = _error(theta, cells, accuracy)
    for _ in range(_STEPS):
        moved = np.zeros(len(theta), bool)
        for sign in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            there = theta + step * sign
            there[:, 0] = np.clip(there[:, 0], 0.01, _C)
            there[:, 1] = np.clip(there[:, 1], -_K, _K)
            error = _error(there, cells, accuracy)
            better = error < best - 1e-15
            theta[better], best[better] = there[better], error[better]
            moved |= better
        step[~moved] /= 2
        if step.max() < 1e-4:
            break
    return theta


def _error(theta: Float[Array, "d 2"], cells: _Cells, accuracy: Float[Array, "d c"]) -> Float[Array, " d"]:
    """Sum of squares that the best A and B >= 0, and the levels of other numbers of steps, leave."""
    x = cells.without(np.exp(np.clip(-theta[:, :1] * (cells.n + theta[:, 1:] * cells.alpha), -50, 50)))
    y = cells.without(accuracy)
    slope = np.minimum(0.0, (x * y).sum(axis=1) / np.maximum((x * x).sum(axis=1), 1e-300))
    return ((y - slope[:, None] * x) ** 2).sum(axis=1)


def _rival(
    cells: _Cells, alphas: Float[Array, " c"], accuracy: Float[Array, "s c"], theta: Float[Array, " 2"]
) -> float:
    """AIC of the shift in N less that of the shift of accuracy, one Gaussian deviation each."""
    mean, seeds, count = accuracy.mean(axis=0), len(accuracy), accuracy.size
    within = float(((accuracy - mean) ** 2).sum())
    values = sorted(set(alphas.tolist()))
    shifted = within + seeds * float(_error(theta[None], cells, mean[None])[0])
    dummies = np.column_stack([*(alphas == value for value in values), cells.level]).astype(float)
    least = math.inf
    for c in np.geomspace(0.01, _C, 200):
        design = np.column_stack([dummies, np.exp(-c * cells.n)])
        fitted = design @ np.linalg.lstsq(design, mean, rcond=None)[0]
        least = min(least, float(((mean - fitted) ** 2).sum()))
    raised = within + seeds * least
    return count * math.log(max(shifted, 1e-300) / max(raised, 1e-300)) + 2 * (5 - (len(values) + 3))
