"""Attention magnitude: keep tokens that the class token attends to (Li et al., ICLR 2023; EViT, Liang et al., 2022)."""

from torch import Tensor

from tokenprune.pruners.base import ScorePruner, Signals, TokenState
from tokenprune.pruners.registry import register


@register("magnitude")
class Magnitude(ScorePruner):
    """Class attention, mean over heads; without a class token the attention a token receives."""

    def score(self, state: TokenState, signals: Signals) -> Tensor:
        return signals.attention()
