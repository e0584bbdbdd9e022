"""Keep the tokens of largest attention, fuse all others into one (EViT).

Liang et al., Not all patches are what you need (ICLR 2022). Score: class attention, mean over heads (received attention
without a class token). Selection: the largest. Site: after attention; the paper's are `after:3,6,9` of twelve blocks at
keep .7, with all tokens in the warm-up epochs and then down a cosine (`pruner.anneal_from`, `anneal_epochs`). The rest:
one more token, the sum of a_j x_j over those left out, not renormalised, as in the published code.

The fused token is one of those that stay: of k, k - 1 are tokens of the image. The published code has k and the fused
one; that is `keep` one token larger. Any number may leave at once; where one token stays, all are fused into it.
"""

import torch
from torch import Tensor

from tokenprune.pruners.base import Pruner, Signals, TokenState, parted
from tokenprune.pruners.matching import homes
from tokenprune.pruners.registry import register


@register("evit")
class EViT(Pruner):
    """The k - 1 tokens of largest attention, and one that the others are fused into."""

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        score = signals.attention()
        stay, gone = parted(score.detach(), keep - 1)
        into = homes(stay, gone, torch.full_like(gone, keep - 1))
        out = (into == keep - 1)[:, :, None]
        fused = (state.patches * score[:, :, None].to(state.tokens.dtype) * out).sum(dim=1, keepdim=True)
        patches = torch.cat([state.take(stay).patches, fused], dim=1)
        return state.holding(patches, into, _weights(state, stay))


def _weights(state: TokenState, stay: Tensor) -> Tensor | None:
    """Those that were there; the fused token counts for one."""
    if state.weight is None:
        return None
    return torch.cat([state.weight.gather(1, stay), torch.ones_like(state.weight[:, :1])], dim=1)
