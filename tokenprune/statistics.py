"""Intervals and tests on correct predictions, and on means over seeds. All intervals are 95 %, two-sided.

Distributions are those of scipy.special, imported inside the functions: loading scipy.stats takes a second.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

#: 0.975 quantile of the standard normal distribution.
Z = 1.959963984540054


def wilson(correct: int, count: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson, JASA 1927; method 3 of Newcombe, Stat. Med. 17:857, 1998)."""
    share, shrink = correct / count, 1 + Z * Z / count
    centre = (share + Z * Z / (2 * count)) / shrink
    half = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count**2)) / shrink
    return max(0.0, centre - half), min(1.0, centre + half)


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p of McNemar's test: are changes equally often for the worse and for the better?

    lost, gained: images that only the first, only the second classifier gets right. 1 where no prediction changed.
    """
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(lost, gained), lost + gained, 0.5)))


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


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean and Student's t interval of it; no bounds below two values. Raises ValueError for no values at all."""
    if not values:
        raise ValueError("no values to average")
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None, None
    half = _t_quantile(0.975, len(values) - 1) * deviation(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


@cache
def _t_quantile(p: float, freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, p))


def _t_below(t: float, freedom: int) -> float:
    """Probability that Student's t is below this."""
    from scipy.special import stdtr

    return float(stdtr(freedom, t))


def t_test(
    values: Sequence[float], against: float = 0.0, alternative: Literal["two-sided", "greater", "less"] = "two-sided"
) -> float | None:
    """p of Student's one-sample t test that the mean is `against`; None below two values.

    Values without any spread give p 0 where their mean is on the alternative's side, else 1.
    """
    if len(values) < 2:
        return None
    mean, spread = math.fsum(values) / len(values), deviation(values)
    if spread == 0:
        away = values[0] - against
        return float(not {"two-sided": away != 0, "greater": away > 0, "less": away < 0}[alternative])
    freedom, t = len(values) - 1, (mean - against) * math.sqrt(len(values)) / spread
    if alternative == "two-sided":
        return 2 * _t_below(-abs(t), freedom)
    return _t_below(t if alternative == "less" else -t, freedom)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given, which bound the family-wise error rate (Holm, 1979)."""
    adjusted = [0.0] * len(p_values)
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
    middle, level = math.fsum(x) / len(x), math.fsum(y) / len(y)
    spread = math.fsum((each - middle) ** 2 for each in x)
    rise = math.fsum((each - middle) * (value - level) for each, value in zip(x, y, strict=True)) / spread
    if len(x) < 3:
        return Slope(rise, None, None, None)
    freedom = len(x) - 2
    missed = math.fsum((value - level - rise * (each - middle)) ** 2 for each, value in zip(x, y, strict=True))
    error = math.sqrt(missed / freedom / spread)
    half = _t_quantile(0.975, freedom) * error
    return Slope(rise, rise - half, rise + half, 2 * _t_below(-abs(rise) / error, freedom) if error else 0.0)


def seeds_to_decide(
    values: Sequence[float], against: float = 0.0, power: float = 0.8, most: int = 100, level: float = 0.05
) -> int | None:
    """How many values of this mean and spread a two-sided t test at `level` needs to find a difference from `against`.

    With probability `power`, by the usual approximation |mean - against| >= (t_(1 - level / 2) + t_power) sd / sqrt(n)
    with n - 1 degrees of freedom. None for fewer than two values, and where more than `most` would be needed.
    """
    if len(values) < 2:
        return None
    distance, spread = abs(math.fsum(values) / len(values) - against), deviation(values)
    for n in range(2, most + 1):
        needed = _t_quantile(1 - level / 2, n - 1) + _t_quantile(power, n - 1)
        if distance > 0 and distance * math.sqrt(n) >= needed * spread:
            return n
    return None


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation (n - 1 in the denominator); exactly 0 for equal values."""
    if min(values) == max(values):
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
