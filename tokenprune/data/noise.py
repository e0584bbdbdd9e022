"""Noise on images: on every pixel, or in place of whole tiles.

Shapes: n images, h x h pixels.
"""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from tokenprune.data.imageset import ImageSet
from tokenprune.errors import UsageError
from tokenprune.recipe import Data

PIXELS, TILES = 30, 31  # random streams of data.seed
CHUNK = 4000  # images at a time


def noisy(spec: Data, part: str, images: ImageSet) -> ImageSet:
    """Gaussian noise of standard deviation `spec.noise` (of the range 0 to 1) on every pixel, clipped to the range."""
    rng = np.random.default_rng([PIXELS, spec.stream, part == "test"])
    changed = torch.empty_like(images.images)
    for start in range(0, len(images), CHUNK):
        pixels = images.images[start : start + CHUNK].float()
        pixels += torch.from_numpy(rng.standard_normal(pixels.shape, np.float32)) * (255 * spec.noise)
        changed[start : start + CHUNK] = pixels.round_().clamp_(0, 255).to(torch.uint8)
    return ImageSet(changed, images.labels, images.mask, images.groups)


def with_noise_tokens(spec: Data, part: str, images: ImageSet) -> ImageSet:
    """In each image the same number of tiles, chosen at random, replaced by uniform noise; those are not relevant.

    round(noise_tokens x tiles) tiles of noise_tile pixels' side. Where relevance was not known, all other tiles are
    relevant: alpha_* is then exactly 1 minus the share replaced. Raises UsageError if tiles do not fill the image.
    """
    side, tile = images.images.shape[-1], spec.noise_tile
    if side % tile:
        raise UsageError(f"data.noise_tile: {tile} does not divide the image side {side}")
    rng = np.random.default_rng([TILES, spec.stream, part == "test"])
    replaced = _tiles(len(images), side // tile, spec.noise_tokens, rng)
    hidden = replaced.repeat_interleave(tile, dim=1).repeat_interleave(tile, dim=2)
    changed = images.images.clone()
    for start in range(0, len(images), CHUNK):
        where = hidden[start : start + CHUNK, None].expand(-1, 3, -1, -1)
        changed[start : start + CHUNK][where] = torch.from_numpy(rng.integers(0, 256, int(where.sum()), np.uint8))
    mask = torch.ones_like(images.images[:, 0]) if images.mask is None else images.mask.clone()
    mask[hidden] = 0
    return ImageSet(changed, images.labels, mask, images.groups)


def _tiles(n: int, across: int, share: float, rng: np.random.Generator) -> Bool[Tensor, "n y x"]:
    """True for the tiles to replace: as many in every image, each choice as likely."""
    rank = rng.random((n, across * across)).argsort(axis=1).argsort(axis=1)
    return torch.from_numpy(rank < round(share * across * across)).view(n, across, across)
