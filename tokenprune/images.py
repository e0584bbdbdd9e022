"""The folder of data sets, and what it holds. Nothing here imports torch."""

import os
from pathlib import Path

from tokenprune.errors import TokenpruneError

#: Files and folders as torchvision leaves them.
_TORCHVISION = {
    "cifar10": ("cifar-10-batches-py",),
    "cifar100": ("cifar-100-python",),
    "svhn": ("train_32x32.mat", "test_32x32.mat"),
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
    """What the folder holds of a data set, by name: the prepared .npz, else torchvision's files; None for nothing."""
    for names in ((f"{source}.npz",), _TORCHVISION[source]):
        if found := [name for name in names if (where / name).exists()]:
            return ", ".join(found)
    return None
