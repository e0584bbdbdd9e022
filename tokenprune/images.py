"""The folder of data sets, and what it holds. Nothing here imports torch."""

import hashlib
import os
import zipfile
from pathlib import Path

from tokenprune.errors import TokenpruneError
from tokenprune.files import opened

#: What torchvision keeps of each data set, with the published md5 of each file.
_TORCHVISION = {
    "cifar10": {
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
    },
    "cifar100": {
        "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    },
    "svhn": {
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    },
}


def data_folder(data_dir: Path | None = None) -> Path:
    """The data folder: the one given, else $TOKENPRUNE_DATA, else the user's cache. TokenpruneError without a home."""
    if data_dir is not None:
        return data_dir
    try:
        if named := os.environ.get("TOKENPRUNE_DATA"):
            return Path(named).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tokenprune"
    except RuntimeError:
        raise TokenpruneError(
            "images: this user has no home folder to look in; --data-dir or $TOKENPRUNE_DATA names a folder"
        ) from None


def present(source: str, where: Path) -> str | None:
    """What the folder holds of a data set: the prepared .npz, else torchvision's files; None for nothing.

    Every byte is read: files that do not match their checksums are reported as damaged.
    """
    prepared, files = where / f"{source}.npz", _TORCHVISION.get(source, {})
    names = dict.fromkeys(Path(file).parts[0] for file in files)
    if prepared.exists():
        found, whole = prepared.name, _is_whole(prepared)
    elif any((where / name).exists() for name in names):
        found, whole = ", ".join(names), all(_md5(where / file) == md5 for file, md5 in files.items())
    else:
        return None
    return found if whole else f"{found}: there, but damaged"


def _is_whole(path: Path) -> bool:
    """Whether a file is a zip of images and labels with the right checksums."""
    needed = {f"{part}_{what}.npy" for part in ("train", "test") for what in ("images", "labels")}
    try:
        with opened(path) as handle, zipfile.ZipFile(handle) as archive:
            return needed <= set(archive.namelist()) and archive.testzip() is None
    except Exception:  # zipfile raises BadZipFile, zlib.error, NotImplementedError and others for damaged bytes
        return False


def _md5(path: Path) -> str | None:
    try:
        with opened(path) as handle:
            return hashlib.file_digest(handle, "md5").hexdigest()
    except OSError:
        return None
