"""Intervals and tests on correct predictions, and on means over seeds. All intervals are 95 %, two-sided.

scipy and statsmodels are imported inside the functions: loading them takes longer than most commands.
"""

import math
import warnings
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np

#: 0.975 quantile of the standard normal distribution.
Z = 1.959963984540054
#: Degrees of freedom of what is normal: scipy knows no infinity.
_MANY = 1e9


def wilson(correct: int, count: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson, JASA 1927; method 3 of Newcombe, Stat. Med. 17:857, 1998)."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(correct, count, method="wilson")
    return float(low), float(high)


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p of McNemar's test: are changes equally often for the worse and for the better?

    lost, gained: images that only the first, only the second classifier gets right. 1 where no prediction changed.
    """
    from scipy.stats import binomtest

    discordant = lost + gained
    return float(binomtest(lost, discordant, 0.5).pvalue) if discordant else 1.0


def paired_interval(lost: int, gained: int, count: int) -> tuple[float, float]:
    """Tango's score interval of the accuracy difference (gained - lost) / count on the same `count` images.

    Unlike Wald's it does not shrink to a point where no prediction changed, and it stays within [-1, 1]
    (Tango, Stat. Med. 17:891, 1998, eq. 4 to 6).
    """
    from scipy.optimize import brentq

    def score(difference: float) -> float:
        """Standardised distance of the observed counts from a true `difference`; falls as that grows."""
        # The cell probability of `lost`, at its maximum likelihood under this difference.
        b = -lost - gained + (2 * count - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        cell = (math.sqrt(max(b * b - 8 * count * c, 0.0)) - b) / (4 * count)
        variance = count * (2 * cell + difference * (1 - difference))
        return (gained - lost - count * difference) / math.sqrt(variance)

    edge = 1 - 1e-12  # the variance vanishes at -1 and 1 themselves
    low = -1.0 if score(-edge) <= Z else brentq(lambda x: score(x) - Z, -edge, edge, xtol=1e-12)
    high = 1.0 if score(edge) >= -Z else brentq(lambda x: score(x) + Z, -edge, edge, xtol=1e-12)
    return float(low), float(high)


class Spread(NamedTuple):
    """Standard error of a mean over replicates, and its degrees of freedom."""

    error: float
    freedom: float

    def interval(self, mean: float) -> tuple[float, float]:
        half = _t_quantile(self.freedom) * self.error
        return mean - half, mean + half

    def p(self, distance: float) -> float:
        """Two-sided p of Student's t test of a mean so far from the value tested; without any spread 0 or 1."""
        if self.error == 0:
            return float(distance == 0)
        from scipy.special import stdtr

        return float(2 * stdtr(min(self.freedom, _MANY), -abs(distance) / self.error))


def spread(values: Sequence[float], shared: float | None = None, images: float = 0.0) -> Spread | None:
    """Standard error of the mean of `values`; None below two of them.

    shared: mean variance of the values of a claim's findings, this one among them. Where it is at least this finding's
    own, half of the variance is own and half is shared, and the degrees of freedom are doubled; else nothing is shared.
    (A moderated t after Smyth, Stat. Appl. Genet. Mol. Biol. 3:3, 2004, with a prior that is fixed and used upwards
    only: simulated, no finding is falsely found in more than 5.7 % of cases at 5 %, also where its spread is four times
    that of the others; sharing it downwards, too, gives up to 15 %.)
    images: variance of the mean from the choice of test images, as of `image_variance`; Satterthwaite's degrees of
    freedom take it as known.
    """
    if len(values) < 2:
        return None
    own, freedom = deviation(values) ** 2, float(len(values) - 1)
    if shared is not None and own <= shared:
        own, freedom = (own + shared) / 2, 2 * freedom
    seeds = own / len(values)
    if images > 0:
        freedom = freedom * ((seeds + images) / seeds) ** 2 if seeds > 0 else math.inf
    return Spread(math.sqrt(seeds + images), freedom)


def image_variance(answers: "np.ndarray") -> float:
    """Variance of the mean over seeds and images that comes from which images were drawn, seeds held fixed or not.

    answers: [seeds, images], what each image adds to a seed's effect, such as 1, 0 or -1 for the difference of two
    models. By the analysis of variance of a crossed random-effects model without replication (Cornfield & Tukey, Ann.
    Math. Stat. 27:907, 1956): (mean square of images less that of the residual) / (seeds x images), not below 0.
    """
    seeds, images = answers.shape
    by_image = answers.mean(axis=0)
    grand = by_image.mean()
    between = seeds * float(((by_image - grand) ** 2).sum()) / (images - 1)
    if seeds == 1:
        return between / images
    residual = answers - by_image - (answers.mean(axis=1) - grand)[:, None]
    within = float((residual**2).sum()) / ((seeds - 1) * (images - 1))
    return max(0.0, between - within) / (seeds * images)


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean and Student's t interval of it; no bounds below two values. Raises ValueError for no values at all."""
    if not values:
        raise ValueError("no values to average")
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None, None
    half = _t_quantile(len(values) - 1) * deviation(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


@cache
def _t_quantile(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(min(freedom, _MANY), 0.975))


def t_test(
    values: Sequence[float], against: float = 0.0, alternative: Literal["two-sided", "greater", "less"] = "two-sided"
) -> float | None:
    """p of Student's one-sample t test that the mean is `against`; None below two values.

    Values without any spread give p 0 where their mean is on the alternative's side, else 1.
    """
    if len(values) < 2:
        return None
    if deviation(values) == 0:
        away = values[0] - against
        return float(not {"two-sided": away != 0, "greater": away > 0, "less": away < 0}[alternative])
    from scipy.stats import ttest_1samp

    with warnings.catch_warnings():
        # Seeds that agree to the last digits have a spread of rounding errors; the test's result is then right.
        warnings.filterwarnings("ignore", "Precision loss occurred", RuntimeWarning)
        return float(ttest_1samp(values, against, alternative=alternative).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given, which bound the family-wise error rate (Holm, 1979)."""
    adjusted = [0.0] * len(p_values)  # not by statsmodels, which collects garbage first: a second of a large report
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


class Slope(NamedTuple):
    """low, high, p: None for two points, through which a line passes."""

    slope: float
    low: float | None
    high: float | None
    p: float | None


def slope(x: Sequence[float], y: Sequence[float]) -> Slope | None:
    """Least-squares slope of y over x, its Student's t interval (n - 2 degrees of freedom), and p that it is 0.

    None where x holds fewer than two different values. Values of y without any spread are treated as in `t_test`.
    """
    if len(set(x)) < 2:
        return None
    if len(x) > 2 and min(y) == max(y):
        return Slope(0.0, 0.0, 0.0, 1.0)
    from scipy.stats import linregress

    fit = linregress(x, y)
    if len(x) < 3:
        return Slope(float(fit.slope), None, None, None)
    half = _t_quantile(len(x) - 2) * float(fit.stderr)
    return Slope(float(fit.slope), float(fit.slope) - half, float(fit.slope) + half, float(fit.pvalue))


def seeds_to_decide(
    values: Sequence[float],
    against: float = 0.0,
    power: float = 0.8,
    most: int = 100,
    level: float = 0.05,
    images: float = 0.0,
) -> int | None:
    """How many values of this mean and spread a two-sided t test at `level` needs to find a difference from `against`.

    With probability `power`, by the usual approximation |mean - against| >= (t_(1 - level / 2) + t_power) s with n - 1
    degrees of freedom and s^2 = sd^2 / n + images, the variance from the choice of test images. None for fewer than two
    values, and where more than `most` would be needed.
    """
    if len(values) < 2:
        return None
    from scipy.stats import t

    distance, spread = abs(math.fsum(values) / len(values) - against), deviation(values)
    for n in range(2, most + 1):
        error = math.sqrt(spread**2 / n + images)
        if distance > 0 and distance >= float(t.ppf(1 - level / 2, n - 1) + t.ppf(power, n - 1)) * error:
            return n
    return None


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation (n - 1 in the denominator); exactly 0 for equal values."""
    if min(values) == max(values):
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
