"""An effect with its uncertainty, however that was found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from tokenprune.statistics import Spread, mean_interval, spread, t_test

if TYPE_CHECKING:
    import numpy as np

    from tokenprune.complexity import Scaling

Replicates = Literal["seeds", "trials"]


@dataclass(frozen=True)
class Estimate:
    """An effect and its unadjusted 95 % interval.

    low, high: None where nothing gives them. n: replicates. p: two-sided, that the effect is what it is given; None
    where nothing gives it. values: the effect of each replicate by training seed, where replicates have one each.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    p: Callable[[float], float | None]
    of: Replicates = "trials"
    values: Mapping[int, float] = field(default_factory=dict)
    images: float | None = None

    @classmethod
    def of_seeds(
        cls, values: Mapping[int, float], images: float | None = None, shared: float | None = None
    ) -> "Estimate | None":
        """Mean over training seeds, with the t interval and test of `spread`; None of no seeds.

        images: variance from the choice of test images; None: unknown, the interval holds seeds alone. shared: as in
        `spread`.
        """
        if not values:
            return None
        effects = list(values.values())
        mean, error = fmean(effects), spread(effects, shared, images or 0.0)
        low, high = (None, None) if error is None else error.interval(mean)
        p = partial(_p_of_mean, mean, error)
        return cls(mean, low, high, len(effects), p, "seeds", dict(values), images)

    @classmethod
    def of_trials(cls, values: Sequence[float]) -> "Estimate | None":
        """Mean over trials, with Student's t interval and test; None of no trials."""
        return cls(*mean_interval(values), len(values), partial(t_test, values)) if values else None

    @classmethod
    def of_draws(cls, value: float, draws: "np.ndarray", n: int) -> "Estimate":
        """With the percentile interval of bootstrap draws, and their share beyond a bound as p."""
        from tokenprune.complexity import bootstrap_p, bounds

        return cls(value, *bounds(draws), n, partial(bootstrap_p, draws))

    @classmethod
    def of_fit(cls, fit: "Scaling", n: int) -> "Estimate | None":
        """With a fit's own interval and test; None where it has no estimate."""
        return None if fit.estimate is None else cls(fit.estimate, fit.low, fit.high, n, fit.p)


def _p_of_mean(mean: float, error: Spread | None, against: float) -> float | None:
    return None if error is None else error.p(mean - against)
