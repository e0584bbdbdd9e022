"""Merge tokens that are similar, little attended to and small, both ways between two sides (MCTF).

Lee, Choi & Kim, Multi-criteria token fusion with one-step-ahead attention (CVPR 2024). Score of an edge: the product of
((1 + cosine) / 2)^(1/`similarity`) of the tokens themselves, (u_a u_b)^(1/`information`) and (v_a v_b)^(1/`size`), u
the inverse of the attention that a token receives (the mean over heads and queries, of which a merged one counts for
all its patches; in the published code for one), v that of its size. Selection: tokens alternate into two sides; half of
those that go (rounded down) become part of their best partner in the second side, the others of theirs in what is left
of the first. The rest: a mean by received attention times size, which counts for all its patches in attention.

Site: the published code merges before attention, by the map that this attention would have over all tokens (one step
ahead), r = 16 at blocks 1 to 11 of DeiT-S: `before:1,...,11` here, where the block then attends with what was merged
(its `precise` form; its default merges the map instead). After attention the map is the one that was just used. That
code never goes below ten tokens; here `keep` decides. One round merges at most half; more takes more rounds, a merged
token receiving the attention of its parts. Order follows the published code, because the sides of the next site depend
on it: what is left of the first side, then of the second by falling score; without prefix tokens the first by score as
well.
"""

import torch
from torch import Tensor

from tokenprune.pruners import options
from tokenprune.pruners.base import Pruner, Signals, TokenState, rows
from tokenprune.pruners.matching import alternating, best_edges, between, homes
from tokenprune.pruners.registry import register


@register("mctf")
class MCTF(Pruner):
    """Bidirectional soft matching by three criteria.

    similarity, information, size: their temperatures; 0 leaves a criterion out.
    """

    def __init__(self, similarity: float = 1, information: float = 20, size: float = 40) -> None:
        super().__init__()
        self.similarity = options.number("mctf", "similarity", similarity, 0)
        self.information = options.number("mctf", "information", information, 0)
        self.size = options.number("mctf", "size", size, 0)

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        with torch.no_grad():
            attention = signals.received_attention()
        while state.count > keep:
            r = min(state.count - keep, state.count // 2)
            with torch.no_grad():
                into = self.match(state, attention, r)
            count = state.count - r
            state = state.merge(into, count, attention * state.weights)
            attention = attention.new_zeros(attention.shape[0], count).scatter_add(1, into, attention)
        return state

    def match(self, state: TokenState, attention: Tensor, r: int) -> Tensor:
        """Who becomes part of whom."""
        first, second = alternating(state)
        score = self.score(state, attention, (first, second))
        rising = state.prefix > 0
        rest, gone, partner = best_edges(score, r // 2, rising)
        a = rest.shape[1]
        there = homes(torch.cat([first.gather(1, rest), second], dim=1), first.gather(1, gone), partner + a)
        # Those that are left of the first side, and the second side: the way back, at the same scores.
        left, gone, partner = best_edges(rows(score, rest).transpose(1, 2), r - r // 2, rising=False)
        kept = torch.arange(a, device=rest.device).expand_as(rest)
        back = homes(torch.cat([kept, left + a], dim=1), gone + a, partner)
        return back.gather(1, there)

    def score(self, state: TokenState, attention: Tensor, sides: tuple[Tensor, Tensor]) -> Tensor:
        similarity = between(state.patches, sides)
        score = ((1 + similarity.to(attention.dtype)) / 2).clamp(min=0)
        score = score ** (1 / self.similarity) if self.similarity else torch.ones_like(score)
        for value, temperature in ((attention, self.information), (state.weights.to(attention.dtype), self.size)):
            if temperature:
                inverse = 1 / value.clamp(min=torch.finfo(value.dtype).tiny)
                a, b = (inverse.gather(1, side) / inverse.amax(dim=1, keepdim=True) for side in sides)
                score = score * (a[:, :, None] * b[:, None]) ** (1 / temperature)
        return score
