"""A folder of images as a data set: a folder per class, files of any size, read with timm's evaluation transform.

Shapes: n images, s x s pixels.
"""

import contextlib
import hashlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from tokenprune import files
from tokenprune.data.archive import MOST_BYTES
from tokenprune.data.imageset import ImageSet
from tokenprune.errors import TokenpruneError, UsageError, counted, shortened
from tokenprune.recipe import Data
from tokenprune.recipe.images import PHOTOGRAPHS, TEST_FOLDERS

#: A folder beside those of the classes, with a mask for every image.
RELEVANCE = "relevance"
_SPLIT = 3  # a random stream of data.seed


@dataclass(frozen=True)
class Listed:
    """The files of a data set: paths below `root` with their labels, by part."""

    root: Path
    classes: tuple[str, ...]
    parts: dict[str, list[tuple[str, int]]]

    @property
    def sha256(self) -> str:
        """Checksum of names and bytes of all files, sorted by name; a file that cannot be read counts by its name."""
        digest = hashlib.sha256()
        for name, _ in sorted(self.parts["train"] + self.parts["test"]):
            for path in (self.root / name, _mask_of(self.root, name)):
                if path.is_file() or path == self.root / name:
                    digest.update(f"{name}\0".encode(errors="surrogateescape"))
                    with contextlib.suppress(OSError):
                        digest.update(bytes.fromhex(files.sha256(path)))
        return digest.hexdigest()


def listed(spec: Data) -> Listed:
    """The images of `data.source`: `train/CLASS/NAME.jpg` and the same below test or val; or `CLASS/NAME.jpg`.

    Of the latter `data.held_out` of each class is for tests, drawn by `data.seed`. Hidden files are left out.

    Raises TokenpruneError for a folder that cannot be read, and for one that is laid out otherwise.
    """
    root = Path(spec.source)
    try:
        folders = _folders(root)
        if "train" in folders:
            tests = [name for name in TEST_FOLDERS if name in folders]
            if not tests:
                raise TokenpruneError(f"{root}: has a folder train, and none of {', '.join(TEST_FOLDERS)}")
            classes = _folders(root / "train")
            unknown = sorted(set(_folders(root / tests[0])) - set(classes))
            if unknown:
                raise TokenpruneError(f"{root / tests[0]}: class {shortened(unknown[0])!r} is not one of training")
            parts = {
                part: [each for label, name in enumerate(classes) for each in _files(root, f"{folder}/{name}", label)]
                for part, folder in (("train", "train"), ("test", tests[0]))
            }
        else:
            classes = [name for name in folders if name != RELEVANCE]
            parts = {"train": [], "test": []}
            for label, name in enumerate(classes):
                found = _files(root, name, label)
                order = np.random.default_rng([_SPLIT, spec.stream, label]).permutation(len(found))
                held = set(order[: round(spec.held_out * len(found))].tolist())
                for i, each in enumerate(found):
                    parts["test" if i in held else "train"].append(each)
    except OSError as error:
        raise TokenpruneError(f"{error.filename or root}: cannot be read: {error.strerror}") from None
    if len(classes) < 2:
        raise TokenpruneError(f"{root}: {counted(len(classes), 'class folder')}; images lie in a folder per class")
    for part, found in parts.items():
        if not found:
            raise TokenpruneError(f"{root}: no {part} images ({', '.join(PHOTOGRAPHS)})")
    return Listed(root, tuple(classes), parts)


def read(spec: Data, chosen: Listed) -> tuple[ImageSet, ImageSet, dict[str, Any]]:
    """The images of a listing, training and test, and what could not be read: `unread`, names of files.

    Each is resized, its shorter side to `image_size / crop`, and cut to the square in its centre, as timm evaluates.
    Files are decoded by a thread per core.

    Raises UsageError without `data.image_size`, TokenpruneError where memory is too small, no image of a part can be
    read, or masks are missing.
    """
    if spec.image_size is None:
        raise UsageError("data.image_size: images of a folder need it, the side in pixels that all are brought to")
    count, side = sum(map(len, chosen.parts.values())), spec.image_size
    if count * side**2 * 3 > MOST_BYTES:
        raise TokenpruneError(
            f"{chosen.root}: {count:,} images of {side} x {side} pixels take {count * side**2 * 3 / 2**30:.0f} GiB, at "
            f"most {MOST_BYTES / 2**30:.0f} are held in memory; a smaller data.image_size, or data.train_size, helps"
        )
    masked = (chosen.root / RELEVANCE).is_dir()
    sets, unread = [], []
    for part, names in chosen.parts.items():
        pixels, mask, lost = _decoded(spec, chosen.root, [name for name, _ in names], masked)
        unread += [names[i][0] for i in lost]
        if len(lost) == len(names):
            raise TokenpruneError(f"{chosen.root}: none of its {len(names):,} {part} images can be read")
        found = ImageSet(pixels, torch.tensor([label for _, label in names]), mask)
        sets.append(found.take(torch.tensor(sorted(set(range(len(names))) - set(lost)))) if lost else found)
    return sets[0], sets[1], {"unread": unread} if unread else {}


def picture(path: Path, side: int, spec: Data) -> UInt8[np.ndarray, "s s 3"]:
    """One picture as an image of a folder is read. Raises TokenpruneError if it cannot be read."""
    found = _open(path, "RGB")
    if found is None:
        raise TokenpruneError(f"{path}: {'no image that can be read' if path.is_file() else 'no such file'}")
    resize, cut = _transform(side, spec.crop, spec.interpolation)
    return np.array(cut(resize(found)))


def _transform(side: int, crop: float, interpolation: str) -> tuple[Any, Any]:
    """timm's evaluation: the shorter side to `side / crop`, then the square in the centre."""
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    return Resize(math.floor(side / crop), InterpolationMode(interpolation)), CenterCrop(side)


def _decoded(
    spec: Data, root: Path, names: Sequence[str], masked: bool
) -> tuple[UInt8[Tensor, "n 3 s s"], UInt8[Tensor, "n s s"] | None, list[int]]:
    """Pixels and masks of the files, and the places of those that cannot be read, whose pixels are 0."""
    assert spec.image_size is not None
    side = spec.image_size
    resize, cut = _transform(side, spec.crop, spec.interpolation)
    resize_mask, _ = _transform(side, spec.crop, "nearest")
    pixels = np.zeros((len(names), 3, side, side), np.uint8)
    masks = np.zeros((len(names), side, side), np.uint8) if masked else None

    def fill(i: int) -> bool:
        image = _open(root / names[i], "RGB")
        if image is None:
            return False
        pixels[i] = np.asarray(cut(resize(image))).transpose(2, 0, 1)
        if masks is not None:
            path = _mask_of(root, names[i])
            relevant = _open(path, "L")
            if relevant is None or relevant.size != image.size:
                what = "no mask that can be read" if relevant is None else f"a mask of {relevant.size} pixels"
                raise TokenpruneError(f"{path}: {what}; {RELEVANCE}/ holds one for every image, as large")
            if 0 < np.asarray(relevant).max() < 128:
                raise TokenpruneError(f"{path}: its lightest pixel is dark; relevant pixels are white (255)")
            masks[i] = np.asarray(cut(resize_mask(relevant))) > 127
        return True

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = list(pool.map(fill, range(len(names))))
    mask = None if masks is None else torch.from_numpy(masks)
    return torch.from_numpy(pixels), mask, [i for i, done in enumerate(read) if not done]


def _open(path: Path, mode: str) -> Any:
    """A photograph upright, in that mode; None where it cannot be read."""
    from PIL import Image, ImageOps

    try:
        with files.opened(path) as file, Image.open(file) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I;16"):  # which PIL would clip to white
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return None if upright.mode in ("I", "F") else upright.convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # PIL raises all of them for damaged bytes
        return None


def _mask_of(root: Path, name: str) -> Path:
    return (root / RELEVANCE / name).with_suffix(".png")


def _folders(root: Path) -> list[str]:
    return sorted(each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))


def _files(root: Path, folder: str, label: int) -> list[tuple[str, int]]:
    """Images in a folder below `root`, by name, with their label."""
    inside = root / folder
    if not inside.is_dir():
        return []
    names = sorted(each.name for each in inside.iterdir() if each.suffix.lower() in PHOTOGRAPHS and not each.is_dir())
    return [(f"{folder}/{name}", label) for name in names if not name.startswith(".")]
