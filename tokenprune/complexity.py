"""Sample complexity from counts of successes: N50 of each column of a phase diagram, and how it scales.

Success is a logistic function of log N with one slope for all columns. Columns without success or without failure have
no N50 of their own but take part in the joint fits. Intervals are 95 % percentile bootstrap over trials, which are
resampled within cells, widened where the law fits badly: to the jackknife over columns with t of two degrees of freedom
less than there are columns, and at least by the square root of deviance over degrees of freedom (quasi-binomial;
McCullagh & Nelder, Generalized Linear Models, 1989, 4.5.2). A ridge of 1e-6 keeps separated tables finite and leaves
others alone.
Each fit comes with its deviance and a test of the law against one N50 per column.

Shapes: v values (columns), n training set sizes, d bootstrap draws, c = v n cells, k parameters.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

Array = np.ndarray
Table = Sequence[Sequence[int]] | Array

_RIDGE = 1e-6
#: The line's N50^-1/2 is cut off here, in units of the grid's own: N50 a million times the middle of the grid.
_FLOOR = 1e-3
#: Estimates nearer than this to a bound are on it: they differ by rounding.
TIE = 1e-9


@dataclass(frozen=True)
class ColumnFit:
    """N50 of every column. n50 is None where a column has no success or no failure, and `bound` says on which side.

    slope: of the log odds of success over log N; None where no column has both. deviance: 0 from columns without N50.
    """

    values: tuple[float, ...]
    n50: list[float | None]
    bound: list[str | None]
    slope: float | None
    deviance: float = 0.0

    def probability(self, column: int, n: float) -> float | None:
        """Fitted success rate of a column at n training samples; None where the column has no N50."""
        middle = self.n50[column]
        if middle is None or self.slope is None:
            return None
        return float(_logistic(np.array(self.slope * math.log(n / middle))))


def columns(values: Sequence[float], samples: Sequence[int], successes: Table, trials: int) -> ColumnFit:
    """Logistic regression of success on log N with one slope and an intercept per column.

    successes: by value, N; of `trials` each.
    """
    counts = np.asarray(successes, float)
    total = counts.sum(1)
    mixed = (total > 0) & (total < trials * len(samples))
    bound = [
        None if both else f"> {max(samples)}" if none else f"< {min(samples)}"
        for both, none in zip(mixed, total == 0, strict=True)
    ]
    n50: list[float | None] = [None] * len(values)
    if not mixed.any():
        return ColumnFit(tuple(values), n50, bound, None)
    log_n, middle = _log(samples)
    known = np.flatnonzero(mixed)
    design = np.concatenate(
        [np.tile(log_n, len(known))[:, None], np.kron(np.eye(len(known)), np.ones((len(samples), 1)))], axis=1
    )
    model, seen = _linear(design), counts[known].reshape(-1)
    theta = _fit(model, np.zeros((1, design.shape[1])), seen[None], trials)[0]
    for column, intercept in zip(known, theta[1:], strict=True):
        n50[column] = _exp(middle - intercept / theta[0])
    return ColumnFit(tuple(values), n50, bound, float(theta[0]), deviance(_rate(model, theta), seen, trials))


@dataclass(frozen=True)
class Scaling:
    """How N50 depends on x: `estimate` with its bounds; None where the table has none, and `lacking` says why.

    slope: of the log odds of success over log N. samples: the bootstrap's estimates. deviance: on `freedom` degrees.
    """

    estimate: float | None
    low: float | None
    high: float | None
    intercept: float | None
    slope: float | None
    lacking: str | None
    samples: Float[Array, " d"] = field(repr=False)
    deviance: float | None = None
    freedom: int | None = None

    def p(self, against: float = 0.0) -> float | None:
        """Two-sided bootstrap p that the estimate is `against`, no smaller than one over the number of draws."""
        return bootstrap_p(self.samples, against)


@dataclass(frozen=True)
class Power(Scaling):
    """N50 = exp(intercept) x^exponent."""

    @property
    def exponent(self) -> float | None:
        return self.estimate

    def n50(self, x: float) -> float | None:
        if self.estimate is None or self.intercept is None:
            return None
        return _exp(self.intercept + self.estimate * math.log(x))


@dataclass(frozen=True)
class Line(Scaling):
    """N50^-1/2 = intercept + estimate x."""

    def n50(self, x: float) -> float | None:
        """None where the line is not above 0."""
        if self.estimate is None or self.intercept is None:
            return None
        root = self.intercept + self.estimate * x
        return root**-2 if root > 0 else None


def power_law(
    x: Sequence[float], samples: Sequence[int], successes: Table, trials: int, draws: int = 2000, seed: int = 0
) -> Power:
    """The exponent g of N50 ~ x^g, from all cells at once: logit P(success) = s (log N - c - g log x).

    successes: by x, N; of `trials` each.
    """
    lacking = _lacking(x, successes, trials, samples)
    if lacking is None:
        log_n, middle = _log(samples)
        log_x, centre = _log(x)
        design = _cells(log_n, log_x)
        theta, sampled = _bootstrap(_linear(design), np.zeros(3), successes, trials, draws, seed)
        lacking = _unusable(theta[1], _linear(design), theta, successes, trials)
    if lacking is not None:
        return Power(None, None, None, None, None, lacking, np.empty(0))
    exponent = float(-theta[2] / theta[1])
    fitted = _goodness(_linear(design), theta, successes, trials)
    counts = np.asarray(successes, float)

    def without(column: int) -> float:
        model = _linear(_cells(log_n, np.delete(log_x, column)))
        left = _fit(model, theta[None], np.delete(counts, column, 0).reshape(1, -1), trials)[0]
        return float(-left[2] / left[1])

    spread = _jackknife(without, len(log_x))
    low, high = bounds(estimates := _widened(-sampled[:, 2] / sampled[:, 1], exponent, spread, *fitted))
    intercept = float(middle - theta[0] / theta[1] - exponent * centre)
    return Power(exponent, low, high, intercept, float(theta[1]), None, estimates, *fitted)


def line(
    x: Sequence[float], samples: Sequence[int], successes: Table, trials: int, draws: int = 2000, seed: int = 0
) -> Line:
    """The slope b of N50^-1/2 = a + b x, from all cells at once: logit P(success) = s (log N + 2 log(a + b x)).

    successes: by x, N; of `trials` each.
    """
    lacking = _lacking(x, successes, trials, samples)
    if lacking is None:
        log_n, middle = _log(samples)
        width = float(np.ptp(x))
        centre = float(np.mean(x))
        scaled = (np.asarray(x, float) - centre) / width
        rough = _fit(
            _linear(_cells(log_n, scaled)), np.zeros((1, 3)), np.asarray(successes, float).reshape(1, -1), trials
        )[0]
        model = _straight(log_n, scaled)
        lacking = _unusable(rough[1], _linear(_cells(log_n, scaled)), rough, successes, trials)
    if lacking is None:
        root = np.exp(np.clip((rough[0] + rough[2] * scaled) / (2 * rough[1]), -5, 5))
        steep, level = np.polyfit(scaled, root, 1)
        theta, sampled = _bootstrap(model, np.array([rough[1], level, steep]), successes, trials, draws, seed)
        lacking = _unusable(theta[0], model, theta, successes, trials)
    if lacking is not None:
        return Line(None, None, None, None, None, lacking, np.empty(0))
    unit = math.exp(-middle / 2)
    slope = float(theta[2]) * unit / width
    fitted = _goodness(model, theta, successes, trials)
    counts = np.asarray(successes, float)

    def without(column: int) -> float:
        left = np.delete(counts, column, 0).reshape(1, -1)
        return float(_fit(_straight(log_n, np.delete(scaled, column)), theta[None], left, trials)[0, 2]) * unit / width

    spread = _jackknife(without, len(scaled))
    low, high = bounds(estimates := _widened(sampled[:, 2] * unit / width, slope, spread, *fitted))
    level = float(theta[1]) * unit - slope * centre
    return Line(slope, low, high, level, float(theta[0]), None, estimates, *fitted)


@dataclass(frozen=True)
class LackOfFit:
    """Likelihood ratio of a law against one N50 per column, and p that the law holds (chi-squared)."""

    deviance: float
    freedom: int
    p: float


def lack_of_fit(law: Scaling, free: ColumnFit) -> LackOfFit | None:
    """None where there is no law, or no more columns than it has parameters."""
    freedom = len(free.values) - 2
    if law.deviance is None or freedom < 1:
        return None
    from scipy.special import chdtrc

    ratio = max(0.0, law.deviance - free.deviance)
    return LackOfFit(ratio, freedom, float(chdtrc(freedom, ratio)))


def bounds(estimates: Float[Array, " d"]) -> tuple[float, float]:
    """95 % percentile interval."""
    low, high = np.quantile(estimates, (0.025, 0.975))
    return float(low), float(high)


def bootstrap_p(estimates: Float[Array, " d"], against: float) -> float | None:
    """Twice the smaller share of draws on either side of `against`, at least 1 / draws; None without draws.

    Draws on `against`, but for rounding, are on both sides.
    """
    if not len(estimates):
        return None
    share = min(float(np.mean(estimates <= against + TIE)), float(np.mean(estimates >= against - TIE)))
    return min(1.0, max(2 * share, 1 / len(estimates)))


# A model maps parameters [d, k] to log odds [d, c] and their derivatives [d or 1, c, k].
_Model = Callable[[Float[Array, "d k"]], tuple[Float[Array, "d c"], Float[Array, "... c k"]]]


def _linear(design: Float[Array, "c k"]) -> _Model:
    return lambda theta: (theta @ design.T, design[None])


def _straight(log_n: Float[Array, " n"], x: Float[Array, " v"]) -> _Model:
    """Parameters: s, a, b."""
    n, xs = np.tile(log_n, len(x)), np.repeat(x, len(log_n))

    def model(theta: Float[Array, "d k"]) -> tuple[Float[Array, "d c"], Float[Array, "d c k"]]:
        s, a, b = (part[:, None] for part in theta.T)
        root = a + b * xs
        inner = n + 2 * np.log(np.maximum(root, _FLOOR))
        by_root = np.where(root > _FLOOR, 2 * s / np.maximum(root, _FLOOR), 0.0)
        return s * inner, np.stack([inner, by_root, by_root * xs], axis=-1)

    return model


def _bootstrap(
    model: _Model, start: Float[Array, " k"], successes: Table, trials: int, draws: int, seed: int
) -> tuple[Float[Array, " k"], Float[Array, "d k"]]:
    """Parameters of the table, and of tables whose trials were resampled within cells."""
    counts = np.asarray(successes, float).reshape(-1)
    theta = _fit(model, start[None], counts[None], trials)[0]
    resampled = np.random.default_rng(seed).binomial(trials, counts / trials, (draws, len(counts)))
    return theta, _fit(model, np.repeat(theta[None], draws, 0), resampled.astype(float), trials)


def _fit(
    model: _Model, start: Float[Array, "d k"], counts: Float[Array, "d c"], trials: int, steps: int = 60
) -> Float[Array, "d k"]:
    """Maximum likelihood of binomial counts by Fisher scoring, halving steps that make it worse; all draws at once."""
    theta = start.copy()
    active = np.arange(len(theta))
    for _ in range(steps):
        now, seen = theta[active], counts[active]
        odds, slopes = model(now)
        rate = _logistic(odds)
        gradient = np.matmul((seen - trials * rate)[:, None], slopes)[:, 0] - _RIDGE * now
        weighted = (trials * rate * (1 - rate))[..., None] * slopes
        information = np.matmul(np.swapaxes(slopes, -1, -2), weighted) + _RIDGE * np.eye(theta.shape[1])
        step = np.linalg.solve(information, gradient[..., None])[..., 0]
        before = _likelihood(odds, seen, trials, now)
        worse = np.arange(len(active))
        for _ in range(12):
            moved = now[worse] + step[worse]
            after = _likelihood(model(moved)[0], seen[worse], trials, moved)
            worse = worse[~(after >= before[worse] - 1e-9 * np.abs(before[worse]))]
            if not len(worse):
                break
            step[worse] /= 2
        else:
            step[worse] = 0
        theta[active] = now + step
        active = active[np.abs(step).max(1) > 1e-7 * (1 + np.abs(now).max(1))]
        if not len(active):
            break
    return theta


def _likelihood(
    odds: Float[Array, "d c"], counts: Float[Array, "d c"], trials: int, theta: Float[Array, "d k"]
) -> Float[Array, " d"]:
    return (counts * odds - trials * np.logaddexp(0, odds)).sum(1) - _RIDGE / 2 * (theta**2).sum(1)


def _rate(model: _Model, theta: Float[Array, " k"]) -> Float[Array, " c"]:
    return _logistic(model(theta[None])[0][0])


def deviance(rate: Float[Array, " c"], counts: Float[Array, " c"], trials: int) -> float:
    """Binomial, against one rate per cell."""
    from scipy.special import rel_entr

    seen = counts / trials
    return float(2 * trials * (rel_entr(seen, rate) + rel_entr(1 - seen, 1 - rate)).sum())


def _goodness(model: _Model, theta: Float[Array, " k"], successes: Table, trials: int) -> tuple[float, int]:
    """Deviance and its degrees of freedom."""
    counts = np.asarray(successes, float).reshape(-1)
    return deviance(_rate(model, theta), counts, trials), len(counts) - len(theta)


def _jackknife(without: Callable[[int], float], columns: int) -> float:
    """Half-width of a 95 % interval by estimates without a column each; 0 for fewer than four columns."""
    if columns < 4:
        return 0.0
    from scipy.special import stdtrit

    left = np.array([without(column) for column in range(columns)])
    error = math.sqrt((columns - 1) / columns * ((left - left.mean()) ** 2).sum())
    return float(stdtrit(columns - 2, 0.975)) * error


def _widened(
    draws: Float[Array, " d"], estimate: float, half: float, deviance: float, freedom: int
) -> Float[Array, " d"]:
    """Draws of a bootstrap that knows binomial spread alone, with that of the cells and columns about the law."""
    own = float(np.ptp(np.quantile(draws, (0.025, 0.975)))) / 2
    factor = max(1.0, math.sqrt(deviance / max(1, freedom)), half / own if own > 0 else 1.0)
    return estimate + factor * (draws - estimate)


def _logistic(odds: Float[Array, "..."]) -> Float[Array, "..."]:
    return 0.5 + 0.5 * np.tanh(odds / 2)


def _log(values: Sequence[float]) -> tuple[Float[Array, " n"], float]:
    """Centred logarithms, and their mean."""
    logs = np.log(np.asarray(values, float))
    return logs - logs.mean(), float(logs.mean())


def _cells(log_n: Float[Array, " n"], x: Float[Array, " v"]) -> Float[Array, "c 3"]:
    """1, log N, x of every cell."""
    return np.stack([np.ones(len(x) * len(log_n)), np.tile(log_n, len(x)), np.repeat(x, len(log_n))], axis=1)


def _exp(value: float) -> float | None:
    """None where it overflows."""
    return math.exp(value) if abs(value) < 700 else None


def _lacking(x: Sequence[float], successes: Table, trials: int, samples: Sequence[int]) -> str | None:
    """Why a table has no exponent."""
    totals, most = np.sum(successes, axis=1), trials * len(samples)
    if len(set(x)) < 2:
        return "one column has no exponent: at least two values are needed"
    if len(set(samples)) < 2:
        return "one N has no N50: at least two are needed"
    if not totals.any():
        return "no trial of any cell succeeded"
    if (totals == most).all():
        return "every trial of every cell succeeded"
    if ((totals > 0) & (totals < most)).sum() < 2:
        return "fewer than two columns have both successes and failures"
    return None


def _unusable(slope: float, model: _Model, theta: Float[Array, " k"], successes: Table, trials: int) -> str | None:
    """Why a fit is not meaningful."""
    if slope <= 0:
        return "success does not grow with N"
    rate = _rate(model, theta)
    if np.abs(rate - np.asarray(successes, float).reshape(-1) / trials).max() < 1e-3:
        return "no cell lies between all failures and all successes, so N50 is known to the grid's spacing only"
    return None
