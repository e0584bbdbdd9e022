"""Methods whose tokens are mixtures of all that entered, one for each of as many learned vectors as tokens stay.

Shapes: b images, n tokens that enter, k that stay, c channels.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tokenprune.errors import UsageError
from tokenprune.pruners.base import Pruner, Shape, Signals, TokenState


class MixturePruner(Pruner):
    """Subclasses write `mix`; this makes k vectors a site and records which patch lives in which mixture.

    A patch belongs to the mixture with the largest share of it, and a mixture that is no patch's own holds none. All
    mixtures count for one patch each.
    """

    fixed = True
    name: ClassVar[str]

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        made = zip(sites, shape.counts, strict=True)
        self.vectors = nn.ParameterDict(
            {str(site): nn.Parameter(torch.randn(k, shape.dim) * shape.dim**-0.5) for site, k in made}
        )

    def mix(
        self, patches: Float[Tensor, "b n c"], weight: Float[Tensor, "b n"], site: str
    ) -> tuple[Float[Tensor, "b k n"], Float[Tensor, "b n c"]]:
        """Each mixture's shares of the tokens, and what is mixed of them. weight: the patches they count for."""
        raise NotImplementedError

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        site = str(signals.site)
        if keep != len(self.vectors[site]):
            raise UsageError(
                f"pruner {self.name!r}: made for {len(self.vectors[site])} tokens at a site where {keep} are to stay: "
                "it takes no other ratio, no annealing of it and no patch dropout"
            )
        share, mixed = self.mix(state.patches, state.weights, site)
        return state.holding(share.to(mixed.dtype) @ mixed, share.argmax(dim=1))
