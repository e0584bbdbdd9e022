"""Cluster tokens around some of their own, weighted by received attention, and keep those (K-medoids).

Marin et al., Token pooling in vision transformers for image classification (WACV 2023), in the form of Which tokens to
use (Haurum et al., ICCV workshops 2023). Start: the tokens of largest attention received, summed over heads and
queries. Selection: `rounds` (3) times each token is assigned to its nearest medoid (L2), and each cluster C takes for
its medoid argmin over i in C of the sum over j in C of w_j d(i, j), w the attention received. Site: before a block, by
that block's own map (the study's code reads the map of the block before); the study's are `before:3,6,9`. The rest: the
medoids stay as they are, all others are dropped, and no token counts for those of its cluster.

The study's code departs from the paper: it weighs by w_i and sums over all tokens, not over those of the cluster; here
it is the paper's formula. Where tokens coincide, each medoid still belongs to itself, so no cluster is empty. Any
number of tokens may leave at once; where one stays it is the medoid of all. Tokens stay in image order.
"""

import torch
from torch import Tensor

from tokenprune.pruners import options
from tokenprune.pruners.base import Pruner, Signals, TokenState
from tokenprune.pruners.clustering import assigned, distances
from tokenprune.pruners.registry import register


@register("kmedoids")
class KMedoids(Pruner):
    """Weighted medoids.

    rounds: of assignment and choice of medoids.
    """

    costly = True

    def __init__(self, rounds: int = 3) -> None:
        super().__init__()
        self.rounds = options.whole("kmedoids", "rounds", rounds, 0)

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        with torch.no_grad():
            weight = signals.received_attention()
            medoids = weight.argsort(dim=1, descending=True, stable=True)[:, :keep]
            distance = distances(state.patches)
            for _ in range(self.rounds):
                medoids = central(distance, weight, assigned(distance, medoids), keep)
        return state.take(medoids.sort(dim=1).values)


def central(distance: Tensor, weight: Tensor, into: Tensor, count: int) -> Tensor:
    """The token of each cluster from which the weighted sum of distances to its tokens is least, [b k]."""
    together = into[:, :, None] == into[:, None]
    total = (distance * weight[:, None] * together).sum(dim=2)
    member = into[:, None] == torch.arange(count, device=into.device)[:, None]
    return total[:, None].masked_fill(~member, torch.inf).argmin(dim=2)
