"""Mix all tokens into learned centres by optimal transport (Sinkhorn tokenizer) (learned)

Haurum et al., Multi-scale hybrid vision transformer and Sinkhorn tokenizer (Automation in Construction 2022), as
reproduced for tokens of a ViT in Haurum et al., Which tokens to use? (ICCV workshops 2023). Score: cosine of tokens
with learned centres, one for each token that stays, over `eps`. Selection: none; `iterations` rounds of Sinkhorn in
logarithms turn exp(score) into shares, all marginals being 1 / (n + k). Site: before blocks 3, 6 and 9 of twelve in
the comparison. The rest: part of the mixtures, sums of unit tokens by share, times n + k. They have no order and no
weight; a patch belongs to the centre that gets the largest share of it.

As in the published code, centres are scaled first and tokens last, so that each token gives exactly all that it has,
once, and a mixture is a sum of about n / k tokens. That code sets the centres to unit length after each step; here the
length of a learned vector is divided out, which is the same function. Made for the counts of training: one keep ratio,
no annealing, no patch dropout.
"""

import math

import torch.nn.functional as F
from torch import Tensor

from tokenprune.pruners import options
from tokenprune.pruners.base import precise
from tokenprune.pruners.mixing import MixturePruner
from tokenprune.pruners.registry import register


@register("sinkhorn")
class Sinkhorn(MixturePruner):
    """Shares from a few Sinkhorn rounds.

    eps: temperature of the transport. iterations: rounds, each scaling centres and then tokens.
    """

    name = "sinkhorn"

    def __init__(self, eps: float = 1.0, iterations: int = 3) -> None:
        super().__init__()
        self.eps = options.number(self.name, "eps", eps, 1e-3)
        self.iterations = options.whole(self.name, "iterations", iterations, 1)

    def mix(self, patches: Tensor, weight: Tensor, site: str) -> tuple[Tensor, Tensor]:
        x = F.normalize(patches, dim=2)
        centres = F.normalize(self.vectors[site], dim=1)
        score = precise(centres @ x.transpose(1, 2)) / self.eps
        k, n = score.shape[1:]
        mass = -math.log(n + k)
        given = weight.log()
        tokens = given + mass
        for _ in range(self.iterations):
            taken = mass - (score + given[:, None]).logsumexp(dim=2)
            given = tokens - (score + taken[:, :, None]).logsumexp(dim=1)
        return (score + taken[:, :, None] + given[:, None] - mass).exp(), x
