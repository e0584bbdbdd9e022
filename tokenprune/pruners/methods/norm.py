"""Keep the tokens of largest L2 norm.

A baseline that needs no attention. Large norms are where a transformer keeps what it needs for itself (Darcet et al.,
Vision transformers need registers, ICLR 2024), not only where the object is. Score: the token's L2 norm. Selection: the
largest. Site: any. The rest is dropped.
"""

from torch import Tensor

from tokenprune.pruners.base import ScorePruner, Signals, TokenState
from tokenprune.pruners.registry import register


@register("norm")
class Norm(ScorePruner):
    """L2 norm of the token."""

    def score(self, state: TokenState, signals: Signals) -> Tensor:
        return state.patches.norm(dim=2)
