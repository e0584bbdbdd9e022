"""What is made again, on full disks and under SIGKILL: the old or the new, whole, and it goes on to the same end."""

import errno
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from killed import every_kill

from tokenprune import pipeline
from tokenprune.errors import TokenpruneError
from tokenprune.recipe import Evaluate, Loaded, parse_recipe
from tokenprune.runs import RunFolder

TINY = """
data: {source: patterns, patterns: {image_size: 16, classes: 2, count: 3, train_size: 20, test_size: 20}}
model: {depth: 1, dim: 12, heads: 3}
train: {epochs: 1, batch_size: 10, precision: fp32, augment: {crop: 0, flip: false}}
evaluate: {batch_size: 20, examples: 2}
run: {threads: 1}
"""
LOADED = Loaded(parse_recipe(TINY, "tiny", ()), "tiny", TINY)


def train(runs_dir: Path, **how: bool) -> RunFolder:
    return pipeline.train_run(LOADED, runs_dir=runs_dir, **how)


def prune(run: RunFolder, force: bool = False, **changes):
    asked = Evaluate(methods=("magnitude",), keep=(1.0, 0.5), seeds=2, batch_size=20, examples=2, **changes)
    return pipeline.prune_run(run, asked, force=force)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> RunFolder:
    """A finished run with a curve, which nobody changes."""
    run = train(tmp_path_factory.mktemp("original"))
    prune(run)
    return run


@pytest.fixture
def run(original, tmp_path) -> RunFolder:
    shutil.copytree(original.path, tmp_path / "runs" / original.name)
    return RunFolder(tmp_path / "runs" / original.name)


class Disk:
    """A disk that is full from the write of that number on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.sync = 10**9, os.fsync
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fsync(self, descriptor: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.sync(descriptor)


def failed(work) -> str | None:
    """The message of its failure, which is the disk's."""
    try:
        work()
    except TokenpruneError as error:
        return re.search(".*could not be saved: No space left on device$", str(error))[0]
    return None


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_training_again_on_a_full_disk_leaves_the_old_run_whole(run, monkeypatch):
    disk = Disk(monkeypatch)
    before = files(run.path)
    for writes in range(100):
        disk.left = writes
        if failed(lambda: train(run.path.parent, force=True)) is None:
            break
        assert {name: content for name, content in files(run.path).items() if not name.startswith("anew/")} == before
        assert prune(RunFolder(run.path))[0][1].count == 20
    assert writes > 8
    assert not (run.path / "anew").exists()
    assert RunFolder(run.path).prunes() == []  # they were measured on weights that are gone
    assert run.weights.read_bytes() == before["weights.safetensors"]  # the same recipe and seed


@pytest.mark.parametrize("epochs", [0, 1])
def test_measuring_again_on_a_full_disk_leaves_the_old_curve_whole(run, monkeypatch, epochs):
    disk = Disk(monkeypatch)
    ((folder, _),) = prune(run, finetune_epochs=epochs)
    before = files(folder)
    for writes in range(100):
        disk.left = writes
        if failed(lambda: prune(run, finetune_epochs=epochs, force=True)) is None:
            break
        assert files(folder) == before
    assert writes == (3 if epochs == 0 else 5)  # models that were fine-tuned meanwhile are kept
    assert set(files(folder)) == set(before)
    assert not list(run.path.rglob("anew"))


def test_a_run_killed_at_any_change_goes_on_to_the_same_end(original, tmp_path):
    runs_dir = tmp_path / "runs"
    for _ in every_kill(lambda: shutil.rmtree(runs_dir, ignore_errors=True), lambda: train(runs_dir), step=3):
        run = train(runs_dir, resume=True)
        assert run.weights.read_bytes() == original.weights.read_bytes()
        assert [epoch.test_accuracy for epoch in run.epochs()] == [epoch.test_accuracy for epoch in original.epochs()]
        assert not list(run.path.rglob("*.part"))


def test_training_again_killed_at_any_change_leaves_a_whole_run_and_goes_on(original, tmp_path):
    path = tmp_path / original.name

    def begin() -> None:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(original.path, path)

    for _ in every_kill(begin, lambda: train(tmp_path, force=True), step=4):
        run = RunFolder(path)
        assert run.check_weights().read_bytes() == original.weights.read_bytes()
        assert run.status().state == "finished"
        train(tmp_path, resume=True)
        assert RunFolder(path).result().test_correct == original.result().test_correct


@pytest.mark.parametrize("force", [False, True])
def test_pruning_killed_at_any_change_goes_on_to_the_same_end(original, tmp_path, force):
    path, ((expected, _),) = tmp_path / original.name, prune(original)

    def begin() -> None:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(original.path, path, ignore=None if force else shutil.ignore_patterns("prune"))

    for _ in every_kill(begin, lambda: prune(RunFolder(path), force=force)):
        ((folder, _),) = prune(RunFolder(path))
        with RunFolder(path).lock():
            pass
        assert set(files(folder)) == set(files(expected))
        with np.load(folder / "predictions.npz") as after, np.load(expected / "predictions.npz") as before:
            assert (after["predictions"] == before["predictions"]).all()
