"""A prepared data set on disk: one .npz of arrays, checked in full before anything uses it.

Shapes: n images, h x h pixels.
"""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from tokenprune import files
from tokenprune.errors import TokenpruneError

#: Labels travel as uint16 in saved predictions.
MOST_CLASSES = 65536
#: Of one array: images are held in memory, on the device too.
MOST_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Arrays:
    """Photographs as they lie on disk; labels are 0 to len(classes) - 1.

    exact: False where a test image's pixels are not the published ones; None if the file does not say.
    official: True or False where it is known whether these are the published bytes, else None.
    sha256: of the file where there is one, else of the pixels.
    """

    train_images: UInt8[np.ndarray, "n h h 3"]
    train_labels: Integer[np.ndarray, " n"]
    test_images: UInt8[np.ndarray, "m h h 3"]
    test_labels: Integer[np.ndarray, " m"]
    classes: tuple[str, ...]
    exact: Bool[np.ndarray, " m"] | None
    official: bool | None
    sha256: str


def read_npz(path: Path, names: tuple[str, ...] | None = None) -> Arrays:
    """Read and check an .npz. Pickled arrays are refused, never run; every byte is checked against the zip's CRC.

    docs/data.md says which arrays there are, and their shapes. names: the classes if the file names none.

    Raises TokenpruneError that names the file, the array, what was found and what is expected.
    """
    archive = _Archive(path)
    images, labels = {}, {}
    for part in ("train", "test"):
        images[part] = archive.images(f"{part}_images")
        labels[part] = archive.labels(f"{part}_labels", len(images[part]), f"{part}_images")
    if images["train"].shape[1:] != images["test"].shape[1:]:
        archive.fail("test_images", images["test"], f"images as large as train_images, {_shape(images['train'])}")
    named = archive.optional(
        "classes", lambda a: a.dtype.kind == "U" and a.ndim == 1 and len(a) > 0, "names, text of shape [classes]"
    )
    classes = names if named is None else tuple(map(str, named))
    count = len(classes) if classes else int(labels["train"].max()) + 1
    if count > MOST_CLASSES:
        archive.fail("train_labels", f"a label {count - 1}", f"at most {MOST_CLASSES} classes, labelled from 0")
    for part, found in labels.items():
        if int(found.max()) >= count:
            archive.fail(
                f"{part}_labels",
                f"label {int(found.max())}",
                f"labels from 0 to {count - 1} (" + ("one per name in classes)" if classes else "those of training)"),
            )
    trained = np.unique(labels["train"])
    if not classes and len(trained) < count:
        gone = ", ".join(map(str, np.setdiff1d(np.arange(count), trained)[:5]))
        archive.fail(
            "train_labels",
            f"labels {trained[0]} to {trained[-1]}, but no {gone}",
            f"an image of every label from 0 to {count - 1}; count labels from 0, or name all classes in `classes`",
        )
    exact = [
        archive.optional(f"{part}_exact", partial(_bool, shape=found.shape), f"bool of shape {_shape(found)}")
        for part, found in labels.items()
    ]
    stated = archive.optional("official", partial(_bool, shape=()), "one bool")
    official = None if stated is None else bool(stated)
    if any(part is not None and not part.all() for part in exact):
        official = False
    return Arrays(
        images["train"],
        labels["train"],
        images["test"],
        labels["test"],
        classes or tuple(map(str, range(count))),
        exact[1],
        official,
        files.sha256(path),
    )


class _Archive:
    """Reads arrays out of one file, with an error that says what is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with files.opened(path):
                pass
            with zipfile.ZipFile(path) as archive:
                self.names = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
        except FileNotFoundError:
            raise TokenpruneError(f"{path}: no such file; data.source takes the path of an .npz") from None
        except OSError as error:
            raise TokenpruneError(f"{path}: cannot be read: {error.strerror or error}") from None
        except Exception:  # zipfile raises BadZipFile, struct.error, NotImplementedError and others for damaged bytes
            raise TokenpruneError(
                f"{path}: not an .npz, or cut short: no zip archive of arrays found; make or download it again"
            ) from None

    def fail(self, array: str, found: object, expected: str) -> None:
        raise TokenpruneError(f"{self.path}: {array}: found {_found(found)}, expected {expected}")

    def read(self, array: str) -> np.ndarray:
        """The whole member is read at once so that its CRC is always checked, which numpy's own reader may skip."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                size = archive.getinfo(f"{array}.npy").file_size
                content = io.BytesIO(archive.read(f"{array}.npy") if size <= MOST_BYTES else b"")
        except Exception:
            raise TokenpruneError(
                f"{self.path}: {array}: damaged: its checksum does not match (cut short or changed); "
                "make or download the file again"
            ) from None
        if size > MOST_BYTES:
            self.fail(array, f"{size / 2**30:.0f} GiB", f"at most {MOST_BYTES / 2**30:.0f} GiB in memory")
        try:
            return np.lib.format.read_array(content, allow_pickle=False)
        except Exception as error:
            if "allow_pickle" in str(error):
                self.fail(array, "Python objects (a pickle, which is never run)", "plain numbers")
            raise TokenpruneError(f"{self.path}: {array}: not an array that numpy can read: {error}") from None

    def required(self, array: str) -> np.ndarray:
        if array not in self.names:
            self.fail(array, f"no such array (the file has {', '.join(sorted(self.names)) or 'none'})", "this array")
        return self.read(array)

    def images(self, array: str) -> np.ndarray:
        found = self.required(array)
        if found.dtype != np.uint8 or found.ndim != 4 or found.shape[3] != 3:
            self.fail(array, found, "uint8 of shape [images, height, width, 3]")
        if not found.size:
            self.fail(array, found, "at least one image")
        if found.shape[1] != found.shape[2]:
            self.fail(array, found, "square images")
        return found

    def labels(self, array: str, count: int, images: str) -> np.ndarray:
        found = self.required(array)
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        if found.dtype.kind not in "iu" or found.ndim != 1:
            self.fail(array, found, "integers of shape [images]")
        if len(found) != count:
            self.fail(array, f"{len(found)} labels", f"{count}, one per image in {images}")
        if int(found.min()) < 0:
            self.fail(array, f"label {int(found.min())}", "labels from 0")
        return found

    def optional(self, array: str, fits: Callable[[np.ndarray], bool], expected: str) -> np.ndarray | None:
        """An array of the file; None where it has none. `fits` says whether it is as `expected`."""
        if array not in self.names:
            return None
        found = self.read(array)
        if not fits(found):
            self.fail(array, found, expected)
        return found


def _bool(array: np.ndarray, shape: tuple[int, ...]) -> bool:
    return array.dtype == np.bool_ and array.shape == shape


def _found(what: object) -> str:
    return f"{what.dtype} of shape {_shape(what)}" if isinstance(what, np.ndarray) else str(what)


def _shape(array: np.ndarray) -> str:
    return f"[{', '.join(map(str, array.shape))}]"
