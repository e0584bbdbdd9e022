"""Photographs pasted onto backgrounds, so that it is known which pixels are label-relevant.

Placements and backgrounds are drawn from the data's seed once per image, for training and test apart.

Shapes: n images, h x h pixels, s side of the shrunk image.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from tokenprune import files
from tokenprune.data.archive import Arrays
from tokenprune.data.imageset import ImageSet
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.recipe import Data
from tokenprune.recipe.images import PHOTOGRAPHS

#: CIFAR-100's coarse classes flowers, fruit_and_vegetables and trees, with their official labels.
PLANTS = {
    "orchid": 54,
    "poppy": 62,
    "rose": 70,
    "sunflower": 82,
    "tulip": 92,
    "apple": 0,
    "mushroom": 51,
    "orange": 53,
    "pear": 57,
    "sweet_pepper": 83,
    "maple_tree": 47,
    "oak_tree": 52,
    "palm_tree": 56,
    "pine_tree": 59,
    "willow_tree": 96,
}
#: CIFAR-100's large_natural_outdoor_scenes without `forest`, which is plants.
SCENERY = {"cloud": 23, "mountain": 49, "plain": 60, "sea": 71}
GROUPS = ("airplane, scenery", "airplane, plants", "bird, scenery", "bird, plants")
COMPOSITE, SPURIOUS = 20, 21  # random streams of data.seed
ZOOM = 4  # a folder's photographs are enlarged at most so much
CHUNK = 4000  # images resized at a time


def staged(
    spec: Data, train: ImageSet, test: ImageSet, photographs: Arrays | None
) -> tuple[ImageSet, ImageSet, tuple[str, ...]]:
    """Every image shrunk and pasted at a uniformly random place onto a background of its own size; the groups' names.

    The mask is the pasted square: foreground_size^2 of h^2 pixels are label-relevant.
    photographs: CIFAR-100 for background `plants`: its training images behind training images, its test images
    behind test images. Of an image folder with five photographs or more, every fifth is for test images only.

    In scene `spurious` some of the birds and airplanes get plants, the others other scenery: CIFAR-100's clouds,
    mountains, plains and seas. In training, spurious_train of the birds and 1 - spurious_train of the airplanes get
    plants; in test, half of each. The counts are exact, rounded to whole images. Groups are
    2 * label + (plants behind), named GROUPS.

    Raises TokenpruneError if a folder cannot be used.
    """
    found = []
    stream = SPURIOUS if spec.scene == "spurious" else COMPOSITE
    for images, part in ((train, "train"), (test, "test")):
        rng = np.random.default_rng([stream, spec.stream, part == "test"])
        n, side, groups = len(images), images.images.shape[-1], None
        top, left = places(n, side, spec.foreground_size, rng)
        if spec.scene == "spurious":
            assert photographs is not None
            birds = spec.spurious_train if part == "train" else 0.5
            plants = _exact_shares(images.labels, (1 - birds, birds), rng)
            groups, background = 2 * images.labels + plants.long(), torch.empty_like(images.images)
            for kind, where in ((PLANTS, plants), (SCENERY, ~plants)):
                background[where] = _photographs(photographs, part, kind, int(where.sum()), side, rng)
        else:
            background = _background(spec, part, n, side, photographs, rng)
        mask = paste(images.images, background, top, left, spec.foreground_size)
        found.append(ImageSet(background, images.labels, mask, groups))
    return found[0], found[1], GROUPS if spec.scene == "spurious" else ()


def places(n: int, side: int, foreground: int, rng: np.random.Generator) -> Int[np.ndarray, "2 n"]:
    """Row and column of each shrunk image's upper left pixel."""
    return rng.integers(0, side - foreground + 1, size=(2, n))


def birds_and_airplanes(classes: Sequence[str], source: str) -> tuple[int, int]:
    """The labels of airplanes (0 from here on) and birds (1) of a data set. Raises UsageError if it has none."""
    if not {"airplane", "bird"} <= set(classes):
        raise UsageError(f"data.scene: spurious takes birds and airplanes, which {source} does not have; cifar10 does")
    return classes.index("airplane"), classes.index("bird")


def paste(
    images: UInt8[Tensor, "n 3 h h"],
    background: UInt8[Tensor, "n 3 h h"],
    top: Int[np.ndarray, " n"],
    left: Int[np.ndarray, " n"],
    size: int,
) -> UInt8[Tensor, "n h h"]:
    """Shrink the images and put them onto the background, which is overwritten; returns the pasted squares' mask."""
    mask = torch.zeros_like(background[:, 0])
    canvas, marked = background.numpy(), mask.numpy()
    for start in range(0, len(images), CHUNK):
        small = resized(images[start : start + CHUNK], size).numpy()
        for i, image in enumerate(small, start):
            rows, columns = slice(top[i], top[i] + size), slice(left[i], left[i] + size)
            canvas[i, :, rows, columns] = image
            marked[i, rows, columns] = 1
    return mask


def resized(images: UInt8[Tensor, "n 3 h h"], size: int) -> UInt8[Tensor, "n 3 s s"]:
    """Antialiased bilinear, rounded to the nearest level."""
    if images.shape[-1] == size:
        return images
    pixels = F.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
    return pixels.round_().clamp_(0, 255).to(torch.uint8)


def _background(
    spec: Data, part: str, n: int, side: int, photographs: Arrays | None, rng: np.random.Generator
) -> UInt8[Tensor, "n 3 h h"]:
    if spec.background == "plants":
        assert photographs is not None
        return _photographs(photographs, part, PLANTS, n, side, rng)
    if spec.background == "zeros":
        return torch.zeros(n, 3, side, side, dtype=torch.uint8)
    if spec.background == "noise":
        return torch.from_numpy(rng.integers(0, 256, size=(n, 3, side, side), dtype=np.uint8))
    return _crops(Path(spec.background), part, n, side, rng)


def _photographs(
    arrays: Arrays, part: str, kinds: dict[str, int], n: int, side: int, rng: np.random.Generator
) -> UInt8[Tensor, "n 3 h h"]:
    """n photographs of those CIFAR-100 classes, drawn with replacement, at the wanted size."""
    images, labels = (
        (arrays.train_images, arrays.train_labels) if part == "train" else (arrays.test_images, arrays.test_labels)
    )
    known = [arrays.classes.index(name) for name in kinds if name in arrays.classes] or list(kinds.values())
    candidates = np.flatnonzero(np.isin(labels, known))
    if not len(candidates):
        raise TokenpruneError(
            f"background plants: the {part} images of cifar100.npz show none of {', '.join(kinds)}; for scene "
            "composite, --set data.background=zeros or noise needs none"
        )
    pool = resized(torch.from_numpy(images[candidates]).permute(0, 3, 1, 2).contiguous(), side)
    return pool[torch.from_numpy(rng.integers(0, len(candidates), size=n))]


def _crops(folder: Path, part: str, n: int, side: int, rng: np.random.Generator) -> UInt8[Tensor, "n 3 h h"]:
    """Random square crops of a folder's photographs, from all of the short side down to a quarter of it."""
    from PIL import Image, UnidentifiedImageError

    paths = _split(_photographs_in(folder), part)
    which = rng.integers(0, len(paths), size=n)
    zoom, x, y = rng.random((3, n))
    crops = np.empty((n, side, side, 3), np.uint8)
    for number, path in enumerate(paths):
        try:
            with files.opened(path) as file, Image.open(file) as opened:
                photograph = opened.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            why = "unknown format" if isinstance(error, UnidentifiedImageError) else error
            raise TokenpruneError(f"{path}: background cannot be read as an image: {why}") from None
        short = min(photograph.size)
        if short > ZOOM * side:  # no crop needs more pixels than this
            photograph = photograph.resize([round(edge * ZOOM * side / short) for edge in photograph.size])
        width, height = photograph.size
        for i in np.flatnonzero(which == number):
            edge = min(width, height) * (1 / ZOOM + zoom[i] * (1 - 1 / ZOOM))
            left, top = x[i] * (width - edge), y[i] * (height - edge)
            box = (left, top, left + edge, top + edge)
            crops[i] = np.asarray(photograph.resize((side, side), Image.Resampling.BILINEAR, box=box))
    return torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()


def folder_provenance(folder: Path) -> dict[str, Any]:
    """Provenance of a folder of photographs: its name, and one sha256 over the bytes of all, in the order of names.

    Raises TokenpruneError if the folder cannot be used or a photograph cannot be read.
    """
    digest = hashlib.sha256()
    for path in _photographs_in(folder):
        try:
            digest.update(bytes.fromhex(files.sha256(path)))
        except OSError as error:
            raise TokenpruneError(f"{path}: background cannot be read: {error.strerror}") from None
    return {"source": "folder", "path": folder.name, "sha256": digest.hexdigest()}


def _photographs_in(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTOGRAPHS and path.is_file())
    except OSError as error:
        raise TokenpruneError(
            f"data.background: {str(folder)!r} is no folder of images ({error.strerror}); use plants, zeros, noise, or "
            "a folder"
        ) from None
    paths = [path for path in paths if not path.name.startswith(".")]  # macOS keeps metadata of A.JPG in ._A.JPG
    if not paths:
        raise TokenpruneError(f"data.background: no images ({', '.join(PHOTOGRAPHS)}) in {folder}")
    return paths


def _split(paths: list[Path], part: str) -> list[Path]:
    if len(paths) < 5:
        return paths
    return [path for i, path in enumerate(paths) if (i % 5 == 4) == (part == "test")]


def _exact_shares(labels: Int[Tensor, " n"], shares: Iterable[float], rng: np.random.Generator) -> Bool[Tensor, " n"]:
    """True for that share of each label's images, rounded to whole images, chosen at random."""
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label, share in enumerate(shares):
        of_label = torch.from_numpy(rng.permutation((labels == label).nonzero().flatten().numpy()))
        chosen[of_label[: round(share * len(of_label))]] = True
    return chosen
