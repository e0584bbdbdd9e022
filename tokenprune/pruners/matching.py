"""Steps that methods of merging share: similarity, bipartite matching, and who becomes part of whom.

Shapes: b images, n tokens, a and m tokens of the two sides, r tokens that become part of another, d channels.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tokenprune.pruners.base import Pruner, Signals, TokenState, averaged, precise, rows


def cosine(x: Float[Tensor, "b n d"], y: Float[Tensor, "b m d"]) -> Float[Tensor, "b n m"]:
    """Cosine of each token to each, in float32 or more: bf16 would round values near 1 to steps of 1/256."""
    x, y = (F.normalize(precise(z), dim=-1) for z in (x, y))
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.transpose(1, 2)


def metric_of_keys(signals: Signals) -> Float[Tensor, "b n d"]:
    """Keys, mean over heads: what ToMe compares tokens by (Bolya et al., ICLR 2023, section 3)."""
    return signals.keys().mean(dim=1)


def alternate(order: Int[Tensor, "b n"], first: int = 0) -> tuple[Int[Tensor, "b a"], Int[Tensor, "b m"]]:
    """Every other token, in that order: who may go, who stays. first: 1 lets the second one go first."""
    return order[:, first::2], order[:, 1 - first :: 2]


def between(
    metric: Float[Tensor, "b n d"], sides: tuple[Int[Tensor, "b a"], Int[Tensor, "b m"]]
) -> Float[Tensor, "b a m"]:
    """Cosine of each token of one side to each of the other."""
    return cosine(rows(metric, sides[0]), rows(metric, sides[1]))


def pairs(
    similarity: Float[Tensor, "b n n"], sides: tuple[Int[Tensor, "b a"], Int[Tensor, "b m"]]
) -> Float[Tensor, "b a m"]:
    """The part of a matrix over all tokens that is of one side's with the other's."""
    return rows(similarity, sides[0]).gather(2, sides[1][:, None].expand(-1, sides[0].shape[1], -1))


def best_edges(
    similarity: Float[Tensor, "b a m"], r: int, rising: bool = True
) -> tuple[Int[Tensor, "b a-r"], Int[Tensor, "b r"], Int[Tensor, "b r"]]:
    """Each token of the first side has an edge to its most similar one of the second; the r best edges are taken.

    Returns which of the first side stay, which go (most similar first), and to which of the second these go.

    rising: those that stay in their own order, else in that of their similarity, falling.
    """
    most, partner = similarity.max(dim=2)
    order = most.argsort(dim=1, descending=True, stable=True)
    stay, gone = order[:, r:], order[:, :r]
    return stay.sort(dim=1).values if rising else stay, gone, partner.gather(1, gone)


def matched(
    similarity: Float[Tensor, "b a m"],
    sides: tuple[Int[Tensor, "b a"], Int[Tensor, "b m"]],
    r: int,
    rising: bool = True,
) -> tuple[Int[Tensor, "b k"], Int[Tensor, "b r"], Int[Tensor, "b r"]]:
    """`best_edges` between two sides, as tokens: who stays, who goes, and to which of those that stay.

    Those that stay: what is left of the first side, then the second side.
    """
    first, second = sides
    rest, gone, partner = best_edges(similarity, r, rising)
    return torch.cat([first.gather(1, rest), second], dim=1), first.gather(1, gone), partner + rest.shape[1]


def homes(stay: Int[Tensor, "b k"], gone: Int[Tensor, "b r"], home: Int[Tensor, "b r"]) -> Int[Tensor, "b k+r"]:
    """For each token, which of the k that stay it becomes part of (`TokenState.merge`); k is in the order of `stay`."""
    into = stay.new_empty(stay.shape[0], stay.shape[1] + gone.shape[1])
    into.scatter_(1, stay, torch.arange(stay.shape[1], device=stay.device).expand_as(stay))
    return into.scatter_(1, gone, home)


def in_place(count: int, gone: Int[Tensor, "b r"], home: Int[Tensor, "b r"]) -> Int[Tensor, "b n"]:
    """As `homes`, where those that stay keep the order that they have among all. home: as tokens of `count`."""
    stays = gone.new_ones(gone.shape[0], count).scatter_(1, gone, 0)
    place = stays.cumsum(dim=1) - 1
    return place.scatter(1, gone, place.gather(1, home))


def alternating(state: TokenState, part: int | None = None) -> tuple[Int[Tensor, "b a"], Int[Tensor, "b m"]]:
    """Two sides of the patch tokens, as ToMe has them: all tokens alternate, prefix tokens included.

    part: of the first so many patch tokens; None for all.
    """
    order = torch.arange(state.count if part is None else part, device=state.tokens.device).expand(
        state.tokens.shape[0], -1
    )
    return alternate(order, state.prefix % 2)


def early(signals: Signals, depth: int) -> bool:
    """Whether a site belongs to a block of the first half of a model."""
    return 2 * (signals.site // 2) < depth


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
