"""RandAugment (arXiv 1909.13719) in torchvision's space of 14 operations and 31 magnitudes, a draw per image.

Geometric operations are one resampling of all images concerned and their masks, with a matrix for each; colour
operations are torchvision's own functions, applied to all images of one operation and sign at once.

Shapes: b images, h x h pixels, c channels.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


class Operation(NamedTuple):
    """largest: the magnitude of the last bin, in the operation's own unit. signed: either sign, at even odds."""

    name: str
    largest: float = 0.0
    signed: bool = False


MOVING = (
    Operation("ShearX", 0.3, signed=True),
    Operation("ShearY", 0.3, signed=True),
    Operation("TranslateX", 150 / 331, signed=True),  # of the image's side
    Operation("TranslateY", 150 / 331, signed=True),
    Operation("Rotate", 30.0, signed=True),  # degrees
)
COLOUR = (
    Operation("Brightness", 0.9, signed=True),
    Operation("Color", 0.9, signed=True),
    Operation("Contrast", 0.9, signed=True),
    Operation("Sharpness", 0.9, signed=True),
    Operation("Posterize", 4.0),  # bits taken away
    Operation("Solarize", 1.0),  # how far below white the threshold lies
    Operation("AutoContrast"),
    Operation("Equalize"),
)
OPERATIONS = (Operation("Identity"), *MOVING, *COLOUR)
BINS = 31


def apply(
    images: UInt8[Tensor, "b 3 h h"],
    mask: UInt8[Tensor, "b h h"] | None,
    operation: Int[np.ndarray, " b"],
    negative: Bool[np.ndarray, " b"],
    magnitude: float,
) -> tuple[UInt8[Tensor, "b 3 h h"], UInt8[Tensor, "b h h"] | None]:
    """One layer: image i undergoes OPERATIONS[operation[i]], with a negative magnitude where that is signed."""
    images, mask = images.clone(), None if mask is None else mask.clone()

    def where(chosen: Bool[np.ndarray, " b"]) -> Int[Tensor, " k"]:
        return torch.from_numpy(np.flatnonzero(chosen)).to(images.device, non_blocking=True)

    moved = (operation >= 1) & (operation <= len(MOVING))
    if moved.any():
        strengths = np.array([strength_of(OPERATIONS[number], magnitude) for number in operation[moved]])
        strengths[negative[moved]] *= -1
        matrices = inverse_matrices(operation[moved], strengths, images.shape[-1])
        index, theta = where(moved), torch.from_numpy(matrices).to(images.device, non_blocking=True)
        images[index] = resample(images[index], theta)
        if mask is not None:
            mask[index] = resample(mask[index][:, None], theta)[:, 0]
    for number, kind in enumerate(COLOUR, 1 + len(MOVING)):
        chosen, strength = operation == number, strength_of(kind, magnitude)
        signs = ((1, chosen & ~negative), (-1, chosen & negative)) if kind.signed else ((1, chosen),)
        for sign, group in signs:
            if group.any():
                index = where(group)
                images[index] = recolour(images[index], kind.name, sign * strength)
    return images, mask


@cache
def strength_of(kind: Operation, magnitude: float) -> float:
    """The magnitude, 0 to 30, in the operation's unit; between torchvision's float32 bins linear."""
    return float(np.interp(magnitude, np.arange(BINS), torch.linspace(0.0, kind.largest, BINS).numpy()))


def inverse_matrices(
    operation: Int[np.ndarray, " b"], strength: Float[np.ndarray, " b"], h: int
) -> Float[np.ndarray, "b 2 3"]:
    """Where each pixel of the result comes from, in pixels from the centre: source = matrix @ (x, y, 1).

    Shears hold the upper left corner still, rotations the centre; translations are by whole pixels.
    """
    name = np.array([kind.name for kind in OPERATIONS])[operation]
    shift = np.trunc(strength * h)
    angle = np.radians(np.where(name == "Rotate", strength, 0.0))
    matrix = np.zeros((len(operation), 2, 3))
    matrix[:, 0, 0] = matrix[:, 1, 1] = np.cos(angle)
    matrix[:, 0, 1] = np.where(name == "ShearX", strength, -np.sin(angle))
    matrix[:, 1, 0] = np.where(name == "ShearY", strength, np.sin(angle))
    matrix[:, 0, 2] = np.select([name == "ShearX", name == "TranslateX"], [strength * h / 2, -shift], 0.0)
    matrix[:, 1, 2] = np.select([name == "ShearY", name == "TranslateY"], [strength * h / 2, -shift], 0.0)
    return matrix.astype(np.float32)


def resample(images: UInt8[Tensor, "b c h h"], matrices: Float[Tensor, "b 2 3"]) -> UInt8[Tensor, "b c h h"]:
    """The nearest pixel, zero outside."""
    h = images.shape[-1]
    centred = torch.arange(h, device=images.device) - (h - 1) / 2
    y, x = torch.meshgrid(centred, centred, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(1, h * h, 3)
    grid = (places @ (matrices / (h / 2)).transpose(1, 2)).view(-1, h, h, 2)
    return F.grid_sample(images.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False).to(
        torch.uint8
    )


def recolour(images: UInt8[Tensor, "b 3 h h"], name: str, strength: float) -> UInt8[Tensor, "b 3 h h"]:
    """One colour operation on every image alike."""
    from torchvision.transforms.v2 import functional as T

    match name:
        case "Brightness":
            return T.adjust_brightness(images, 1 + strength)
        case "Color":
            return T.adjust_saturation(images, 1 + strength)
        case "Contrast":
            return T.adjust_contrast(images, 1 + strength)
        case "Sharpness":
            return T.adjust_sharpness(images, 1 + strength)
        case "Posterize":
            return T.posterize(images, 8 - round(strength))
        case "Solarize":
            return T.solarize(images, 255 * (1 - strength))
        case "AutoContrast":
            return T.autocontrast(images)
        case "Equalize":
            return T.equalize(images)
    raise ValueError(f"unknown operation {name!r}")
