"""Drop what ToMe would merge in early blocks, merge it without loss of norm in late ones (ToFu).

Kim et al., Token fusion: bridging the gap between token pruning and token merging (WACV 2024). Score, selection and
order: as `tome`. Site: after attention, in every block, `r` a block. The rest: in the first half of the blocks, where
the model is far from linear between tokens, dropped; in the second half merged by MLERP: the mean by size, scaled to
the largest norm in the group; it counts for all its patches in attention, as in `tome`.

We found no code of the authors. The reproduction in PiToMe's repository has the middle block in the first half too,
takes plain means, and uses no sizes in attention. Here the first half is the blocks whose index is below half the
depth. One round drops or merges at most half; more takes more rounds, by the keys of those that are left (of merged
ones, their mean by size).
"""

import torch
from torch import Tensor

from tokenprune.pruners.base import Shape, Signals, TokenState, rows
from tokenprune.pruners.matching import alternating, between, early, matched
from tokenprune.pruners.methods.tome import ToMe
from tokenprune.pruners.registry import register


@register("tofu")
class ToFu(ToMe):
    """Bipartite soft matching that drops early and keeps norms late."""

    depth: int

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self.depth = shape.depth

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count or not early(signals, self.depth):
            return super().reduce(state, keep, signals)
        metric = self.metric(state, signals)
        while state.count > keep:
            sides = alternating(state)
            r = min(state.count - keep, sides[0].shape[1])
            stay, _, _ = matched(between(metric, sides), sides, r, rising=state.prefix > 0)
            state, metric = state.take(stay), rows(metric, stay)
        return state

    def join(self, state: TokenState, into: Tensor, count: int, signals: Signals) -> TokenState:
        merged = state.merge(into, count)
        norms = state.patches.norm(dim=2)
        largest = norms.new_zeros(norms.shape[0], count).scatter_reduce(1, into, norms, "amax")
        mean = merged.patches.norm(dim=2).clamp(min=torch.finfo(norms.dtype).tiny)
        scaled = merged.patches * (largest / mean)[:, :, None]
        return state.holding(scaled, into, merged.weight)
