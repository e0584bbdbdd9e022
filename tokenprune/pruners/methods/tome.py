"""Merge each token into its most similar one, the most similar pairs first (ToMe).

Bolya et al., Token merging: your ViT but faster (ICLR 2023). Score: cosine of keys, mean over heads. Selection: tokens
alternate into two sides; each of the first has an edge to its most similar one of the second; the best edges merge.
Site: after attention, in every block; the paper removes r a block (`r: 8`). The rest: a mean by size, which then counts
for all its patches in attention (proportional attention). One round merges at most half; more takes more rounds.

Order follows the published code, because the sides of the next site depend on it: what is left of the first side, then
the second. There the sides alternate over all tokens, prefix tokens included. What is left of the first side keeps its
order; in a model without prefix tokens it comes by falling similarity, for there that code does not sort it.
"""

from torch import Tensor

from tokenprune.pruners.base import Signals, TokenState
from tokenprune.pruners.matching import MergePruner, alternating, between, homes, matched
from tokenprune.pruners.registry import register


@register("tome")
class ToMe(MergePruner):
    """Bipartite soft matching."""

    def match(self, state: TokenState, metric: Tensor, r: int, signals: Signals) -> tuple[Tensor, int]:
        sides = alternating(state)
        r = min(r, sides[0].shape[1])
        return homes(*matched(between(metric, sides), sides, r, rising=state.prefix > 0)), state.count - r
