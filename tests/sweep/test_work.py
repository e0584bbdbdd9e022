"""What a worker does with its cells: the same runs as alone, nothing loaded twice, every failure told."""

import copy
import errno
import os
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from sweep_factories import write_sweep
from torch._dynamo.utils import counters

from tokenprune import data, pipeline
from tokenprune.pipeline import DatasetCache
from tokenprune.recipe.sweep import load_sweep
from tokenprune.runs import RunFolder, atomic
from tokenprune.runs.sweeps import SweepCell, SweepFile
from tokenprune.sweep.progress import Moved
from tokenprune.sweep.work import run_cell, run_part


def cells(folder, text):
    return load_sweep(write_sweep(folder, text)).cells


def work(cell, runs_dir, cache=None):
    said: list[Moved] = []
    return run_cell(cell, runs_dir, None, cache or DatasetCache(), said.append), said


def test_a_cell_is_the_run_that_train_and_prune_make(tmp_path):
    (cell,) = cells(tmp_path, "grid: {model.depth: [2]}\nprune: [{methods: [random], seeds: 2}]")
    ended, said = work(cell, tmp_path / "a")
    alone = pipeline.train_run(cell.loaded, runs_dir=tmp_path / "b")
    pipeline.prune_run(alone, cell.prune[0])
    run = RunFolder(tmp_path / "a" / cell.run)
    assert run.name == alone.name
    assert run.weights.read_bytes() == alone.weights.read_bytes()
    assert run.recipe.read_text() == alone.recipe.read_text()
    ((mine, curve),), ((theirs, same),) = run.prunes(), alone.prunes()
    assert mine.name == theirs.name
    assert [point.correct for point in curve.points] == [point.correct for point in same.points]
    assert (ended.state, ended.accuracy) == ("finished", run.result().test_accuracy)
    assert {moved.state for moved in said} == {"training", "pruning"}
    assert [moved.epoch for moved in said if moved.epoch is not None] == [0, 1, 2]


def test_what_a_training_warns_of_is_said_of_its_cell(tmp_path):
    (cell,) = cells(tmp_path, "grid: {data.train_size: [2]}\nset: {train.epochs: 1}")
    ended, _ = work(cell, tmp_path / "runs")
    assert ended.state == "finished"
    assert ended.message.startswith("warning: no training images of ")


def test_images_are_loaded_once_for_all_cells_that_share_them(tmp_path, monkeypatch):
    loads: Counter[int] = Counter()
    load = data.load
    monkeypatch.setattr(data, "load", lambda spec, *rest: loads.update([spec.seed]) or load(spec, *rest))
    cache = DatasetCache()
    text = "grid: {data.seed: [0, 1], model.depth: [1, 2], run.seed: [0, 1]}\nset: {train.epochs: 1}\nprune: [{}]"
    for cell in cells(tmp_path, text):
        assert work(cell, tmp_path / "runs", cache)[0].state == "finished"
    assert loads == {0: 1, 1: 1}


def test_scenes_of_the_same_photographs_read_them_once(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 32, 32, 3), np.uint8), np.arange(30) % 3
    parts = {
        f"{part}_{what}": value
        for part in ("train", "test")
        for what, value in (("images", images), ("labels", labels))
    }
    np.savez(tmp_path / "photographs.npz", **parts)
    reads: Counter[str] = Counter()
    read = data.read
    monkeypatch.setattr(data, "read", lambda source, where: reads.update([source]) or read(source, where))
    source = tmp_path / "photographs.npz"
    text = f"set: {{data.source: {source}, data.background: zeros}}\n"
    text += "grid: {data.scene: [plain, composite], data.train_size: [10, 20]}"
    cache, device = DatasetCache(), torch.device("cpu")
    for cell in cells(tmp_path, text):
        kept = cache.dataset(cell.loaded.recipe.data, None, device)
        assert torch.equal(kept.train.images, data.load(cell.loaded.recipe.data, None, read).train.images)
    assert reads == {str(source): 1}


def test_images_are_as_they_were_after_training_and_pruning(tmp_path):
    (cell,) = cells(tmp_path, "grid: {train.augment.crop: [2]}\nset: {train.augment.flip: true}\nprune: [{}]")
    cache = DatasetCache()
    kept = cache.dataset(cell.loaded.recipe.data, None, torch.device("cpu"))
    before = copy.deepcopy(kept)
    work(cell, tmp_path / "runs", cache)
    assert cache.dataset(cell.loaded.recipe.data, None, torch.device("cpu")) is kept
    for part in ("train", "test"):
        for name in ("images", "labels", "mask"):
            assert torch.equal(getattr(getattr(kept, part), name), getattr(getattr(before, part), name))


def test_a_full_cache_drops_what_was_used_longest_ago(tmp_path):
    device = torch.device("cpu")
    specs = [cell.loaded.recipe.data for cell in cells(tmp_path, "grid: {data.seed: [0, 1, 2]}")]
    one = data.load(specs[0])
    size = sum(p.nbytes for s in (one.train, one.test) for p in (s.images, s.labels, s.mask))
    cache = DatasetCache(limit=2 * size)
    first, second = (cache.dataset(spec, None, device) for spec in specs[:2])
    assert cache.dataset(specs[0], None, device) is first
    cache.dataset(specs[2], None, device)
    assert cache.dataset(specs[0], None, device) is first
    assert cache.dataset(specs[1], None, device) is not second


def test_cells_of_one_architecture_share_what_was_compiled(tmp_path, monkeypatch):
    """torch keeps graphs for as long as a process lives; here it only traces them, for the sake of time."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    graphs = counters["stats"]
    compiled = []
    for cell in cells(tmp_path, "grid: {model.depth: [1, 2], run.seed: [0, 1]}\nset: {run.compile: true}"):
        before = graphs["unique_graphs"]
        assert work(cell, tmp_path / "runs")[0].state == "finished"
        compiled.append(graphs["unique_graphs"] > before)
    assert compiled == [True, False, True, False]


def test_a_cell_that_diverges_says_so_and_the_rest_go_on(tmp_path):
    both = cells(tmp_path, "grid: {train.learning_rate: [1e30, 1e-3]}\nset: {train.clip_norm: null}")
    file = SweepFile(tmp_path, "mine")
    file.begin("id", "", [SweepCell(run=cell.run, what=dict(cell.what)) for cell in both])
    assert [ended.state for ended in run_part(both, tmp_path, None, "mine")] == ["failed", "finished"]
    first, second = file.read().cells
    assert first.state == "failed"
    assert "the loss is not finite at step" in first.message
    assert (second.state, second.message) == ("finished", None)


def test_an_error_that_nobody_foresaw_names_its_place(tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(data, "load", broken)
    (cell,) = cells(tmp_path, "grid: {run.seed: [0]}")
    ended, _ = work(cell, tmp_path / "runs")
    assert ended.state == "failed"
    assert ended.message.startswith("ZeroDivisionError: division by zero (test_work.py, line ")


def test_a_full_disk_fails_the_cell_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    (cell,) = cells(tmp_path, "grid: {run.seed: [0]}")
    real = os.fsync

    def full(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").rpartition("/")[2].startswith(".weights"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", full)
    ended, _ = work(cell, tmp_path / "runs")
    run = RunFolder(tmp_path / "runs" / cell.run)
    assert ended.state == "failed"
    assert ended.message == f"{run.weights}: could not be saved: No space left on device"
    assert not run.finished
    assert run.status().state == "failed"
    monkeypatch.setattr(atomic.os, "fsync", real)
    assert work(cell, tmp_path / "runs")[0].state == "finished"  # from its last checkpoint
    alone = pipeline.train_run(cell.loaded, runs_dir=tmp_path / "b")
    assert run.weights.read_bytes() == alone.weights.read_bytes()


def test_a_locked_cell_is_elsewhere(tmp_path):
    (cell,) = cells(tmp_path, "grid: {run.seed: [0]}")
    with RunFolder(tmp_path / "runs" / cell.run).lock():
        ended, _ = work(cell, tmp_path / "runs")
    assert ended.state == "elsewhere"
    assert "another process is working in this run folder" in ended.message


def test_an_interrupted_cell_can_be_resumed(tmp_path, monkeypatch):
    (cell,) = cells(tmp_path, "grid: {run.seed: [0]}")

    def interrupt(moved: Moved) -> None:
        if moved.epoch == 1:
            raise KeyboardInterrupt

    ended = run_cell(cell, tmp_path, None, DatasetCache(), interrupt)
    assert (ended.state, ended.message) == ("interrupted", "asked to stop; --resume continues")
    assert work(cell, tmp_path)[0].state == "finished"


@pytest.mark.parametrize("state", ["finished", "failed"])
def test_a_task_skips_what_needs_no_work(state, tmp_path):
    (cell,) = cells(tmp_path, "grid: {run.seed: [0]}")
    run = pipeline.train_run(cell.loaded, runs_dir=tmp_path)
    if state == "failed":
        (run.path / "result.json").write_text("{")
    before = run.weights.stat().st_mtime_ns
    SweepFile(tmp_path, "mine").begin("id", "", [SweepCell(run=cell.run, what={})])
    assert [ended.state for ended in run_part((cell,), tmp_path, None, "mine")] == [state]
    assert run.weights.stat().st_mtime_ns == before
