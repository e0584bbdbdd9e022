"""Keep tokens that differ most from each other, found greedily without any attention (DivPrune).

Alvar, Singh, Akbari & Zhang, DivPrune: diversity-based visual token pruning for large multimodal models (CVPR 2025).
Distance: 1 - cosine of two tokens. Selection: first the token farthest from its nearest neighbour, then again and again
the one farthest from the nearest that is kept (max-min diversity), of equals the first in the image. Site: any; the
paper's is the image's tokens as the language model gets them, at keep .098. The rest is dropped.

One step per token kept, each for all images at once.
"""

import torch
from torch import Tensor

from tokenprune.pruners.base import Pruner, Signals, TokenState, rows
from tokenprune.pruners.matching import cosine
from tokenprune.pruners.registry import register


@register("divprune")
class DivPrune(Pruner):
    """Greedy max-min diversity."""

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        with torch.no_grad():
            alike = cosine(state.patches, state.patches)
            # The same both ways to the last bit, so that two that are each other's nearest are equals.
            index = spread(1 - (alike + alike.transpose(1, 2)) / 2, keep)
        return state.take(index.sort(dim=1).values)


def spread(distance: Tensor, keep: int) -> Tensor:
    """Which `keep` of n, in the order that they were found. distance: [b, n, n]."""
    itself = torch.eye(distance.shape[1], device=distance.device, dtype=torch.bool)
    found = [distance.masked_fill(itself, torch.inf).amin(dim=2).argmax(dim=1, keepdim=True)]
    nearest = torch.full_like(distance[:, 0], torch.inf)
    for _ in range(keep - 1):
        nearest = torch.minimum(nearest, rows(distance, found[-1])[:, 0]).scatter(1, found[-1], -torch.inf)
        found.append(nearest.argmax(dim=1, keepdim=True))
    return torch.cat(found, dim=1)
