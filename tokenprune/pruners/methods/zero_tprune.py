"""Drop similar tokens, keep those of highest page rank in the graph of attention (Zero-TPrune).

Wang, Dedhia & Jha, Zero-TPrune: zero-shot token pruning through leveraging of the attention graph in pre-trained
transformers (CVPR 2024); restated from reproductions and summaries. Score: page rank, s <- A^T s from equal scores (the
class token's sqrt N times as large), head by head, over all tokens; prefix tokens take part and never leave. Heads are
joined by root mean square, without those whose scores vary too little or too much. Rounds: 30 to 50 in the first
blocks, 5 to 10 in the middle, 1 in the last; here 30, 5, 1 by thirds of the depth. Selection, in the paper's order: (1)
a first rank of one round; (2) the less important half is compared with the other (cosine of keys, all heads together),
and those most similar to a partner leave; (3) page rank among those left, and the lowest leave. Site: before attention.
The rest is dropped.

How many leave in (2) is searched per model in the paper; here it is a share `similar` of those that leave, and at most
the less important half. Variance is that of the patch tokens' scores scaled to a mean of one: where scores add up to
one it is below 1 / N, and the paper's range, .01 to .7, would leave out every head. Where it does, all of them count.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tokenprune.pruners import options
from tokenprune.pruners.base import Pruner, Shape, Signals, TokenState, rows, select
from tokenprune.pruners.matching import cosine
from tokenprune.pruners.registry import register

NAME = "zero_tprune"


@register(NAME)
class ZeroTPrune(Pruner):
    """Page rank and similarity.

    rounds: of page rank in the first, second and last third of the blocks. variance: the range in which a head counts.
    similar: the share of those that leave that leaves for its similarity.
    """

    costly = True

    def __init__(
        self, rounds: Sequence[int] = (30, 5, 1), variance: Sequence[float] = (0.01, 0.7), similar: float = 0.5
    ) -> None:
        super().__init__()
        self.rounds = [options.whole(NAME, "rounds", each, 1) for each in options.several(NAME, "rounds", rounds, 3)]
        low, high = options.several(NAME, "variance", variance, 2)
        self.low = options.number(NAME, "variance", low, 0)
        self.high = options.number(NAME, "variance", high, self.low)
        self.similar = options.number(NAME, "similar", similar, 0, 1)

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self.depth, self.class_token = shape.depth, shape.class_token

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        with torch.no_grad():
            score = self._score(state, keep, signals)
        return select(state, score, keep)

    def _score(self, state: TokenState, keep: int, signals: Signals) -> Tensor:
        """Page rank; below it those that leave for their similarity."""
        gone = state.count - keep
        alike = min(round(self.similar * gone), state.count // 2)
        left = torch.ones_like(state.tokens[:, :, 0])
        if alike:
            left = left.scatter(1, state.prefix + self._most_alike(state, alike, left, signals), 0.0)
        score = left[:, state.prefix :]
        if alike == gone:
            return score
        rounds = self.rounds[3 * (signals.site // 2) // self.depth]
        return self._rank(state, left, rounds, signals).masked_fill(score == 0, -torch.inf)

    def _most_alike(self, state: TokenState, number: int, left: Tensor, signals: Signals) -> Tensor:
        """So many of the less important half: those most similar to one of the other, of equals the least important."""
        order = self._rank(state, left, 1, signals).argsort(dim=1, stable=True)
        less, more = order[:, : state.count // 2], order[:, state.count // 2 :]
        keys = signals.keys().transpose(1, 2).flatten(2)
        likeness = cosine(rows(keys, less), rows(keys, more)).amax(dim=2)
        return less.gather(1, likeness.argsort(dim=1, descending=True, stable=True)[:, :number])

    def _rank(self, state: TokenState, left: Tensor, rounds: int, signals: Signals) -> Tensor:
        """Page rank of the patch tokens in the graph of those left, the heads joined. left: [b, p + n], 1 or 0."""
        maps = signals.attention_maps()
        left = left[:, None].to(maps.dtype)
        number = left.sum(dim=2, keepdim=True)
        score = left.expand(-1, maps.shape[1], -1)
        if self.class_token:
            score = torch.cat([score[:, :, :1] * number.sqrt(), score[:, :, 1:]], dim=2)
        for _ in range(rounds):
            score = left * (score[:, :, None] @ maps)[:, :, 0]
            score = F.normalize(score, p=1, dim=2)
        present, score = left[:, :, state.prefix :], score[:, :, state.prefix :]
        scaled = F.normalize(score, p=1, dim=2) * (number - state.prefix)
        variance = ((scaled - 1).square() * present).sum(dim=2, keepdim=True) / (number - state.prefix)
        counts = (variance >= self.low) & (variance <= self.high)
        counts = (counts | ~counts.any(dim=1, keepdim=True)).to(score.dtype)
        return ((score.square() * counts).sum(dim=1) / counts.sum(dim=1)).sqrt()
