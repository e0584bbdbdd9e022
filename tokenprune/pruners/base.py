"""The pruners' contract: the state between blocks, the signals a pruner may ask for, what it must return.

Shapes: b images, n patch tokens present, k tokens kept, p prefix tokens (class, registers), s = p + n all tokens,
c channels, h heads, d channels of a head, t patches of the image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

if TYPE_CHECKING:
    from tokenprune.data import Batch
    from tokenprune.models import Trace


@dataclass(frozen=True)
class Shape:
    """Sizes of the model that a pruner works in.

    grid: patch tokens of an image, rows and columns. mlp: weights of a block's MLP, no biases. counts: patch tokens
    that stay at each site, as far as is known when the model is made; a pruner that makes no parameters of them works
    at any other counts.
    """

    depth: int
    dim: int
    heads: int
    grid: tuple[int, int]
    prefix: int
    class_token: bool
    classes: int
    mlp: int
    counts: tuple[int, ...] = ()

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    def products(self, left: Mapping[int, Tensor]) -> Float[Tensor, ""]:
        """Multiply-adds of all blocks for one image with so many patch tokens left after each site; differentiable."""
        some = next(iter(left.values()))
        n, total = torch.full_like(some, self.patches + self.prefix), torch.zeros_like(some)
        for half in range(2 * self.depth):
            n = left[half] + self.prefix if half in left else n
            total = total + (n * self.mlp if half % 2 else 4 * n * self.dim**2 + 2 * n**2 * self.dim)
        return total


@dataclass(frozen=True)
class Taught:
    """What a teacher says of the same images. features: all its tokens after the final norm, prefix first."""

    logits: Float[Tensor, "b classes"]
    features: Float[Tensor, "b p+t c"]


@dataclass(frozen=True)
class TokenState:
    """The tokens between two blocks.

    tokens: prefix tokens first, then patch tokens, in image order unless a pruner orders them otherwise.
    prefix: how many prefix tokens; never pruned or merged.
    owner: the patch token (0 to n - 1) that each patch of the image lives in, -1 where it is gone.
    weight: how many patches a patch token counts for in attention and in average pooling: more than one where patches
        are merged, 0 for padding (as if it were not there), a share for a gate that is being learned. None: one each.
    entered: at an `after` site, the tokens that entered this block's attention; None elsewhere.
    embedded: the patch tokens as they entered block 0, one per patch of the image.
    rotary: the rotary code of every patch of the image, of each block and head where these have codes of their own;
        None for a model without. whole: the tokens are still the image's patches, one each, in their order.
    carried: numbers per patch token that a pruner wants to find again at its next site; they go where tokens go.
    memory: numbers per image that a pruner wants to find again at its next site, in `finish` or in `loss`.
    """

    tokens: Float[Tensor, "b p+n c"]
    prefix: int
    owner: Int[Tensor, "b t"]
    weight: Float[Tensor, "b n"] | None = None
    entered: Float[Tensor, "b p+n c"] | None = None
    embedded: Float[Tensor, "b t c"] | None = None
    rotary: Float[Tensor, "*blocks t r"] | None = None
    whole: bool = True
    carried: Mapping[str, Float[Tensor, "b n"]] = field(default_factory=dict)
    memory: Mapping[str, Float[Tensor, "b ..."]] = field(default_factory=dict)

    @property
    def patches(self) -> Float[Tensor, "b n c"]:
        """The patch tokens."""
        return self.tokens[:, self.prefix :]

    @property
    def weights(self) -> Float[Tensor, "b n"]:
        """`weight`, of ones where it is None."""
        return self.tokens.new_ones(self.tokens.shape[0], self.count) if self.weight is None else self.weight

    @property
    def count(self) -> int:
        """Patch tokens present, padding included."""
        return self.tokens.shape[1] - self.prefix

    @property
    def alive(self) -> Bool[Tensor, "b t"]:
        """Which patches of the image live in some token."""
        return self.owner >= 0

    @property
    def position(self) -> Int[Tensor, "b n"]:
        """The first patch that lives in each token, -1 where none does."""
        patches = self.owner.shape[1]
        patch = torch.arange(patches, device=self.owner.device).expand_as(self.owner)
        first = patch.new_full((patch.shape[0], self.count + 1), patches).scatter_reduce(1, self._bin, patch, "amin")
        return first[:, :-1].where(first[:, :-1] < patches, -1)

    def mean_of(self, patches: Float[Tensor, "b t"]) -> Float[Tensor, "b n"]:
        """Mean, over the patches that live in each token, of a number per patch; 0 where none does."""
        total = patches.new_zeros(patches.shape[0], self.count + 1)
        number = total.scatter_add(1, self._bin, torch.ones_like(patches))
        return (total.scatter_add(1, self._bin, patches) / number.clamp(min=1))[:, :-1]

    def take(self, index: Int[Tensor, "b k"]) -> "TokenState":
        """The same images with only the patch tokens at `index`: a gather, no mask."""
        patches = rows(self.patches, index)
        place = index.new_full((index.shape[0], self.count + 1), -1)
        place = place.scatter_(1, index, torch.arange(index.shape[1], device=index.device).expand_as(index))
        return replace(
            self,
            tokens=torch.cat([self.tokens[:, : self.prefix], patches], dim=1),
            owner=place.gather(1, self._bin),
            weight=None if self.weight is None else self.weight.gather(1, index),
            entered=None,
            whole=False,
            carried={name: value.gather(1, index) for name, value in self.carried.items()},
        )

    def holding(
        self,
        patches: Float[Tensor, "b k c"],
        into: Int[Tensor, "b n"],
        weight: Float[Tensor, "b k"] | None = None,
    ) -> "TokenState":
        """The same images with other patch tokens; patches of token j live in token into[j], in none where it is -1.

        Nothing is carried on; the memory of the images stays.
        """
        return replace(
            self,
            tokens=torch.cat([self.tokens[:, : self.prefix], patches.to(self.tokens.dtype)], dim=1),
            owner=F.pad(into, (0, 1), value=-1).gather(1, self._bin),
            weight=weight,
            entered=None,
            whole=False,
            carried={},
        )

    def trimmed(self) -> "TokenState":
        """The same images without padding that none needs: tokens of weight 0 go last, the others keep their order."""
        if self.weight is None:
            return self
        absent = self.weight == 0
        most = int((~absent).sum(1).max())
        if most == self.count:
            return self
        return self.take(absent.to(torch.int8).argsort(dim=1, stable=True)[:, : max(1, most)])

    def merge(self, into: Int[Tensor, "b n"], count: int, weight: Float[Tensor, "b n"] | None = None) -> "TokenState":
        """The same images with `count` patch tokens: patch token j becomes part of token into[j].

        Tokens that become one are averaged by `weight` (None: by the patches they count for), their patches live in it,
        and it counts for all of theirs. One that nothing becomes part of is padding.
        """
        own = self.weights.to(self.tokens.dtype)
        merged = averaged(self.patches, own if weight is None else weight, into, count)
        return self.holding(merged, into, own.new_zeros(own.shape[0], count).scatter_add(1, into, own))

    @property
    def _bin(self) -> Int[Tensor, "b t"]:
        """As `owner`, with n for patches that are gone: an index into n + 1 columns."""
        return self.owner % (self.count + 1)


def precise(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """In float32 where it is less; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def rows(tokens: Float[Tensor, "b n c"], index: Int[Tensor, "b k"]) -> Float[Tensor, "b k c"]:
    """The tokens at `index`, image by image."""
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[2]))


def averaged(
    x: Float[Tensor, "b n c"], weight: Float[Tensor, "b n"], into: Int[Tensor, "b n"], count: int
) -> Float[Tensor, "b k c"]:
    """Means by weight of the rows that become one of `count`: row j becomes part of row into[j]; 0 where none does."""
    weight = weight.to(x.dtype)
    total = x.new_zeros(x.shape[0], count).scatter_add(1, into, weight).clamp(min=torch.finfo(x.dtype).tiny)
    sums = x.new_zeros(x.shape[0], count, x.shape[2])
    return sums.scatter_add(1, into[:, :, None].expand_as(x), x * weight[:, :, None]) / total[:, :, None]


class Signals(Protocol):
    """The signals at a site. Each method computes when called, so that only signals that are asked for cost anything.

    Each has a value per patch token present (`n`), in their order.

    site: where this is, in half-blocks: 2i is before block i, 2i + 1 between its attention and its MLP.
    """

    site: int

    def attention(self) -> Float[Tensor, "b n"]:
        """Class attention where the model has a class token, else received attention."""
        ...

    def class_attention(self) -> Float[Tensor, "b n"]:
        """Attention of the class token to each patch token, mean over heads; ValueError without a class token."""
        ...

    def received_attention(self) -> Float[Tensor, "b n"]:
        """Attention each patch token receives, mean over heads and over all queries."""
        ...

    def attention_by_head(self) -> Float[Tensor, "b h n"]:
        """As `attention`, head by head."""
        ...

    def attention_maps(self) -> Float[Tensor, "b h s s"]:
        """Attention of every token (row) to every token (column), prefix tokens first, head by head."""
        ...

    def keys(self) -> Float[Tensor, "b h n d"]:
        """Keys after any key norm."""
        ...

    def values(self) -> Float[Tensor, "b h n d"]:
        """Values, head by head."""
        ...

    def value_norms(self) -> Float[Tensor, "b n"]:
        """L2 norm of each token's value, mean over heads."""
        ...

    def relevance(self) -> Float[Tensor, "b n"] | None:
        """Label-relevant share of the area of each token's patches, in [0, 1]; None where the data set has none."""
        ...

    def gradient_times_token(self) -> Float[Tensor, "b n"]:
        """Sum over channels of token x gradient of the true label's logit; needs labels (ValueError without)."""
        ...

    def uniform(self) -> Float[Tensor, "b n"]:
        """Uniform in [0, 1), a function of (seed, image, site, position) alone, whatever the batch."""
        ...


class Pruner(nn.Module):
    """Reduces the patch tokens at a site. May have parameters.

    stochastic: the choice is a draw, so that evaluation repeats it with several seeds.
    adaptive: images may keep different numbers of tokens, those that an image lacks being padding of weight 0. In
        evaluation padding is cut off, and images of like numbers run together.
    costly: its own work (clustering, page rank) takes too long for the tokens that it saves to pay on small models.
    uses_teacher: a `loss` of its own uses a teacher where there is one.
    fixed: its parameters are made for the counts that it was trained with.
    model_rate: what the learning rate of the model's own parameters is multiplied by; 0 trains the pruner alone.
    """

    stochastic: ClassVar[bool] = False
    adaptive: ClassVar[bool] = False
    costly: ClassVar[bool] = False
    uses_teacher: ClassVar[bool] = True
    fixed: ClassVar[bool] = False
    model_rate: float = 1.0

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        """Called when the pruner is put into a model: make parameters of its sizes here.

        sites: all pruning sites, as numbered by `Signals.site`.
        """

    def loss(self, trace: "Trace", batch: "Batch", teacher: Taught | None) -> Float[Tensor, ""] | None:
        """A term that is added to the training loss of a step; None for no term.

        trace: the step's forward pass. teacher: what `train.teacher` says of the same images, None without one.
        """
        return None

    def finish(self, state: TokenState) -> TokenState:
        """The state after the last block, before the final norm: for what a pruner puts together at the end."""
        return state

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        """At most `keep` patch tokens (1 <= keep <= state.count), prefix tokens untouched.

        With keep == state.count the state is returned unchanged: keep ratio 1 is the unpruned model. An adaptive pruner
        that has begun at an earlier site may go on: an image may have fewer tokens than the bound.
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


def parted(score: Float[Tensor, "b n"], keep: int) -> tuple[Int[Tensor, "b k"], Int[Tensor, "b n-k"]]:
    """The `keep` tokens of highest score, of equals the first, in image order; and the others by falling score."""
    order = score.argsort(dim=1, descending=True, stable=True)
    return order[:, :keep].sort(dim=1).values, order[:, keep:]


def select(state: TokenState, score: Float[Tensor, "b n"], keep: int) -> TokenState:
    """The `keep` patch tokens of highest score, in image order."""
    return state.take(score.topk(keep, dim=1, sorted=False).indices.sort(dim=1).values)
