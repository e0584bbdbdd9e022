"""Steps that methods of merging share: similarity, bipartite matching, and who becomes part of whom.

Shapes: b images, n tokens, a and m tokens of the two sides, r tokens that become part of another, d channels.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tokenprune.pruners.base import Pruner, Signals, TokenState, averaged, rows


def cosine(x: Float[Tensor, "b n d"], y: Float[Tensor, "b m d"]) -> Float[Tensor, "b n m"]:
    return F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).transpose(1, 2)


def metric_of_keys(signals: Signals) -> Float[Tensor, "b n d"]:
    """Keys, mean over heads: what ToMe compares tokens by (Bolya et al., ICLR 2023, section 3)."""
    return signals.keys().mean(dim=1)


def alternate(order: Int[Tensor, "b n"], first: int = 0) -> tuple[Int[Tensor, "b a"], Int[Tensor, "b m"]]:
    """Every other token, in that order: who may go, who stays. first: 1 lets the second one go first."""
    return order[:, first::2], order[:, 1 - first :: 2]


def best_edges(
    similarity: Float[Tensor, "b a m"], r: int
) -> tuple[Int[Tensor, "b a-r"], Int[Tensor, "b r"], Int[Tensor, "b r"]]:
    """Each token of the first side has an edge to its most similar one of the second; the r best edges are taken.

    Returns which of the first side stay (rising), which go (most similar first), and to which of the second these go.
    """
    most, partner = similarity.max(dim=2)
    order = most.argsort(dim=1, descending=True, stable=True)
    gone = order[:, :r]
    return order[:, r:].sort(dim=1).values, gone, partner.gather(1, gone)


def homes(stay: Int[Tensor, "b k"], gone: Int[Tensor, "b r"], home: Int[Tensor, "b r"]) -> Int[Tensor, "b k+r"]:
    """Which of the k tokens each becomes part of (`TokenState.merge`): those that stay in their order, others home."""
    into = stay.new_empty(len(stay), stay.shape[1] + gone.shape[1])
    into.scatter_(1, stay, torch.arange(stay.shape[1], device=stay.device).expand_as(stay))
    return into.scatter_(1, gone, home)


def matched(
    similarity: Float[Tensor, "b n n"], sides: tuple[Int[Tensor, "b a"], Int[Tensor, "b m"]], r: int
) -> Int[Tensor, "b n"]:
    """Who becomes part of whom when the r best edges between two sides are taken; the first side's rest comes first."""
    first, second = sides
    between = rows(similarity, first).gather(2, second[:, None].expand(-1, first.shape[1], -1))
    rest, gone, partner = best_edges(between, r)
    stay = torch.cat([first.gather(1, rest), second], dim=1)
    return homes(stay, first.gather(1, gone), partner + rest.shape[1])


class MergePruner(Pruner):
    """A pruner that lets tokens become part of others, in as many rounds as its count needs.

    One round merges at most half of the tokens; where fewer are to stay, the rounds go on with the merged ones.
    """

    def metric(self, state: TokenState, signals: Signals) -> Float[Tensor, "b n d"]:
        """What tokens are compared by."""
        return metric_of_keys(signals)

    def match(
        self, state: TokenState, metric: Float[Tensor, "b n d"], r: int, signals: Signals
    ) -> tuple[Int[Tensor, "b n"], int]:
        """Who becomes part of whom (see `TokenState.merge`), and of how many tokens; at most r fewer, at least one."""
        raise NotImplementedError

    def join(self, state: TokenState, into: Int[Tensor, "b n"], count: int, signals: Signals) -> TokenState:
        """The tokens merged: means by the patches that they count for."""
        return state.merge(into, count)

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        metric = self.metric(state, signals)
        while state.count > keep:
            into, count = self.match(state, metric, state.count - keep, signals)
            metric = averaged(metric, state.weights, into, count)
            state = self.join(state, into, count, signals)
        return state
