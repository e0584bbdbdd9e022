"""Cluster tokens around density peaks, and keep the mean of each cluster (DPC-KNN).

Du, Ding & Jia, Study on density peaks clustering based on k-nearest neighbors (2016), for tokens as in TCFormer (Zeng
et al., CVPR 2022) and in Which tokens to use (Haurum et al., ICCV workshops 2023). Score: density, exp(-mean of the
squared distances to the `neighbours` nearest tokens / c), the token itself being the first of them, plus a draw below
1e-6 that breaks ties; times the distance to the nearest denser token (the largest distance in the image for the
densest). Selection: the highest are centres; each token belongs to its nearest centre. Site: before a block; the
study's are `before:3,6,9`. The rest: each cluster becomes the mean of its tokens, an earlier merged one counting for
all its patches; after that every cluster counts for one in attention (no proportional attention), as in the published
code.

With `weights: learned` a token counts for exp(Linear x) in its cluster's mean, a layer per site that trains with the
model. (TCFormer also adds the same score to attention; the study does not, nor does this.) Any number of tokens may
leave at once; with one centre all are averaged. Tokens stay in the order of their centres. The published code has fewer
tokens than `neighbours` fail; here all of them count.
"""

import torch
from torch import Tensor, nn

from tokenprune.pruners import options
from tokenprune.pruners.base import Pruner, Shape, Signals, TokenState, averaged
from tokenprune.pruners.clustering import assigned, distances
from tokenprune.pruners.registry import register

_TIE = 1e-6


@register("dpcknn")
class DPCKNN(Pruner):
    """Density peaks.

    neighbours: whose distances are a token's density. weights: equal or learned, of tokens in the mean of a cluster.
    """

    costly = True

    def __init__(self, neighbours: int = 5, weights: str = "equal") -> None:
        super().__init__()
        self.neighbours = options.whole("dpcknn", "neighbours", neighbours, 1)
        self.weights = options.one_of("dpcknn", "weights", weights, ("equal", "learned"))
        self.importance = nn.ModuleDict()

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        if self.weights == "learned":
            self.importance = nn.ModuleDict({str(site): nn.Linear(shape.dim, 1) for site in sites})

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        with torch.no_grad():
            distance = distances(state.patches) / state.patches.shape[2] ** 0.5
            centres = self.peaks(distance, signals.uniform()).argsort(dim=1, descending=True, stable=True)
            into = assigned(distance, centres[:, :keep].sort(dim=1).values)
        weight = state.weights
        if self.weights == "learned":
            score = self.importance[str(signals.site)](state.patches)[:, :, 0].to(distance.dtype)
            weight = weight * (score - score.amax(dim=1, keepdim=True).detach()).exp()  # the scale of all cancels
        return state.holding(averaged(state.patches, weight, into, keep), into)

    def peaks(self, distance: Tensor, draw: Tensor) -> Tensor:
        """Density times the distance to the nearest denser token."""
        nearest = distance.topk(min(self.neighbours, distance.shape[1]), dim=2, largest=False).values
        density = (-nearest.square().mean(dim=2)).exp() + _TIE * draw
        denser = density[:, None] > density[:, :, None]
        return density * distance.where(denser, distance.amax(dim=(1, 2), keepdim=True)).amin(dim=2)
