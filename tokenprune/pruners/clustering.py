"""Steps that methods of clustering share: distances, and who belongs to which centre.

Shapes: b images, n tokens, k centres, c channels.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tokenprune.pruners.base import precise


def distances(x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n n"]:
    """L2 distance of each token to each, in float32 or more; exactly 0 to itself."""
    x = precise(x)
    x = x - x.mean(dim=1, keepdim=True)  # a part that all share would only cost digits
    itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    return torch.cdist(x, x).masked_fill(itself, 0)


def assigned(distance: Float[Tensor, "b n n"], centres: Int[Tensor, "b k"]) -> Int[Tensor, "b n"]:
    """The nearest centre of each token, the first of equally near ones; a centre belongs to itself."""
    nearest = distance.gather(2, centres[:, None].expand(-1, distance.shape[1], -1)).argmin(dim=2)
    return nearest.scatter(1, centres, torch.arange(centres.shape[1], device=centres.device).expand_as(centres))
