"""A damaged or foreign checkpoint is refused in one line, and code in it never runs."""

import os
import pickle
import subprocess
import sys

import pytest
import torch

from tokenprune.errors import TokenpruneError
from tokenprune.training import Checkpoint

CPU = torch.device("cpu")


@pytest.fixture
def saved(tmp_path) -> Checkpoint:
    checkpoint = Checkpoint(tmp_path / "resume.pt", "abc-s0")
    checkpoint.save({"weights": torch.arange(1000.0), "steps": 3})
    return checkpoint


def test_round_trip(saved) -> None:
    state = saved.load(CPU)
    assert state is not None
    assert state["steps"] == 3
    assert torch.equal(state["weights"], torch.arange(1000.0))


def test_absent_is_none(tmp_path) -> None:
    assert Checkpoint(tmp_path / "resume.pt", "x").load(CPU) is None


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_truncated(saved, keep) -> None:
    whole = saved.path.read_bytes()
    saved.path.write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    with pytest.raises(TokenpruneError, match=r"resume\.pt: not a whole checkpoint"):
        saved.load(CPU)


def test_one_flipped_bit_in_the_weights(saved) -> None:
    content = bytearray(saved.path.read_bytes())
    at = content.index(torch.tensor([500.0, 501.0]).numpy().tobytes())
    content[at] ^= 1
    saved.path.write_bytes(content)
    with pytest.raises(TokenpruneError, match="damaged"):
        saved.load(CPU)


def test_another_runs_checkpoint(saved) -> None:
    with pytest.raises(TokenpruneError, match="another run"):
        Checkpoint(saved.path, "abc-s1").load(CPU)


class Bomb:
    def __init__(self, fuse: str) -> None:
        self.fuse = fuse

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.fuse,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_never_executed(saved, tmp_path, zipped) -> None:
    bomb = {"run": "abc-s0", "steps": Bomb(str(tmp_path / "executed"))}
    if zipped:
        torch.save(bomb, saved.path)
    else:
        saved.path.write_bytes(pickle.dumps(bomb))
    with pytest.raises(TokenpruneError, match=r"resume\.pt"):
        saved.load(CPU)
    assert not (tmp_path / "executed").exists()


def test_a_full_disk_leaves_the_previous_checkpoint(saved, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TokenpruneError, match="could not be saved: No space left on device"):
        saved.save({"steps": 4})
    monkeypatch.undo()
    assert saved.load(CPU)["steps"] == 3
    assert [path.name for path in saved.path.parent.iterdir()] == ["resume.pt"]


def test_a_disk_that_fills_while_it_is_written_is_named(saved) -> None:
    """The limit on file size stands for a full disk: the kernel refuses the same write."""
    code = (
        "import resource, sys; from pathlib import Path; import torch; from tokenprune.training import Checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "Checkpoint(Path(sys.argv[1]), 'abc-s0').save({'weights': torch.ones(100_000)})"
    )
    ended = subprocess.run([sys.executable, "-c", code, saved.path], capture_output=True, text=True)
    assert ended.stderr.splitlines()[-1].endswith("resume.pt: could not be saved: File too large")
    assert saved.load(CPU)["steps"] == 3
