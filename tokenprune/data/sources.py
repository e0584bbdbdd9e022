"""Sources of images: made here, a prepared .npz, torchvision's files, a download."""

import contextlib
import hashlib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from tokenprune import files
from tokenprune.data import folders, noise, patterns, scene
from tokenprune.data.archive import Arrays, read_npz
from tokenprune.data.classes import kept, outputs
from tokenprune.data.imageset import Dataset, ImageSet
from tokenprune.errors import TokenpruneError, UsageError, unknown
from tokenprune.images import data_folder as folder
from tokenprune.images import present
from tokenprune.recipe import Data
from tokenprune.runs import atomic

#: As results name them.
TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN"}
DIGITS = tuple("0123456789")
Read = Callable[[str, Path | None], tuple[Arrays, dict[str, Any]]]
PIXELS = 2**23  # at a time, of statistics
_PASSED = 100  # names that are recorded of what was not read
SUBSET, SHUFFLE = 1, 4  # random streams of data.seed; scene and patterns have their own


def read(source: str, data_dir: Path | None = None) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of a named source or of an .npz by path, with their provenance.

    A prepared NAME.npz in the data folder is used before torchvision's own files there.
    """
    names = DIGITS if source == "svhn" else None
    named = source in TITLES
    path = folder(data_dir) / f"{source}.npz" if named else Path(source)
    if not named or path.is_file():
        arrays = read_npz(path, names)
    else:
        arrays = _torchvision(source, folder(data_dir)) or _missing(source, data_dir)
    note = None
    if arrays.exact is not None and not arrays.exact.all():
        restored, count = int((~arrays.exact).sum()), len(arrays.exact)
        note = f"{TITLES.get(source, path.name)}, {restored:,} of {count:,} test images JPEG-restored"
    provenance = {
        "source": source if source in TITLES else "npz",
        "path": path.name if path.is_file() else None,
        "sha256": arrays.sha256,
        "official": arrays.official,
        "note": note,
    }
    return arrays, provenance


def load(
    spec: Data, data_dir: Path | None = None, read: Read = read, say: Callable[[str], None] | None = None
) -> Dataset:
    """The images of a recipe, in its scene, on the CPU; the same for the same spec and bytes.

    read: reads the arrays, such as a cached `read`. say: takes a line before a large folder is decoded.

    Raises TokenpruneError if images are missing or damaged, UsageError if the recipe does not fit them.
    """
    if spec.source == "patterns":
        train, test, classes = patterns.make(spec.patterns, spec.stream)
        made = _digest(train.images.numpy(), test.images.numpy())
        provenance: dict[str, Any] = {
            "source": "patterns",
            "path": None,
            "sha256": made,
            "official": None,
            "note": None,
        }
    elif spec.is_folder:
        chosen = _listed(spec)
        provenance = _of_folder(spec, chosen)
        train, test, unread = folders.read(spec, chosen, provenance["sha256"], data_dir, say or (lambda _: None))
        classes, provenance = chosen.classes, provenance | unread
        provenance |= {"passed": list(chosen.passed[:_PASSED])} if chosen.passed else {}
    else:
        arrays, provenance = read(spec.source, data_dir)
        train, test, classes = plain(arrays)
        left = kept(spec, classes)
        if left != list(range(len(classes))):
            train, test, classes = train.of_classes(left), test.of_classes(left), tuple(classes[i] for i in left)
    if not spec.is_folder:  # of which only those were read
        train, test = _subset(spec, "train", train), _subset(spec, "test", test)
    train, test, groups, behind = _staged(spec, train, test, data_dir, read)
    if spec.noise_tokens:
        train, test = noise.with_noise_tokens(spec, "train", train), noise.with_noise_tokens(spec, "test", test)
    if spec.noise:
        train, test = noise.noisy(spec, "train", train), noise.noisy(spec, "test", test)
    if spec.classes is not None:
        places, classes = outputs(Path(spec.classes), classes)
        train, test = train.relabelled(places), test.relabelled(places)
    behind |= _of_classes(spec) | _taught(spec, train, classes)
    mean, std = channel_statistics(train)
    size = None if spec.is_folder else spec.image_size  # which images of a folder have
    tiles = _tiles(spec, size or train.images.shape[-1])
    return Dataset(train, test, classes, mean, std, provenance | behind, groups, size, spec.interpolation, tiles)


def provenance(spec: Data, data_dir: Path | None = None, read: Read = read) -> dict[str, Any]:
    """Provenance of a recipe's images, as in `Dataset.provenance`; empty where they are made from the recipe.

    Raises TokenpruneError if images are missing or damaged.
    """
    if spec.is_folder:
        found = _of_folder(spec, _listed(spec))
    else:
        found = {} if spec.source == "patterns" else read(spec.source, data_dir)[1]
    return found | _of_classes(spec) | ({} if spec.scene == "plain" else _behind(spec, data_dir, read)[1])


def plain(arrays: Arrays) -> tuple[ImageSet, ImageSet, tuple[str, ...]]:
    """Training and test images as tensors, channels first, and the classes."""
    train, test = (
        ImageSet(
            torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
            torch.from_numpy(labels.astype(np.int64)),
        )
        for images, labels in (
            (arrays.train_images, arrays.train_labels),
            (arrays.test_images, arrays.test_labels),
        )
    )
    return train, test, arrays.classes


def channel_statistics(images: ImageSet) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of each channel, for pixels in [0, 1]; a constant channel counts as std 1/255."""
    total, square = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for chunk in images.images.split(max(1, min(2000, PIXELS // images.images[0].numel()))):
        pixels = chunk.float()  # float32 sums an image's pixels exactly, float64 the images
        total += pixels.sum(dim=(2, 3)).double().sum(dim=0)
        square += pixels.square_().sum(dim=(2, 3)).double().sum(dim=0)
    count = images.images[:, 0].numel()
    mean = total / count
    std = (square / count - mean**2).clamp_min(1.0).sqrt()
    red, green, blue = (mean / 255).tolist()
    return (red, green, blue), tuple((std / 255).tolist())


def balanced(labels: Int[Tensor, " n"], size: int, seed: list[int]) -> Int[Tensor, " size"]:
    """Indices, in order, of `size` images with as equal a number of each class as there are images for."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    shuffled = labels[order]
    rank = torch.empty_like(shuffled)
    for label in shuffled.unique():
        of_class = shuffled == label
        rank[of_class] = torch.arange(int(of_class.sum()))
    chosen = order[rank.argsort(stable=True)[:size]]
    return chosen.sort().values


def _tiles(spec: Data, side: int) -> Int[Tensor, " k"] | None:
    """One permutation for all images."""
    if spec.shuffle is None:
        return None
    if side % spec.shuffle:
        raise UsageError(f"data.shuffle: {spec.shuffle} does not divide the image side {side}")
    order = np.random.default_rng([SHUFFLE, spec.stream]).permutation(spec.shuffle**2)
    return torch.from_numpy(order)


def _subset(spec: Data, part: str, images: ImageSet) -> ImageSet:
    index = _drawn(spec, part, images.labels)
    return images if index is None else images.take(index)


def _drawn(spec: Data, part: str, labels: Int[Tensor, " n"]) -> Int[Tensor, " size"] | None:
    """Which images of a part are used; None for all of them."""
    size = spec.train_size if part == "train" else spec.test_size
    if size is None:
        return None
    if size > len(labels):
        what = "training" if part == "train" else "test"
        raise UsageError(f"data.{part}_size: {size:,} is more than the {len(labels):,} {what} images of {spec.source}")
    return balanced(labels, size, [SUBSET, spec.stream, part == "test"])


def _listed(spec: Data) -> folders.Listed:
    """The files of a folder that are used."""
    found, parts = folders.listed(spec), {}
    found = found.of_classes(kept(spec, found.classes))
    for part, names in found.parts.items():
        index = _drawn(spec, part, torch.tensor([label for _, label in names]))
        parts[part] = names if index is None else [names[i] for i in index.tolist()]
    return replace(found, parts=parts)


def _of_folder(spec: Data, chosen: folders.Listed) -> dict[str, Any]:
    name = Path(spec.source).name
    return {"source": "folder", "path": name, "sha256": chosen.sha256(), "official": None, "note": None}


def _of_classes(spec: Data) -> dict[str, Any]:
    """Provenance of the file that names the classifier's outputs."""
    if spec.classes is None:
        return {}
    path = Path(spec.classes)
    try:
        return {"classes": {"path": path.name, "sha256": files.checksum(path)}}
    except OSError as error:
        raise TokenpruneError(f"{path}: cannot read the classes: {error.strerror}") from None


def _staged(
    spec: Data, train: ImageSet, test: ImageSet, data_dir: Path | None, read: Read
) -> tuple[ImageSet, ImageSet, tuple[str, ...], dict[str, Any]]:
    """Both sets in their scene, the groups' names, and the provenance of the backgrounds."""
    if spec.scene == "plain":
        return train, test, (), {}
    side = train.images.shape[-1]
    if spec.foreground_size > side:
        raise UsageError(f"data.foreground_size: {spec.foreground_size} is more than the image side {side}")
    if spec.scene == "spurious" and spec.background != "plants":
        raise UsageError(f"data.background: {spec.background!r}; scene spurious takes plants")
    photographs, behind = _behind(spec, data_dir, read)
    return *scene.staged(spec, train, test, photographs), behind


def _behind(spec: Data, data_dir: Path | None, read: Read) -> tuple[Arrays | None, dict[str, Any]]:
    """CIFAR-100's photographs where they are the background, and the backgrounds' provenance."""
    if spec.background == "plants":
        try:
            photographs, found = read("cifar100", data_dir)
        except TokenpruneError as error:
            raise TokenpruneError(
                f"data.background: plants are CIFAR-100's: {error}; or, for scene composite, "
                "--set data.background=zeros or noise"
            ) from None
        return photographs, {"background": found}
    if spec.background in ("zeros", "noise"):
        return None, {}
    return None, {"background": scene.folder_provenance(Path(spec.background))}


def _taught(spec: Data, train: ImageSet, classes: tuple[str, ...]) -> dict[str, Any]:
    """The classes that no training image is of. Raises UsageError where training images are of one class alone."""
    counts = train.labels.bincount(minlength=len(classes)).tolist()
    untaught = [name for name, count in zip(classes, counts, strict=True) if not count]
    if len(classes) - len(untaught) < 2:
        raise UsageError(
            f"data.source: the {len(train):,} training images taken of {spec.source} are of one class; at least 2 are "
            "needed"
        )
    return {"untaught": untaught} if untaught else {}


def _missing(source: str, data_dir: Path | None) -> Arrays:
    where = folder(data_dir)
    option = "" if where == folder() else f" --data-dir {where}"
    found = present(source, where)
    there = f"{found}: there, but damaged" if found else f"no {source}.npz and none of torchvision's files"
    raise TokenpruneError(
        f"{source}: {there}, in {where}; `tokenprune download {source}{option}` "
        "fetches them, --data-dir or $TOKENPRUNE_DATA names another folder, and `--recipe quickstart` "
        "(data.source: patterns) needs no download"
    )


def _torchvision(source: str, where: Path, *, download: bool = False) -> Arrays | None:
    """Arrays of torchvision's files in a folder, or None if none are complete.

    torchvision unpickles CIFAR only after every file's md5 matched the published one.
    """
    from torchvision import datasets

    try:
        if source == "svhn":
            parts = [datasets.SVHN(str(where), split=split, download=download) for split in ("train", "test")]
            images = [part.data.transpose(0, 2, 3, 1) for part in parts]
            labels, classes = [part.labels for part in parts], DIGITS
        else:
            kind = datasets.CIFAR10 if source == "cifar10" else datasets.CIFAR100
            parts = [kind(str(where), train=train, download=download) for train in (True, False)]
            images, labels, classes = [p.data for p in parts], [p.targets for p in parts], tuple(parts[0].classes)
    except RuntimeError:
        if download:
            raise
        return None
    images = [np.ascontiguousarray(part) for part in images]
    labels = [np.asarray(part, dtype=np.uint8) for part in labels]
    return Arrays(images[0], labels[0], images[1], labels[1], classes, None, True, _digest(*images, *labels))


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.data)
    return digest.hexdigest()


def download(source: str, data_dir: Path | None = None) -> Path:
    """Fetch a data set with torchvision into the data folder as a prepared NAME.npz; returns that file.

    A complete file that is there already is not fetched again. No partial file is left behind.
    Raises TokenpruneError if the network or the disk fails, UsageError if there is nothing to download.
    """
    if source == "patterns":
        raise UsageError("patterns are made here and need no download")
    if source not in TITLES:
        raise unknown("data set", source, TITLES)
    where = folder(data_dir)
    target = where / f"{source}.npz"
    with contextlib.suppress(TokenpruneError):
        read_npz(target)
        return target
    atomic.make_folder(where)
    try:
        with tempfile.TemporaryDirectory(dir=where, prefix=f".{source}.") as scratch:
            arrays = _torchvision(source, where)
            if arrays is None:
                with contextlib.redirect_stdout(sys.stderr):  # standard output carries only the path
                    arrays = _torchvision(source, Path(scratch), download=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:  # urllib's errors are OSErrors
        reason = str(getattr(error, "reason", None) or error).partition("\n")[0]
        raise TokenpruneError(
            f"{source}: the download into {where} failed: {reason or type(error).__name__}; try again, put a prepared "
            f"{source}.npz there, or use data.source: patterns (`--recipe quickstart`), which needs no download"
        ) from error
    assert arrays is not None
    _save(target, arrays)
    return target


def _save(target: Path, arrays: Arrays) -> None:
    atomic.write(
        target,
        lambda handle: np.savez(
            handle,
            train_images=arrays.train_images,
            train_labels=arrays.train_labels,
            test_images=arrays.test_images,
            test_labels=arrays.test_labels,
            classes=np.array(arrays.classes),
            official=np.array(arrays.official),
        ),
    )
