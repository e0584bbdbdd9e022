"""Images, labels and which pixels are label-relevant, as uint8 tensors on one device.

Shapes: n images, 3 channels, h x w pixels, t patches, s patch side.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

_CHUNK = 1000  # images at a time


@dataclass(frozen=True)
class ImageSet:
    """images: uint8. labels: int64. mask: 1 where a pixel is label-relevant, 0 elsewhere; None if not known.

    The mask, not the tokens' relevance, is what is stored: it does not depend on the patch size, and it follows
    crops and flips exactly. `groups` names a sub-population per image (spurious scenes), None elsewhere.

    Images and mask may lie elsewhere than labels: on the CPU where the GPU has no room for them, and, `mapped`, in a
    file. Batches are on the device of the labels.
    """

    images: UInt8[Tensor, "n 3 h w"]
    labels: Int[Tensor, " n"]
    mask: UInt8[Tensor, "n h w"] | None = None
    groups: Int[Tensor, " n"] | None = None
    mapped: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        return self.labels.device

    @property
    def nbytes(self) -> int:
        """Bytes held in memory: none of a mapped file."""
        held = [self.labels] if self.mapped else [self.labels, self.images, self.mask]
        return sum(part.nbytes for part in held if part is not None)

    def to(self, device: torch.device, whole: bool = True) -> "ImageSet":
        """On that device; unless `whole`, images and mask stay where they are."""
        if whole:
            return self._each(lambda part: part.to(device))
        groups = None if self.groups is None else self.groups.to(device)
        return replace(self, labels=self.labels.to(device), groups=groups)

    def take(self, index: Int[Tensor, " m"]) -> "ImageSet":
        """Those images, on the device of the labels. index: where the images lie, so that nothing waits for a GPU."""
        return self._each(lambda part: part.index_select(0, index.to(part.device)).to(self.device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "ImageSet":
        mask, groups = (None if part is None else change(part) for part in (self.mask, self.groups))
        return ImageSet(change(self.images), change(self.labels), mask, groups)

    def of_classes(self, kept: Sequence[int]) -> "ImageSet":
        """The images of those labels alone, labelled by their place in `kept`."""
        place = torch.full((1 + max([*kept, *self.labels.unique().tolist()]),), -1)
        place[list(kept)] = torch.arange(len(kept))
        chosen = self.take((place[self.labels] >= 0).nonzero().flatten())
        return replace(chosen, labels=place[chosen.labels])

    def relabelled(self, label: Sequence[int]) -> "ImageSet":
        """The same images; each has the label that stands in the place of its own."""
        return replace(self, labels=torch.tensor(label)[self.labels])

    def relevance(self, patch_size: int) -> Float[Tensor, "n t"] | None:
        """Computed a few images at a time: a mask may be larger than memory."""
        if self.mask is None:
            return None
        return torch.cat([relevance(part, patch_size) for part in self.mask.split(_CHUNK)]).to(self.device)


@dataclass(frozen=True)
class Dataset:
    """Training and test images of one source and scene.

    mean, std: what each channel is normalised by, for pixels in [0, 1]; `load` gives those of the training images.
    provenance: of the bytes: source, path, sha256, `official` (True, False or None = unknown), `note`.
    group_names: names of ImageSet.groups.
    image_size, interpolation: side that batches are brought to, None for that of the images. tiles: where in a square
    grid each tile of what a model sees comes from, None for its own place.
    """

    train: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    provenance: dict[str, Any] = field(default_factory=dict)
    group_names: tuple[str, ...] = ()
    image_size: int | None = None
    interpolation: str = "bicubic"
    tiles: Int[Tensor, " k"] | None = None

    @property
    def side(self) -> int:
        """Side of the images that a model sees, pixels."""
        return self.image_size or self.train.images.shape[-1]

    def presented(
        self, images: UInt8[Tensor, "b 3 h h"], mask: UInt8[Tensor, "b h h"] | None
    ) -> tuple[UInt8[Tensor, "b 3 s s"], Shaped[Tensor, "b s s"] | None]:
        """Images and masks as a model sees them: brought to `side`, then their tiles in other places.

        Resized as torchvision does uint8, antialiased; of a resized mask each pixel is the relevant share of its area.
        """
        side = [self.side, self.side]
        if images.shape[-2:] != (self.side, self.side):
            from torchvision.transforms.v2 import InterpolationMode, functional

            images = functional.resize(images, side, InterpolationMode(self.interpolation), antialias=True)
            mask = None if mask is None else shares(mask, self.side)
        if self.tiles is None:
            return images, mask
        return shuffled(images, self.tiles), None if mask is None else shuffled(mask, self.tiles)

    def to(self, device: torch.device | str, room: int | None = None) -> "Dataset":
        """On that device; images that take more than `room` bytes stay where they are, and batches are moved."""
        device, here = torch.device(device), self.train.device
        if device.type == here.type and device.index in (None, here.index):
            return self
        pixels = [part for each in (self.train, self.test) for part in (each.images, each.mask) if part is not None]
        whole = room is None or sum(part.nbytes for part in pixels) <= room
        return replace(self, train=self.train.to(device, whole), test=self.test.to(device, whole))


def shuffled(images: Shaped[Tensor, "*b s s"], tiles: Int[Tensor, " k"]) -> Shaped[Tensor, "*b s s"]:
    """Images whose tile i, row by row in a square grid, is their tile `tiles[i]`."""
    grid = math.isqrt(len(tiles))
    cut = images.unflatten(-1, (grid, -1)).unflatten(-3, (grid, -1)).movedim(-2, -3)  # [*b, row, column, y, x]
    moved = cut.flatten(-4, -3).index_select(-3, tiles.to(images.device)).unflatten(-3, (grid, grid))
    return moved.movedim(-3, -2).flatten(-4, -3).flatten(-2, -1)


def shares(mask: UInt8[Tensor, "b h h"], side: int) -> Float[Tensor, "b s s"]:
    """The mean of a mask over the area of each of so many pixels a side."""
    h = mask.shape[-1]
    edge = torch.arange(side + 1, dtype=torch.float64) * h / side
    pixel = torch.arange(h, dtype=torch.float64)
    inside = (torch.minimum(edge[1:, None], pixel + 1) - torch.maximum(edge[:-1, None], pixel)).clamp(min=0)
    weight = (inside * side / h).float().to(mask.device)
    return weight @ mask.float() @ weight.T


def relevance(mask: Shaped[Tensor, "n h w"], patch_size: int) -> Float[Tensor, "n t"]:
    """Label-relevant share of each patch's area, patches row by row. Raises ValueError if patches do not tile."""
    n, height, width = mask.shape
    if height % patch_size or width % patch_size:
        raise ValueError(f"patches of side {patch_size} do not tile an image of {height} x {width} pixels")
    tiles = mask.float().view(n, height // patch_size, patch_size, width // patch_size, patch_size)
    return (tiles.sum(dim=4).sum(dim=2) / patch_size**2).flatten(1)  # counts below 2^24 are exact in float32
