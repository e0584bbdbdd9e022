"""Where images are looked for. Nothing here imports torch."""

import os
from pathlib import Path

#: What torchvision keeps of each data set.
_TORCHVISION = {
    "cifar10": ("cifar-10-batches-py",),
    "cifar100": ("cifar-100-python",),
    "svhn": ("train_32x32.mat", "test_32x32.mat"),
}


def data_folder(data_dir: Path | None = None) -> Path:
    """The data folder: the one given, else $TOKENPRUNE_DATA, else the user's cache."""
    if data_dir is not None:
        return data_dir
    if named := os.environ.get("TOKENPRUNE_DATA"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tokenprune"


def present(source: str, where: Path) -> str | None:
    """What the folder holds of a data set, by name of file: the prepared .npz, else torchvision's; None for nothing."""
    if (where / f"{source}.npz").is_file():
        return f"{source}.npz"
    files = _TORCHVISION.get(source, ())
    return ", ".join(files) if files and all((where / file).exists() for file in files) else None
