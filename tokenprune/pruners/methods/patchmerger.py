"""Mix all tokens into as few as there are learned queries, by softmax (PatchMerger) (learned)

Renggli et al., Learning to merge tokens in vision transformers (2022). Score: Q LN(x)^T, one learned query for each
token that stays, with a layer norm of the site's own and no scale. Selection: none; a softmax over the tokens makes
each query's mixture of LN(x). Site: before a block; the paper has one, half-way, and keeps 8 tokens of 196. The rest:
part of the mixtures. These have no order and no weight; a patch belongs to the one that takes the largest share from
it.

Queries start at a standard deviation of dim^-1/2, as a linear layer of the paper's does; public reproductions start at
1. They are made for the counts of training: one keep ratio, no annealing, no patch dropout.
"""

from torch import Tensor, nn

from tokenprune.pruners.base import Shape, precise
from tokenprune.pruners.mixing import MixturePruner
from tokenprune.pruners.registry import register


@register("patchmerger")
class PatchMerger(MixturePruner):
    """Softmax over tokens, query by query."""

    name = "patchmerger"

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        super().setup(shape, sites)
        self.norms = nn.ModuleDict({str(site): nn.LayerNorm(shape.dim) for site in sites})

    def mix(self, patches: Tensor, weight: Tensor, site: str) -> tuple[Tensor, Tensor]:
        x = self.norms[site](patches)
        logits = precise(self.vectors[site] @ x.transpose(1, 2))
        return (logits + weight.log()[:, None]).softmax(dim=2), x
