"""Merge the two nearest clusters of tokens until few enough are left; slow, on the CPU (ATC).

Haurum et al., Agglomerative token clustering (ECCV 2024). Score: 1 - cosine of keys, mean over heads. Selection:
hierarchical clustering, each token a cluster at first; the two nearest clusters merge until `keep` are left. `linkage`
is what is near: the mean distance between their tokens (average), the largest (complete) or the smallest (single); the
published commands use each of them. Site: after attention; the paper's are `after:3,6,9`, or every block with `r`. The
rest: a mean by size, which counts for all its patches in attention, as in the published training command; with
`proportional: false` plain means of tokens, and every token counts for one.

It is slow: scipy clusters image by image on the CPU, so on a GPU every site waits for a copy there and back, and
torch.compile breaks its graph. It cuts at exactly `keep` clusters, at any `keep`; ties are broken as scipy does. Tokens
stay in the image order of their first.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tokenprune.pruners import options
from tokenprune.pruners.base import Pruner, Signals, TokenState, averaged
from tokenprune.pruners.matching import cosine, metric_of_keys
from tokenprune.pruners.registry import register

if TYPE_CHECKING:
    from numpy.typing import NDArray


@register("atc")
class ATC(Pruner):
    """Agglomerative clustering.

    linkage: average, complete or single. proportional: whether a token counts for all its patches.
    """

    costly = True

    def __init__(self, linkage: str = "average", proportional: bool = True) -> None:
        super().__init__()
        self.linkage = options.one_of("atc", "linkage", linkage, ("average", "complete", "single"))
        self.proportional = options.flag("atc", "proportional", proportional)

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        with torch.no_grad():
            metric = metric_of_keys(signals)
            into = _clusters(1 - cosine(metric, metric), keep, self.linkage)
        if self.proportional:
            return state.merge(into, keep)
        ones = torch.ones_like(state.weights)
        return state.holding(averaged(state.patches, ones, into, keep), into)


@torch.compiler.disable
def _clusters(distance: Tensor, count: int, linkage: str) -> Tensor:
    """The cluster of each token, [b n]."""
    images = distance.cpu().double().numpy()
    return torch.from_numpy(np.stack([_of_one(each, count, linkage) for each in images])).to(distance.device)


def _of_one(distance: "NDArray[np.float64]", count: int, linkage: str) -> "NDArray[np.int64]":
    """The cluster of each token of one image, numbered by their first tokens."""
    from scipy.cluster import hierarchy

    n = len(distance)
    tree = hierarchy.linkage(distance[np.triu_indices(n, 1)], linkage)
    label = np.arange(2 * n - count)  # tokens, then what each merge made
    for i in range(n - count - 1, -1, -1):
        label[tree[i, :2].astype(int)] = label[n + i]
    _, first, cluster = np.unique(label[:n], return_index=True, return_inverse=True)
    return first.argsort().argsort()[cluster].astype(np.int64)
