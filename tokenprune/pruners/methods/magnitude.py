"""Keep the tokens of largest class attention, or received attention where there is no class token.

Li, Wang, Liu & Chen, A theoretical understanding of shallow vision transformers (ICLR 2023); EViT (Liang et al.,
ICLR 2022) ranks so too. Score: mean over heads. Selection: the largest. Site: before or after attention. The rest is
dropped.
"""

from torch import Tensor

from tokenprune.pruners.base import ScorePruner, Signals, TokenState
from tokenprune.pruners.registry import register


@register("magnitude")
class Magnitude(ScorePruner):
    """Class attention, mean over heads; without a class token the attention a token receives."""

    def score(self, state: TokenState, signals: Signals) -> Tensor:
        return signals.attention()
