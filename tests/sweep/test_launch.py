"""The local launcher: largest first, a worker that dies fails its cell alone, asking to stop loses nothing."""

import multiprocessing
import os
import signal

import pytest
from sweep_factories import write_sweep

from tokenprune import pipeline
from tokenprune.errors import TokenpruneError
from tokenprune.recipe.sweep import load_sweep
from tokenprune.runs import RunFolder
from tokenprune.sweep import begin, run_here, work
from tokenprune.sweep.launch import _Queue, worker_pool
from tokenprune.sweep.progress import CellRow, Ended, Watcher

CPU = "set: {run.device: cpu}\n"


def begun(folder, text, **options):
    return begin(load_sweep(write_sweep(folder, CPU + text)), runs_dir=folder / "runs", **options)


def workers() -> list[int]:
    return [child.pid for child in multiprocessing.active_children()]


class Acts(Watcher):
    """Does something once, when a cell has come to an epoch."""

    def __init__(self, row: CellRow, epoch: int, act) -> None:
        self.row, self.epoch, self.act = row, epoch, act
        self.done = False

    def tick(self) -> None:
        if not self.done and self.row.epoch >= self.epoch:
            self.done = True
            self.act()


def test_all_cells_are_run_by_few_workers_and_recorded(tmp_path):
    sweep = begun(tmp_path, "grid: {run.seed: [0, 1, 2], model.depth: [1, 2]}\nprune: [{}]")
    pids: set[int] = set()
    watcher = Watcher()
    watcher.tick = lambda: pids.update(workers())  # type: ignore[method-assign]
    run_here(sweep, workers=2, watcher=watcher)
    assert [row.state for row in sweep.rows] == ["finished"] * 6
    assert [cell.state for cell in sweep.file.read().cells] == ["finished"] * 6
    assert len(pids) == 2
    assert workers() == []
    assert all(len(RunFolder(tmp_path / "runs" / row.cell.run).prunes()) == 1 for row in sweep.rows)
    assert all(row.accuracy == RunFolder(tmp_path / "runs" / row.cell.run).result().test_accuracy for row in sweep.rows)
    again = begun(tmp_path, "grid: {run.seed: [0, 1, 2], model.depth: [1, 2]}\nprune: [{}]")
    assert again.waiting == []


def test_a_killed_worker_fails_its_cell_is_replaced_and_the_cell_can_go_on(tmp_path):
    text = "grid: {run.seed: [0, 1], train.epochs: [2, 60]}"
    sweep = begun(tmp_path, text)
    victim = next(row for row in sweep.rows if row.cell.loaded.recipe.train.epochs == 60)
    run_here(sweep, workers=1, watcher=Acts(victim, 3, lambda: [os.kill(pid, signal.SIGKILL) for pid in workers()]))
    assert {row.cell.label: (row.state, row.message) for row in sweep.rows} == {
        "seed=0 epochs=2": ("finished", None),
        "seed=0 epochs=60": ("failed", "killed (signal 9)"),
        "seed=1 epochs=2": ("finished", None),
        "seed=1 epochs=60": ("finished", None),
    }
    assert [cell.message for cell in sweep.file.read().cells if cell.state == "failed"] == ["killed (signal 9)"]
    again = begun(tmp_path, text, resume=True)
    assert [row.cell.label for row in again.waiting] == ["seed=0 epochs=60"]
    run_here(again, workers=1)
    assert [row.state for row in again.rows] == ["finished"] * 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_every_training_under_way_is_saved(number, tmp_path):
    sweep = begun(tmp_path, "grid: {run.seed: [0, 1, 2], train.epochs: [2000]}")
    with pytest.raises(KeyboardInterrupt):
        run_here(sweep, workers=2, watcher=Acts(sweep.rows[0], 1, lambda: signal.raise_signal(number)))
    assert [row.state for row in sweep.rows] == ["interrupted", "interrupted", "waiting"]
    for row in sweep.rows[:2]:
        run = RunFolder(tmp_path / "runs" / row.cell.run)
        status = run.status()
        if status is None:  # stopped before its training began: only the second worker can be so late
            assert row is sweep.rows[1]
            continue
        assert status.state == "interrupted"
        assert run.resume.is_file() or row.epoch == 0
    assert [cell.state for cell in sweep.file.read().cells] == ["interrupted", "interrupted", "waiting"]
    assert workers() == []


def test_the_largest_goes_first_unless_a_worker_holds_what_one_nearly_as_large_needs(tmp_path):
    cells = load_sweep(write_sweep(tmp_path, "grid: {data.seed: [0, 1], run.seed: [0, 1, 2]}")).cells
    rows = [CellRow(cell, "waiting", flops) for cell, flops in zip(cells, (1, 6, 8, 3, 7, 10), strict=True)]
    held = {cells[0].loaded.recipe.data.model_dump_json()}
    queue = _Queue(rows)
    taken = [queue.take(held).flops for _ in rows]
    assert taken == [8, 6, 10, 7, 3, 1]  # 1 is less than half of 10
    assert queue.take(held) is None
    assert [_Queue(rows).take(set()).flops] == [10]


def test_what_another_process_has_finished_by_the_end_is_finished(tmp_path):
    text = "grid: {run.seed: [0, 1]}"
    theirs = RunFolder(tmp_path / "runs" / load_sweep(write_sweep(tmp_path, CPU + text)).cells[0].run)
    with theirs.lock():
        theirs.set_status("running", 1, 3)
        sweep = begun(tmp_path, text)
    assert [row.state for row in sweep.rows] == ["elsewhere", "waiting"]
    pipeline.train_run(sweep.rows[0].cell.loaded, runs_dir=tmp_path / "runs", resume=True)
    run_here(sweep, workers=1)
    assert [row.state for row in sweep.rows] == ["finished"] * 2
    assert sweep.rows[0].accuracy == theirs.result().test_accuracy
    assert [cell.state for cell in sweep.file.read().cells] == ["finished"] * 2


def test_as_many_workers_as_cores_for_their_threads():
    cores = len(os.sched_getaffinity(0))
    assert worker_pool(None, 1, "cpu", 1) == (None,) * cores
    assert worker_pool(None, cores, "cpu", 1) == (None,)
    assert worker_pool(None, 4 * cores, "cpu", 1) == (None,)
    assert worker_pool(3, 1, "cpu", 1) == (None,) * 3


def test_cuda_that_is_not_there_is_said_once_before_anything_runs(monkeypatch):
    monkeypatch.setattr("tokenprune.sweep.launch._ask_for_gpus", lambda: 0)
    with pytest.raises(TokenpruneError, match="device cuda: torch sees no CUDA device here; use --device cpu or auto"):
        worker_pool(None, 1, "cuda", 1)


def test_workers_share_gpus_evenly(monkeypatch):
    monkeypatch.setattr("tokenprune.sweep.launch._ask_for_gpus", lambda: 2)
    assert worker_pool(None, 1, "auto", 1) == (0, 1)
    assert worker_pool(None, 1, "auto", 2) == (0, 1, 0, 1)
    assert worker_pool(3, 1, "cuda", 2) == (0, 1, 0)
    assert worker_pool(None, 1, "cpu", 2) == worker_pool(None, 1, "cpu", 1)


def _says_its_gpu(pipe, runs_dir, data_dir, gpu) -> None:
    work.run_cell = lambda *_: Ended("finished", os.environ["CUDA_VISIBLE_DEVICES"])
    work.serve(pipe, runs_dir, data_dir, gpu)


def test_each_worker_sees_the_gpu_that_is_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("tokenprune.sweep.launch._ask_for_gpus", lambda: 3)
    monkeypatch.setattr("tokenprune.sweep.launch._serve", _says_its_gpu)
    sweep = begin(load_sweep(write_sweep(tmp_path, "grid: {run.seed: [0, 1, 2]}")), runs_dir=tmp_path / "runs")
    run_here(sweep)
    assert sorted(row.message for row in sweep.rows) == ["0", "1", "2"]


def test_of_gpus_that_were_chosen_a_worker_takes_one(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8932f937")
    assert [work._visible(gpu) for gpu in (0, 1)] == ["3", "GPU-8932f937"]
