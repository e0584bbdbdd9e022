"""Cells that start from pretraining: trained once, before those that need it, and named when it fails."""

import json

import pytest
from sweep_factories import write_sweep

from tokenprune.recipe import pretraining_of, run_of
from tokenprune.recipe.sweep import load_sweep
from tokenprune.runs import RunFolder
from tokenprune.runs.sweeps import SweepCell, SweepFile
from tokenprune.sweep import begin, overview, run_here
from tokenprune.sweep.launch import _Queue
from tokenprune.sweep.progress import CellRow, Watcher
from tokenprune.sweep.run import _parts
from tokenprune.sweep.work import run_part

CPU = "set: {run.device: cpu, start.epochs: 1}\n"
#: One from scratch, and four that share two pretrainings.
TWO = "also: [{run.seed: [0]}, {start.source: [patterns], run.seed: [0, 1], pruner.keep_ratio: [0.5, 0.6]}]\n"
STARTS = CPU.replace("}", ", pruner.name: random}") + TWO
LOST = (
    CPU.replace("}", ", train.warmup_epochs: 0}") + "grid: {start.source: [null, absent.npz], train.epochs: [1, 2]}\n"
)


def load(folder, text=STARTS):
    return load_sweep(write_sweep(folder, text))


def test_pretraining_joins_the_cells_once_before_those_that_start_from_it(tmp_path):
    cells = load(tmp_path).cells
    assert [(cell.label, cell.needs) for cell in cells] == [
        ("pretrain patterns seed=0", None),
        ("pretrain patterns seed=1", None),
        ("seed=0", None),
        ("source=patterns seed=0 keep_ratio=0.5", cells[0].run),
        ("source=patterns seed=0 keep_ratio=0.6", cells[0].run),
        ("source=patterns seed=1 keep_ratio=0.5", cells[1].run),
        ("source=patterns seed=1 keep_ratio=0.6", cells[1].run),
    ]
    assert dict(cells[1].what) == {"start.source": "patterns", "run.seed": 1}
    assert cells[0].prune == ()
    first = pretraining_of(cells[3].loaded)
    assert (cells[0].loaded, cells[0].run) == (first, run_of(first))


def test_labels_tell_pretrainings_apart(tmp_path):
    text = "grid: {start.source: [cifar10, cifar100], start.noise: [0.1, 0.4], model.depth: [1, 2]}\n"
    text += "set: {data.source: cifar10}"
    labels = [cell.label for cell in load(tmp_path, text).cells[:8]]
    assert labels[:4] == [f"pretrain noisy {noise} depth={depth}" for noise in (0.1, 0.4) for depth in (1, 2)]
    assert len(set(labels)) == 8


def test_a_sweep_without_starts_is_what_it_was(tmp_path):
    plain, said = (load(tmp_path, f"grid: {{run.seed: [0]{more}}}") for more in ("", ", start.source: [null]"))
    assert plain.identity == said.identity
    assert [cell.run for cell in plain.cells] == [cell.run for cell in said.cells]


class Notes(Watcher):
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def changed(self, row: CellRow) -> None:
        self.said.append((row.state, row.cell.run))


def test_no_cell_begins_before_its_pretraining_is_finished_and_a_second_run_costs_nothing(tmp_path):
    runs, notes = tmp_path / "runs", Notes()
    begun = begin(load(tmp_path), runs_dir=runs)
    run_here(begun, workers=2, watcher=notes)
    assert {row.state for row in begun.rows} == {"finished"}
    for row in begun.rows:
        if row.cell.needs:
            assert notes.said.index(("finished", row.cell.needs)) < notes.said.index(("training", row.cell.run))
            told = json.loads(RunFolder(runs / row.cell.run).environment.read_text())["start"]["run"]
            assert told == row.cell.needs
    assert [cell.state for cell in begun.file.read().cells] == ["finished"] * 7

    again = begin(load(tmp_path), runs_dir=runs)
    assert (again.edit, again.waiting) == (None, [])
    firsts = [RunFolder(runs / row.cell.run) for row in again.rows[:2]]
    for first in firsts:
        first.path.rename(tmp_path / first.name)
    assert begin(load(tmp_path), runs_dir=runs).waiting == []  # nobody starts from it any more
    (runs / again.rows[-1].cell.run / "result.json").unlink()
    assert [row.cell.run for row in overview(load(tmp_path), runs) if row.state == "waiting"] == [
        again.rows[1].cell.run,
        again.rows[-1].cell.run,
    ]


def test_a_pretraining_that_fails_fails_by_name_what_starts_from_it_and_nothing_else(tmp_path):
    sweep, runs = load(tmp_path, LOST), tmp_path / "runs"
    begun = begin(sweep, runs_dir=runs)
    run_here(begun, workers=1)
    states = {row.cell.label: row.state for row in begun.rows}
    assert states == {
        "pretrain absent": "failed",
        "source=null epochs=1": "finished",
        "source=null epochs=2": "finished",
        "source=absent.npz epochs=1": "failed",
        "source=absent.npz epochs=2": "failed",
    }
    first, *_, last = begun.rows
    assert "absent.npz" in first.message
    assert last.message == f"{first.cell.run}, the pretraining that this run starts from, failed: {first.message}"
    assert [cell.message for cell in begun.file.read().cells][-1] == last.message
    assert not (runs / last.cell.run).exists()


def test_a_task_of_a_cluster_does_not_pretrain_again_what_has_failed(tmp_path):
    cells = load(tmp_path, LOST).cells
    SweepFile(tmp_path, "mine").begin("id", "", [SweepCell(run=cell.run, what={}) for cell in cells])
    ended = run_part(cells, tmp_path, None, "mine")
    assert [each.state for each in ended] == ["failed", "finished", "finished", "failed", "failed"]
    assert ended[-1].message.startswith(f"{cells[0].run}, the pretraining that this run starts from, failed: ")


def test_a_task_trains_what_its_cells_start_from(tmp_path):
    cells = load(tmp_path).cells
    SweepFile(tmp_path, "mine").begin("id", "", [SweepCell(run=cell.run, what={}) for cell in cells])
    ended = run_part(cells[3:5], tmp_path, None, "mine")
    assert [each.state for each in ended] == ["finished", "finished"]
    assert RunFolder(tmp_path / cells[0].run).finished


@pytest.mark.parametrize("tasks", [2, 99])
def test_cells_of_a_cluster_go_with_what_they_start_from(tasks, tmp_path):
    rows = [CellRow(cell, "waiting", 1.0) for cell in load(tmp_path).cells]
    parts = _parts(rows, tasks)
    assert sorted(len(part) for part in parts) == ([3, 4] if tasks == 2 else [1, 3, 3])
    for part in parts:
        runs = [row.cell.run for row in part]
        assert all(runs.index(row.cell.needs) < runs.index(row.cell.run) for row in part if row.cell.needs)


def test_pretraining_goes_early_and_its_cells_as_soon_as_it_is_there(tmp_path):
    first, second, plain, *rest = rows = [CellRow(cell, "waiting", 4.0) for cell in load(tmp_path).cells]
    plain.flops = 6.0
    queue = _Queue(rows)
    assert [queue.take(set()) for _ in range(4)] == [first, second, plain, None]  # 4 + 4, 4 + 4, 6
    assert queue.orphans() == []
    second.state = "finished"
    assert [queue.take(set()) for _ in range(3)] == [*rest[2:], None]
    first.state, first.message = "failed", "why"
    assert queue.orphans() == rest[:2]
    assert {row.state for row in rest[:2]} == {"failed"}
    assert queue.take(set()) is None


@pytest.mark.parametrize(("state", "job"), [("elsewhere", None), ("submitted", "5_0"), ("training", "5_0")])
def test_what_another_process_pretrains_is_waited_for_last(state, job, tmp_path):
    first, second, plain, *rest = rows = [CellRow(cell, "waiting", 4.0) for cell in load(tmp_path).cells]
    first.state, first.job, second.state, rest[0].flops = state, job, "finished", 100.0
    queue = _Queue(rows)
    assert [queue.take(set()) for _ in range(5)] == [plain, *rest[2:], *rest[:2]]
