"""A prepared data set on disk: one .npz of arrays, checked in full before anything uses it.

Shapes: n images, h x h pixels.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass
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
    classes = archive.classes() or names
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
    exact = [archive.flags(f"{part}_exact", len(labels[part])) for part in ("train", "test")]
    official = archive.official()
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
        archive.sha256(),
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
            self.fail(array, found, f"uint8 of shape [images, height, width, 3]{_images_hint(array, found)}")
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
            self.fail(array, found, f"integers of shape [images]{_labels_hint(array, found)}")
        if len(found) != count:
            self.fail(array, f"{len(found)} labels", f"{count}, one per image in {images}")
        if int(found.min()) < 0:
            self.fail(array, f"label {int(found.min())}", "labels from 0")
        return found

    def classes(self) -> tuple[str, ...] | None:
        if "classes" not in self.names:
            return None
        found = self.read("classes")
        if found.dtype.kind != "U" or found.ndim != 1 or not len(found):
            self.fail("classes", found, "names, text of shape [classes]")
        return tuple(map(str, found))

    def flags(self, array: str, count: int) -> np.ndarray | None:
        if array not in self.names:
            return None
        found = self.read(array)
        if found.dtype != np.bool_ or found.shape != (count,):
            self.fail(array, found, f"bool of shape [{count}]")
        return found

    def official(self) -> bool | None:
        if "official" not in self.names:
            return None
        found = self.read("official")
        if found.dtype != np.bool_ or found.shape != ():
            self.fail("official", found, "one bool")
        return bool(found)

    def sha256(self) -> str:
        with self.path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()


def _images_hint(array: str, found: np.ndarray) -> str:
    """The conversion of an array to images, where it is obvious."""
    code, shape = array, found.shape
    if found.ndim == 4 and shape[3] != 3:
        order = {shape[1]: (0, 2, 3, 1), shape[2]: (3, 0, 1, 2), shape[0]: (3, 1, 2, 0)}.get(3)
        code += f".transpose{order}" if order else "[..., :3]" if shape[3] == 4 else ""
    if found.ndim == 3 or (found.ndim == 4 and code == array and 1 in (shape[1], shape[3])):
        code = f"np.stack([{array}{'' if found.ndim == 3 else '.squeeze()'}] * 3, axis=3)"
    if found.dtype != np.uint8 and found.dtype.kind in "iuf" and found.size:
        low, high = found.min(), found.max()
        fraction = found.dtype.kind == "f" and high <= 1
        code = f"(255 * {code}).round()" if fraction else code
        code = f"{code}.astype(np.uint8)" if 0 <= low <= high <= 255 else array
    return f"; {code} may be what is meant" if code != array else ""


def _labels_hint(array: str, found: np.ndarray) -> str:
    """The conversion of an array to labels, where it is obvious."""
    code = array
    if found.ndim == 2 and found.shape[1] > 1 and found.dtype.kind in "iufb" and (found.sum(axis=1) == 1).all():
        code = f"{array}.argmax(axis=1)"
    elif found.ndim == 1 and found.dtype.kind in "US":
        code = f"np.unique({array}, return_inverse=True)[1]"
    elif found.ndim == 1 and found.dtype.kind == "f" and (found == found.round()).all():
        code = f"{array}.astype(np.int64)"
    return f"; {code} may be what is meant" if code != array else ""


def _found(what: object) -> str:
    return f"{what.dtype} of shape {_shape(what)}" if isinstance(what, np.ndarray) else str(what)


def _shape(array: np.ndarray) -> str:
    return f"[{', '.join(map(str, array.shape))}]"
