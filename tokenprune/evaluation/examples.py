"""A few images to look at: where their patches live after each site, where the model looks, and what it says.

Shapes: e images, t patches, s sites.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tokenprune.models import SparseViT, images_of
from tokenprune.models.signals import SiteSignals
from tokenprune.pruners.base import TokenState


@dataclass(frozen=True)
class ExampleStates:
    """owner: the token that each patch lives in after each site, -1 where it is gone.

    count: patch tokens left after each site: of some methods more than have a patch of their own.
    attention: class attention (received attention without a class token) in the last block, of the token that the patch
    lives in, shared by all its patches; 0 where it is gone, and everywhere where tokens leave after that attention.
    probability: of each class.
    """

    owner: Int[Tensor, "e s t"]
    count: Int[Tensor, "e s"]
    attention: Float[Tensor, "e t"]
    probability: Float[Tensor, "e classes"]


@torch.no_grad()
def seen(
    model: SparseViT, states: Sequence[TokenState], cursor: int, logits: Float[Tensor, "b classes"], rows: Sequence[int]
) -> ExampleStates:
    """What is to be seen of some images of a batch. states: after each site; cursor: of the last of them."""
    chosen = torch.tensor(list(rows), device=logits.device)
    state, last = images_of(states[-1], chosen), 2 * model.depth - 2
    attention = torch.zeros(state.owner.shape, device=logits.device)
    if cursor <= last:
        state = model.advance(state, cursor, last)
        found = SiteSignals(model.vit, state, last).attention().float()
        whose = state.owner.clamp(min=0)
        number = torch.zeros_like(found).scatter_add(1, whose, state.alive.to(found.dtype))
        attention = (found / number.clamp(min=1)).gather(1, whose) * state.alive
    owner = torch.stack([each.owner[chosen] for each in states], dim=1)
    count = torch.stack([(each.weights[chosen] > 0).sum(dim=1) for each in states], dim=1)
    return ExampleStates(owner, count, attention, logits[chosen].float().softmax(dim=1))
