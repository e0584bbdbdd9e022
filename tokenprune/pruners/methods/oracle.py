"""Keep label-relevant tokens; if unknown, by true-label gradient (which leaks the label)."""

from torch import Tensor

from tokenprune.pruners.base import ScorePruner, Signals, TokenState
from tokenprune.pruners.registry import register

#: Below the smallest step of relevance (one pixel of a 64 x 64 patch), above the rounding of its sum with it.
_TIE = 1e-4


@register("oracle")
class Oracle(ScorePruner):
    """Relevance, ties broken at random; where a data set has none, true-label gradient x token."""

    def score(self, state: TokenState, signals: Signals) -> Tensor:
        relevance = signals.relevance()
        if relevance is None:
            return signals.gradient_times_token()
        uniform = signals.uniform()
        return relevance.to(uniform.dtype) + _TIE * uniform
