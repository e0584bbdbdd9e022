"""RandAugment (arXiv 1909.13719) in torchvision's space of 14 operations and 31 magnitudes, a draw per image.

Images of one operation and sign are changed together by torchvision's own functions.

Shapes: b images, h x h pixels.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor


class Operation(NamedTuple):
    """largest: the magnitude of 30, in the operation's own unit. signed: either sign, at even odds.

    moves: pixels change place, and the mask with them.
    """

    name: str
    largest: float = 0.0
    signed: bool = False
    moves: bool = False


OPERATIONS = (
    Operation("Identity"),
    Operation("ShearX", 0.3, signed=True, moves=True),
    Operation("ShearY", 0.3, signed=True, moves=True),
    Operation("TranslateX", 150 / 331, signed=True, moves=True),  # of the image's side
    Operation("TranslateY", 150 / 331, signed=True, moves=True),
    Operation("Rotate", 30.0, signed=True, moves=True),  # degrees
    Operation("Brightness", 0.9, signed=True),
    Operation("Color", 0.9, signed=True),
    Operation("Contrast", 0.9, signed=True),
    Operation("Sharpness", 0.9, signed=True),
    Operation("Posterize", 4.0),  # bits taken away
    Operation("Solarize", 1.0),  # how far below white the threshold lies
    Operation("AutoContrast"),
    Operation("Equalize"),
)
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
    for number, kind in enumerate(OPERATIONS):
        if kind.name == "Identity":
            continue
        chosen = operation == number
        for sign, group in ((1, chosen & ~negative), (-1, chosen & negative)) if kind.signed else ((1, chosen),):
            if not group.any():
                continue
            index = torch.from_numpy(np.flatnonzero(group)).to(images.device, non_blocking=True)
            strength = sign * float(np.interp(magnitude, range(BINS), torch.linspace(0.0, kind.largest, BINS)))
            images[index] = change(images[index], kind.name, strength)
            if mask is not None and kind.moves:
                mask[index] = change(mask[index][:, None], kind.name, strength)[:, 0]
    return images, mask


def change(images: UInt8[Tensor, "b c h h"], name: str, strength: float) -> UInt8[Tensor, "b c h h"]:
    """One operation on every image alike, as torchvision's RandAugment does it: nearest pixels, zeros outside."""
    from torchvision.transforms.v2 import functional as T

    corner = [0, 0]
    match name:
        case "ShearX":
            return T.affine(images, 0.0, [0, 0], 1.0, [math.degrees(math.atan(strength)), 0.0], center=corner)
        case "ShearY":
            return T.affine(images, 0.0, [0, 0], 1.0, [0.0, math.degrees(math.atan(strength))], center=corner)
        case "TranslateX":
            return T.affine(images, 0.0, [int(strength * images.shape[-1]), 0], 1.0, [0.0, 0.0])
        case "TranslateY":
            return T.affine(images, 0.0, [0, int(strength * images.shape[-2])], 1.0, [0.0, 0.0])
        case "Rotate":
            return T.rotate(images, strength)
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
