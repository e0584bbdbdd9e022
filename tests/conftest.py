"""One thread (two under contention are slower than one), no deadlines, and a folder of real images, if there is one."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# No test depends on the machine's speed. The same examples every time, unless more are asked for.
settings.register_profile("steady", deadline=None, derandomize="TOKENPRUNE_FUZZ" not in os.environ)
settings.load_profile("steady")
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    # The engine counts devices at its first backward pass, and refuses to be forked where it found one: it has to count
    # before a test pretends that there is a GPU.
    torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture
def own_pruners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pruners that a test registers are forgotten after it; the built-in ones, registered once by import, are not."""
    from tokenprune import pruners

    for name in pruners.BUILT_IN:
        pruners.create(name)
    monkeypatch.setattr(pruners.registry, "_classes", dict(pruners.registry._classes))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with cifar10.npz and cifar100.npz; skips the test where they are absent."""
    folder = Path(os.environ.get("TOKENPRUNE_DATA") or Path(__file__).parents[1] / ".data")
    missing = [name for name in ("cifar10.npz", "cifar100.npz") if not (folder / name).is_file()]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} in {folder} or $TOKENPRUNE_DATA")
    return folder
