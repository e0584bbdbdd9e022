"""Run a convolutional network through the interface of `SparseViT`: the places of its maps are tokens, none is pruned.

Shapes: b images, n places of a map, c channels.
"""

from collections.abc import Collection
from typing import Any, cast

import torch
from jaxtyping import Float
from timm.models import VisionTransformer
from torch import Tensor, nn

from tokenprune.errors import UsageError
from tokenprune.models.alternet import AlterNet, AttentionBlock, ConvBlock, maps_of, tokens_of
from tokenprune.models.signals import BatchInfo
from tokenprune.models.sparse import SparseViT, Trace
from tokenprune.pruners.base import Pruner, Shape, TokenState
from tokenprune.recipe import Keep, Schedule


def runnable(
    vit: VisionTransformer | AlterNet,
    pruner: Pruner | None = None,
    schedule: Schedule | None = None,
    keep: Keep = 1.0,
) -> SparseViT:
    """The model with its pruner. Raises UsageError as `SparseViT` does, and for a pruner in a convolutional network."""
    if isinstance(vit, AlterNet) and pruner is None:
        return SparseMaps(vit)
    return SparseViT(cast(VisionTransformer, vit), pruner, schedule, keep)


class SparseMaps(SparseViT):
    """A convolutional network. Cursors count blocks; the tokens of a state are the places of its maps."""

    attends = False
    per_block = 1

    def __init__(self, vit: AlterNet) -> None:
        nn.Module.__init__(self)
        self.vit = cast(VisionTransformer, vit)
        self.pruner = None
        self.schedule = Schedule("before", (0,))

    @property
    def net(self) -> AlterNet:
        return cast(AlterNet, self.vit)

    @property
    def shape(self) -> Shape:
        raise UsageError("a convolutional network has no tokens to prune, nor heads on them")

    @property
    def parts(self) -> tuple[str, ...]:
        return ("stem", *(block.kind for block in self._blocks))

    @property
    def _blocks(self) -> list[ConvBlock | AttentionBlock]:
        return cast(list[ConvBlock | AttentionBlock], list(self.net.blocks))

    def run(
        self, images: Float[Tensor, "b 3 y x"], keep: Keep = 1.0, info: BatchInfo | None = None, whole: bool = False
    ) -> Trace:
        """As of `SparseViT`; features: the last maps, normalised."""
        normalised = self.net.norm(self.net.forward_features(images))
        return Trace(self.net.classify(normalised), (), (), tokens_of(normalised))

    def embed(self, images: Float[Tensor, "b 3 y x"]) -> TokenState:
        """Places of the first convolution's maps."""
        return _state(self.net.patch_embed(images))

    def advance(self, state: TokenState, start: int, stop: int, skip: Collection[int] = ()) -> TokenState:
        """The state at block `stop` from the one at block `start`. skip: blocks that add nothing to their maps."""
        maps = maps_of(state.tokens)
        for i in range(start, stop):
            maps = self._blocks[i](maps, skip=i in skip)
        return _state(maps)

    def head(self, state: TokenState) -> Float[Tensor, "b classes"]:
        return self.net.forward_head(maps_of(state.tokens))

    def watch(self, images: Float[Tensor, "b 3 y x"]) -> Any:
        raise UsageError("a convolutional network has no attention of all tokens to all")


def _state(maps: Float[Tensor, "b c y x"]) -> TokenState:
    tokens = tokens_of(maps)
    owner = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape[:2])
    return TokenState(tokens, 0, owner)
