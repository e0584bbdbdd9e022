"""Keep tokens at equal steps of cumulative class attention, fewer where it is peaked (ATS) (adaptive)

Fayyaz et al., Adaptive token sampling for efficient vision transformers (ECCV 2022). Score: attention of the class
token times the norm of the token's value, summed over heads (received attention without a class token). Selection: the
cumulative sum of the scores, in image order, is sampled at the quantiles (2i - 1) / 2K, i = 1 to K; each token that is
hit stays once, so that K = keep is an upper bound (adaptive). Site: inside attention. At an `after` site all tokens
have been keys and values of the block and only the outputs of those that stay go on, which equals cutting rows of its
attention map; the FLOPs of the cut rows are not saved. It works before a block too. The rest: dropped.

An image that has at most K tokens left keeps them all; the paper would sample K times from those, which a site cannot
know here. So its setting, K of all tokens in each of the last nine blocks of DeiT-S, becomes falling bounds such as
`after:3,6,9` at keep .7. It needs no training; the paper fine-tunes too.

The published code multiplies the mean of attention with the norm over all heads' values, sorts the scores before it
sums them, takes the nearest instead of the next point of the sum, at K - 1 levels from its least to its largest value,
and never samples less than 8. Here it is as the paper writes it.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tokenprune.pruners.base import Pruner, Signals, TokenState
from tokenprune.pruners.gates import remaining
from tokenprune.pruners.registry import register


@register("ats")
class ATS(Pruner):
    """Inverse transform sampling of class attention times value norm."""

    adaptive = True

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        with torch.no_grad():  # a choice passes no gradient on
            score = (signals.attention_by_head() * signals.values().norm(dim=3)).sum(dim=1)
            present = state.weights > 0
            few = present.sum(dim=1, keepdim=True) <= keep
            stay = torch.where(few, present, sampled(score, keep))
        return remaining(state, stay, keep if self.training else None)


def sampled(score: Float[Tensor, "b n"], samples: int) -> Bool[Tensor, "b n"]:
    """The tokens that equally spaced quantiles of the cumulative sum of the scores land on."""
    total = score.cumsum(dim=1)
    step = torch.arange(1, 2 * samples, 2, device=score.device, dtype=score.dtype) / (2 * samples)
    hit = torch.searchsorted(total, (total[:, -1:] * step).contiguous()).clamp(max=score.shape[1] - 1)
    return torch.zeros_like(score, dtype=torch.bool).scatter_(1, hit, True)
