"""Slow, obvious re-implementations of the data room: one image, one pixel, one token at a time."""

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, RandAugment
from torchvision.transforms.v2 import functional as T

from tokenprune.data.augment import Draws
from tokenprune.recipe import Augment


def relevance(mask: np.ndarray, patch_size: int) -> list[list[float]]:
    """Count the marked pixels of every patch, rows of patches first."""
    shares = []
    for image in mask:
        row = []
        for top in range(0, image.shape[0], patch_size):
            for left in range(0, image.shape[1], patch_size):
                marked = 0
                for y in range(top, top + patch_size):
                    for x in range(left, left + patch_size):
                        marked += int(image[y, x] != 0)
                row.append(marked / patch_size**2)
        shares.append(row)
    return shares


def augment(spec: Augment, images: Tensor, mask: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Crop, flip and RandAugment with torchvision, image by image, the mask as a second image beside it."""
    found = []
    for i in range(len(images)):
        image, marked = images[i], mask[i][None]
        side = image.shape[-1]
        if draws.down is not None and draws.right is not None:
            image, marked = (
                T.crop(T.pad(part, [spec.crop]), int(draws.down[i]), int(draws.right[i]), side, side)
                for part in (image, marked)
            )
        if draws.flip is not None and draws.flip[i]:
            image, marked = T.horizontal_flip(image), T.horizontal_flip(marked)
        if draws.operation is not None and draws.negative is not None:
            for operation, negative in zip(draws.operation[:, i], draws.negative[:, i], strict=True):
                image, marked = rand_augment(image, marked, int(operation), bool(negative), spec.randaugment_magnitude)
        found.append((image, marked[0]))
    return torch.stack([image for image, _ in found]), torch.stack([marked for _, marked in found])


def rand_augment(
    image: Tensor, marked: Tensor, operation: int, negative: bool, magnitude: float
) -> tuple[Tensor, Tensor]:
    """torchvision's own space and application of one operation to one image."""
    reference = RandAugment()
    name = list(reference._AUGMENTATION_SPACE)[operation]
    space, signed = reference._AUGMENTATION_SPACE[name]
    magnitudes = space(31, image.shape[-2], image.shape[-1])
    strength = 0.0 if magnitudes is None else float(magnitudes[int(magnitude)])
    if signed and negative:
        strength = -strength

    def change(part: Tensor) -> Tensor:
        return reference._apply_image_or_video_transform(
            part, name, strength, InterpolationMode.NEAREST, {Tensor: None}
        )

    geometric = name.startswith(("Shear", "Translate", "Rotate"))
    return change(image), change(marked) if geometric else marked


def mixed(images: Tensor, labels: Tensor, classes: int, draws: Draws) -> tuple[Tensor, Tensor]:
    """mixup or CutMix of each image with its partner, and the soft target."""
    assert draws.partner is not None
    assert draws.weight is not None
    assert draws.box is not None
    assert draws.cut is not None
    out, targets = images.clone(), torch.zeros(len(images), classes)
    for i, partner in enumerate(draws.partner.tolist()):
        weight = float(draws.weight[i])
        if draws.cut[i]:
            top, bottom, left, right = draws.box[i].tolist()
            out[i, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
            weight = 1 - (bottom - top) * (right - left) / images.shape[-1] ** 2
        else:
            out[i] = weight * images[i] + (1 - weight) * images[partner]
        targets[i, labels[i]] += weight
        targets[i, labels[partner]] += 1 - weight
    return out, targets
