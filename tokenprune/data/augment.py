"""Random changes of training images: one draw per image, one tensor operation per batch.

`draw` makes all the randomness, `apply` has none, so that a batch can be checked against a loop over its images.

Shapes: b images, h x h pixels, l layers of RandAugment.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from tokenprune.data import randaugment
from tokenprune.recipe import Augment


@dataclass(frozen=True)
class Draws:
    """What happens to each image of a batch; None where the recipe asks for nothing.

    down, right: the crop's place in the padded image, 0 to 2 * padding.
    hole: row and column of the cutout's centre.
    operation, negative: RandAugment's operation of every layer, and whether its magnitude is negative. They stay on
        the CPU, which groups images by them.
    partner: which image of the batch is mixed in. weight: the share of the image's own label.
    box: CutMix's top, bottom, left, right; empty where an image is mixed by mixup or not at all.
    cut: True where the image is mixed by CutMix.
    """

    down: Int[Tensor, " b"] | None = None
    right: Int[Tensor, " b"] | None = None
    flip: Bool[Tensor, " b"] | None = None
    hole: Int[Tensor, "b 2"] | None = None
    operation: Int[np.ndarray, "l b"] | None = None
    negative: Bool[np.ndarray, "l b"] | None = None
    partner: Int[Tensor, " b"] | None = None
    weight: Float[Tensor, " b"] | None = None
    box: Int[Tensor, "b 4"] | None = None
    cut: Bool[Tensor, " b"] | None = None


def draw(spec: Augment, b: int, h: int, rng: np.random.Generator, device: torch.device | str = "cpu") -> Draws:
    """All the randomness of one batch, on the images' device."""

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(device, non_blocking=True)

    found: dict[str, Tensor | np.ndarray] = {}
    if spec.crop:
        found["down"], found["right"] = tensor(rng.integers(0, 2 * spec.crop + 1, size=(2, b)))
    if spec.flip:
        found["flip"] = tensor(rng.random(b) < 0.5)
    if spec.cutout:
        found["hole"] = tensor(rng.integers(0, h, size=(b, 2)))
    if spec.randaugment_ops:
        found["operation"] = rng.integers(0, len(randaugment.OPERATIONS), size=(spec.randaugment_ops, b))
        found["negative"] = rng.random((spec.randaugment_ops, b)) < 0.5
    if spec.mixup or spec.cutmix:
        found |= {name: tensor(values) for name, values in _draw_mix(spec, b, h, rng).items()}
    return Draws(**found)  # type: ignore[arg-type]


def _draw_mix(spec: Augment, b: int, h: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    cut = rng.random(b) < (0.5 if spec.mixup and spec.cutmix else float(bool(spec.cutmix)))
    weight = np.ones(b)
    box = np.zeros((b, 4), np.int64)
    if spec.mixup:
        weight = rng.beta(spec.mixup, spec.mixup, size=b)
    if spec.cutmix:
        share = np.sqrt(1 - rng.beta(spec.cutmix, spec.cutmix, size=b))
        centre = rng.integers(0, h, size=(b, 2))
        half = (h * share / 2).astype(np.int64)[:, None]
        low, high = (centre - half).clip(0, h), (centre + half).clip(0, h)
        box[cut] = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)[cut]
        area = (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])
        weight = np.where(cut, 1 - area / h**2, weight)
    return {"partner": rng.permutation(b), "weight": weight.astype(np.float32), "box": box, "cut": cut}


def apply(
    spec: Augment, images: UInt8[Tensor, "b 3 h h"], mask: UInt8[Tensor, "b h h"] | None, draws: Draws
) -> tuple[UInt8[Tensor, "b 3 h h"], UInt8[Tensor, "b h h"] | None]:
    """Crop (zero padding), flip, RandAugment; the mask moves with the pixels."""
    if draws.down is not None or draws.flip is not None:
        picked = _cropped(images.shape[-1], spec.crop, draws)
        images = _gather(images, spec.crop, picked)
        mask = None if mask is None else _gather(mask[:, None], spec.crop, picked)[:, 0]
    if draws.operation is not None and draws.negative is not None:
        for operation, negative in zip(draws.operation, draws.negative, strict=True):
            images, mask = randaugment.apply(images, mask, operation, negative, spec.randaugment_magnitude)
    return images, mask


def _cropped(h: int, padding: int, draws: Draws) -> Int[Tensor, "b hh"]:
    """For every pixel of the result, which pixel of the padded image it shows."""
    drawn = draws.down if draws.down is not None else draws.flip
    assert drawn is not None
    span = torch.arange(h, device=drawn.device).expand(len(drawn), h)
    rows, columns = span, span
    if draws.flip is not None:
        columns = torch.where(draws.flip[:, None], h - 1 - span, span)
    if draws.down is not None and draws.right is not None:
        rows, columns = rows + draws.down[:, None], columns + draws.right[:, None]
    return (rows[:, :, None] * (h + 2 * padding) + columns[:, None, :]).flatten(1)


def _gather(images: UInt8[Tensor, "b c h h"], padding: int, picked: Int[Tensor, "b hh"]) -> UInt8[Tensor, "b c h h"]:
    padded = F.pad(images, [padding] * 4) if padding else images
    index = picked[:, None].expand(-1, images.shape[1], -1)
    return padded.flatten(2).gather(2, index).view_as(images)


def cutout(images: Float[Tensor, "b 3 h h"], spec: Augment, draws: Draws) -> Float[Tensor, "b 3 h h"]:
    """A square about the drawn centre, cut off at the border, is set to 0: the mean, after normalisation."""
    if draws.hole is None:
        return images
    span = torch.arange(images.shape[-1], device=images.device)
    low = draws.hole - spec.cutout // 2
    row, column = ((span >= low[:, axis, None]) & (span < low[:, axis, None] + spec.cutout) for axis in (0, 1))
    return images.masked_fill((row[:, :, None] & column[:, None, :])[:, None], 0.0)


def mix(
    images: Float[Tensor, "b 3 h h"], mask: UInt8[Tensor, "b h h"] | None, draws: Draws
) -> tuple[Float[Tensor, "b 3 h h"], UInt8[Tensor, "b h h"] | None]:
    """mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899), a partner, kind and weight per image.

    A region that CutMix pastes brings its partner's mask. mixup keeps the image's own mask: with every pixel a blend,
    no pixel belongs to one label alone.
    """
    if draws.partner is None or draws.weight is None or draws.box is None or draws.cut is None:
        return images, mask
    span = torch.arange(images.shape[-1], device=images.device)
    top, bottom, left, right = draws.box.T[:, :, None]
    row, column = (span >= top) & (span < bottom), (span >= left) & (span < right)
    inside = row[:, :, None] & column[:, None, :]
    weight = torch.where(draws.cut[:, None, None], 1.0 - inside.float(), draws.weight[:, None, None])[:, None]
    mixed = torch.lerp(images[draws.partner], images, weight)
    return mixed, None if mask is None else torch.where(inside, mask[draws.partner], mask)
