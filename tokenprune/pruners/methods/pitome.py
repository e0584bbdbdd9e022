"""Merge tokens that resemble many others, protect those that stand alone (PiToMe).

Tran et al., Accelerating transformers with spectrum-preserving token merging (NeurIPS 2024). Score: the energy of a
token, the mean over all tokens of ELU(cosine - m) of keys, mean over heads; m = `margin` (1 - i / d) in block i of d.
Selection: sorted by energy, tokens alternate into two sides. In the first half of the blocks the best edges merge, as
in `tome`; in the second only the 2 r tokens of largest energy take part, and every other one of them merges into its
most similar partner: the others are protected. Site: after attention, in every block, at a ratio per block. The rest: a
mean by size, which counts for all its patches in attention. The margin that the public code starts from differs from
model to model (.75, .9, .95); it is .75 here. There the first half is given block by block; here it is those whose
index is below half the depth.

One round merges at most half; more takes more rounds, each with the energies of what is left, so that at small `keep`
nobody is protected in the first of them. The order of tokens does not matter to it: they stay in image order.
"""

import torch.nn.functional as F
from torch import Tensor

from tokenprune.pruners import options
from tokenprune.pruners.base import Shape, Signals, TokenState
from tokenprune.pruners.matching import MergePruner, alternate, best_edges, cosine, early, in_place, pairs
from tokenprune.pruners.registry import register


@register("pitome")
class PiToMe(MergePruner):
    """Merging in the order of energy.

    margin: of the cosine, at the first block; it falls to 0 with depth.
    """

    depth: int

    def __init__(self, margin: float = 0.75) -> None:
        super().__init__()
        self.margin = options.number("pitome", "margin", margin, -1, 1)

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self.depth = shape.depth

    def match(self, state: TokenState, metric: Tensor, r: int, signals: Signals) -> tuple[Tensor, int]:
        n, r = state.count, min(r, state.count // 2)
        similarity = cosine(metric, metric)
        margin = self.margin * (1 - (signals.site // 2) / self.depth)
        energy = F.elu(similarity - margin).mean(dim=2)
        order = energy.argsort(dim=1, descending=True, stable=True)
        if not early(signals, self.depth):
            order = order[:, : 2 * r]
        first, second = alternate(order)
        _, gone, partner = best_edges(pairs(similarity, (first, second)), r)
        return in_place(n, first.gather(1, gone), second.gather(1, partner)), n - r
