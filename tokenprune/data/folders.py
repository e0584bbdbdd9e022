"""A folder of images as a data set: a folder per class, files of any size.

Shapes: n images, c channels, s x s pixels.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from tokenprune import files, hardware
from tokenprune.data import store
from tokenprune.data.archive import MOST_BYTES
from tokenprune.data.decode import RELEVANCE, decoded, mask_of
from tokenprune.data.imageset import ImageSet
from tokenprune.errors import TokenpruneError, UsageError, counted, printable, shortened
from tokenprune.images import data_folder
from tokenprune.recipe import Data
from tokenprune.recipe.images import PHOTOGRAPHS, TEST_FOLDERS

_SPLIT = 3  # a random stream of data.seed
_DECODER = 1  # another where the same files give other pixels


@dataclass(frozen=True)
class Listed:
    """The files of a data set: paths below `root` with their labels, by part; and names of what is not read there."""

    root: Path
    classes: tuple[str, ...]
    parts: dict[str, list[tuple[str, int]]]
    passed: tuple[str, ...] = ()

    def sha256(self) -> str:
        """Checksum of names and bytes of all files, sorted by name; a file that cannot be read counts by its name."""
        digest = hashlib.sha256()
        for name, _ in sorted(self.parts["train"] + self.parts["test"]):
            for path in (self.root / name, mask_of(self.root, name)):
                if path.is_file() or path == self.root / name:
                    digest.update(f"{name}\0".encode(errors="surrogateescape"))
                    with contextlib.suppress(OSError):
                        digest.update(bytes.fromhex(files.checksum(path)))
        return digest.hexdigest()

    def of_classes(self, kept: Sequence[int]) -> "Listed":
        """The files of those labels alone, labelled by their place in `kept`."""
        place = {label: i for i, label in enumerate(kept)}
        parts = {
            part: [(name, place[label]) for name, label in found if label in place]
            for part, found in self.parts.items()
        }
        return Listed(self.root, tuple(self.classes[label] for label in kept), parts, self.passed)


def listed(spec: Data) -> Listed:
    """The images of `data.source`: `train/CLASS/NAME.jpg` and the same below test or val; or `CLASS/NAME.jpg`.

    Of the latter `data.held_out` of each class is for tests, drawn by `data.seed`. Hidden files are left out.

    Raises TokenpruneError for a folder that cannot be read, and for one that is laid out otherwise.
    """
    root, passed = Path(spec.source), list[str]()
    try:
        folders = _folders(root, passed)
        lone = [name for name in TEST_FOLDERS if name in folders and "train" not in folders]
        if lone and folders == lone:
            raise TokenpruneError(
                f"{root}: has a folder {lone[0]} and none of training images; {root / lone[0]} itself is a data set, "
                "of which data.held_out (a fifth) of each class is for tests"
            )
        if "train" in folders:
            tests = [name for name in TEST_FOLDERS if name in folders]
            if not tests:
                raise TokenpruneError(f"{root}: has a folder train, and none of {', '.join(TEST_FOLDERS)}")
            classes = _folders(root / "train", passed)
            unknown = sorted(set(_folders(root / tests[0], passed)) - set(classes))
            if unknown:
                raise TokenpruneError(f"{root / tests[0]}: class {shortened(unknown[0])!r} is not one of training")
            parts = {
                part: [
                    each
                    for label, name in enumerate(classes)
                    for each in _files(root, f"{folder}/{name}", label, passed)
                ]
                for part, folder in (("train", "train"), ("test", tests[0]))
            }
        else:
            classes = [name for name in folders if name != RELEVANCE]
            parts = {"train": [], "test": []}
            for label, name in enumerate(classes):
                found = _files(root, name, label, passed)
                order = np.random.default_rng([_SPLIT, spec.stream, label]).permutation(len(found))
                held = set(order[: round(spec.held_out * len(found))].tolist())
                for i, each in enumerate(found):
                    parts["test" if i in held else "train"].append(each)
    except OSError as error:
        relative = "" if root.is_absolute() else f" (a path from {Path.cwd()})"
        raise TokenpruneError(f"{error.filename or root}: cannot be read{relative}: {error.strerror}") from None
    for name in classes:
        if not printable(name):
            raise TokenpruneError(f"{root}: class folder {name!a}: a name that is not UTF-8")
    if len(classes) < 2:
        raise TokenpruneError(f"{root}: {counted(len(classes), 'class folder')}; images lie in a folder per class")
    for part, found in parts.items():
        if not found:
            raise TokenpruneError(f"{root}: no {part} images ({', '.join(PHOTOGRAPHS)})")
    names = sorted(str(Path(name).relative_to(root)) for name in passed)
    return Listed(root, tuple(classes), parts, tuple(name if printable(name) else ascii(name) for name in names))


def read(
    spec: Data, chosen: Listed, sha256: str, data_dir: Path | None, say: Callable[[str], None]
) -> tuple[ImageSet, ImageSet, dict[str, Any]]:
    """The images of a listing, training and test, and what could not be read: `unread`, names of files.

    Each is resized, its shorter side to `image_size / crop`, and cut to the square in its centre, as timm evaluates.
    Where all together take more than half of the memory that is available, or MOST_BYTES, they are decoded into a store
    in the data folder and mapped; pixels are the same. sha256: the listing's.

    Raises UsageError without `data.image_size`, and for a scene or noise on images that memory cannot hold;
    TokenpruneError where the disk is too small for a store, no image of a part can be read, or masks are missing.
    """
    if spec.image_size is None:
        raise UsageError("data.image_size: images of a folder need it, the side in pixels that all are brought to")
    count, side, masked = sum(map(len, chosen.parts.values())), spec.image_size, (chosen.root / RELEVANCE).is_dir()
    shape = (4 if masked else 3, side, side)
    names = {part: [name for name, _ in found] for part, found in chosen.parts.items()}
    for part, inside in names.items():
        if not inside:
            raise TokenpruneError(f"{chosen.root}: no {part} images of the classes that data.exclude leaves")
    parts = {
        part: store.Undecoded(inside, partial(decoded, spec, side, chosen.root, inside, masked))
        for part, inside in names.items()
    }
    size, most = count * int(np.prod(shape)), min(MOST_BYTES, hardware.available_memory() // 2)
    if size <= most:
        rows = {part: store.in_memory(shape, each) for part, each in parts.items()}
    elif spec.scene != "plain" or spec.noise or spec.noise_tokens:
        raise UsageError(
            f"data.scene, data.noise: made in memory, which holds {most / 2**30:.1f} GiB of images, and these "
            f"{count:,} take {size / 2**30:.1f}; a smaller data.image_size, or data.train_size, helps"
        )
    else:
        folder = data_folder(data_dir) / "decoded" / _key(spec, names, shape, sha256)
        rows = store.on_disk(folder, shape, parts, lambda: chosen.sha256() == sha256, say)
    sets = {part: _labelled(chosen, part, found, mapped=size > most) for part, found in rows.items()}
    unread = [names[part][i] for part, found in rows.items() for i in found.unread]
    return sets["train"], sets["test"], {"unread": unread} if unread else {}


def _labelled(chosen: Listed, part: str, rows: store.Rows, mapped: bool) -> ImageSet:
    """Those that could be read, with their labels."""
    names, lost = chosen.parts[part], set(rows.unread)
    if len(lost) == len(names):
        raise TokenpruneError(f"{chosen.root}: none of its {len(names):,} {part} images can be read")
    labels = torch.tensor([label for i, (_, label) in enumerate(names) if i not in lost])
    mask = rows.pixels[:, 3] if rows.pixels.shape[1] == 4 else None
    return ImageSet(rows.pixels[:, :3], labels, mask, mapped=mapped)


def _key(spec: Data, names: dict[str, list[str]], shape: tuple[int, int, int], sha256: str) -> str:
    """Names a store by everything that decides its bytes."""
    decided = [_DECODER, sha256, names, shape, spec.crop, spec.interpolation, PIL.__version__]
    return hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:32]


def _folders(folder: Path, passed: list[str]) -> list[str]:
    """Names of the folders in one, hidden ones aside; the files beside them are added to `passed`."""
    inside = [each for each in folder.iterdir() if not each.name.startswith(".")]
    passed += [str(each) for each in inside if not each.is_dir()]
    return sorted(each.name for each in inside if each.is_dir())


def _files(root: Path, folder: str, label: int, passed: list[str]) -> list[tuple[str, int]]:
    """Images in a folder below `root`, by name, with their label; what else lies there is added to `passed`."""
    found = []
    for each in (root / folder).iterdir() if (root / folder).is_dir() else ():
        if each.suffix.lower() in PHOTOGRAPHS and not each.is_dir() and not each.name.startswith("."):
            found.append((f"{folder}/{each.name}", label))
        elif not each.name.startswith("."):
            passed.append(str(each))
    return sorted(found)
