"""The pruners' contract: what flows between blocks, what a pruner may ask for, what it must return.

Shapes: b images, n patch tokens present, k tokens kept, p prefix tokens (class, registers), c channels, h heads,
t patches of the image.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class TokenState:
    """What flows between blocks.

    tokens: prefix tokens first, then patch tokens in image order.
    prefix: how many prefix tokens; never pruned or merged.
    position: the patch each patch token came from, -1 for a fused one.
    size: patches that a token stands for, None while each stands for one. Attention does not weigh by it yet.
    entered: at an `after` site, the tokens that entered this block's attention; None elsewhere.
    """

    tokens: Float[Tensor, "b p+n c"]
    prefix: int
    position: Int[Tensor, "b n"]
    size: Float[Tensor, "b n"] | None = None
    entered: Float[Tensor, "b p+n c"] | None = None

    @property
    def count(self) -> int:
        """Patch tokens present."""
        return self.position.shape[1]

    def take(self, index: Int[Tensor, "b k"]) -> "TokenState":
        """The same images with only the patch tokens at `index`: a gather, no mask."""
        channels = self.tokens.shape[2]
        patches = self.tokens[:, self.prefix :].gather(1, index[:, :, None].expand(-1, -1, channels))
        return replace(
            self,
            tokens=torch.cat([self.tokens[:, : self.prefix], patches], dim=1),
            position=self.position.gather(1, index),
            size=None if self.size is None else self.size.gather(1, index),
            entered=None,
        )


class Signals(Protocol):
    """What a pruner may ask for at a site. Every method computes when called: what nobody asks for costs nothing.

    All are of the patch tokens present (`n`), in their order.
    """

    def attention(self) -> Float[Tensor, "b n"]:
        """Class attention where the model has a class token, else received attention."""
        ...

    def class_attention(self) -> Float[Tensor, "b n"]:
        """Attention of the class token to each patch token, mean over heads; ValueError without a class token."""
        ...

    def received_attention(self) -> Float[Tensor, "b n"]:
        """Attention each patch token receives, mean over heads and over all queries."""
        ...

    def keys(self) -> Float[Tensor, "b h n d"]:
        """Keys after any key norm."""
        ...

    def value_norms(self) -> Float[Tensor, "b n"]:
        """L2 norm of each token's value, mean over heads."""
        ...

    def relevance(self) -> Float[Tensor, "b n"] | None:
        """Label-relevant share of each token's area, in [0, 1]; None where the data set has none."""
        ...

    def gradient_times_token(self) -> Float[Tensor, "b n"]:
        """Sum over channels of token x gradient of the true label's logit; needs labels (ValueError without)."""
        ...

    def uniform(self) -> Float[Tensor, "b n"]:
        """Uniform in [0, 1), a function of (seed, image, site, position) alone: batch mates change nothing."""
        ...


class Pruner(nn.Module):
    """Reduces the patch tokens at a site. May have parameters.

    stochastic: the choice is a draw, so that evaluation repeats it with several seeds.
    """

    stochastic: ClassVar[bool] = False

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        """At most `keep` patch tokens (1 <= keep <= state.count), prefix tokens untouched.

        With keep == state.count it returns the state as it is: keep ratio 1 is the unpruned model.
        """
        raise NotImplementedError


class ScorePruner(Pruner):
    """A pruner that ranks tokens: subclasses write `score`, this does top-k, gather and bookkeeping."""

    def score(self, state: TokenState, signals: Signals) -> Float[Tensor, "b n"]:
        """A number per patch token, higher = kept."""
        raise NotImplementedError

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        with torch.no_grad():  # a ranking passes no gradient on
            score = self.score(state, signals)
        return select(state, score, keep)


def select(state: TokenState, score: Float[Tensor, "b n"], keep: int) -> TokenState:
    """The `keep` patch tokens of highest score, in image order."""
    return state.take(score.topk(keep, dim=1, sorted=False).indices.sort(dim=1).values)
