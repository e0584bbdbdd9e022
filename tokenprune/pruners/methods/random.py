"""Keep tokens drawn uniformly, one draw per image: the floor for every method."""

from torch import Tensor

from tokenprune.pruners.base import ScorePruner, Signals, TokenState
from tokenprune.pruners.registry import register


@register("random")
class Random(ScorePruner):
    """Uniform, one draw per image from the run's seed."""

    stochastic = True

    def score(self, state: TokenState, signals: Signals) -> Tensor:
        return signals.uniform()
