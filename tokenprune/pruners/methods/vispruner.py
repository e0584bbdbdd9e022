"""Keep half by attention, half by leaving out the most similar of the others (VisPruner).

Zhang et al., Beyond text-visual attention: exploiting visual cues for effective token pruning in VLMs (ICCV 2025).
Score: class attention, mean over heads (received attention without a class token). Selection: half of those that stay
are the largest. The others, by falling attention, are split alternately into two sides; the 8 of the first side whose
most similar token of the second is nearest (cosine of tokens) leave, the first side's rest, most similar first, goes
before the second, and so on until the number is reached. Site: any; the paper's is the image's tokens as the language
model gets them. The rest is dropped.

The published code needs an even number in every round, and at least 16; here the first side has one more of an odd
number, and no more leave than it has.
"""

import torch
from torch import Tensor

from tokenprune.pruners import options
from tokenprune.pruners.base import Pruner, Signals, TokenState
from tokenprune.pruners.matching import alternate, cosine, pairs
from tokenprune.pruners.registry import register


@register("vispruner")
class VisPruner(Pruner):
    """Important and diverse tokens.

    important: the share of those kept that attention chooses, rounded down. each: how many leave in a round.
    """

    def __init__(self, important: float = 0.5, each: int = 8) -> None:
        super().__init__()
        self.important = options.number("vispruner", "important", important, 0, 1)
        self.each = options.whole("vispruner", "each", each, 1)

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        important = int(keep * self.important)
        with torch.no_grad():
            order = signals.attention().argsort(dim=1, descending=True, stable=True)
            index = [order[:, :important]]
            if keep > important:
                index.append(self._diverse(state, order[:, important:], keep - important))
        return state.take(torch.cat(index, dim=1).sort(dim=1).values)

    def _diverse(self, state: TokenState, rest: Tensor, number: int) -> Tensor:
        """So many of the tokens at `rest`."""
        similarity = cosine(state.patches, state.patches)
        while rest.shape[1] > number:
            first, second = alternate(rest)
            gone = min(self.each, rest.shape[1] - number, first.shape[1])
            order = pairs(similarity, (first, second)).amax(dim=2).argsort(dim=1, descending=True, stable=True)
            rest = torch.cat([first.gather(1, order[:, gone:]), second], dim=1)
        return rest
