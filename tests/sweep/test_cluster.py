"""Slurm through submitit: one array, each task its cells; a refusal is one line and loses nothing."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from sweep_factories import write_sweep

from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.recipe.sweep import load_sweep
from tokenprune.runs import RunFolder
from tokenprune.sweep import begin, cluster, run_on_cluster


class _Executor:
    """submitit.AutoExecutor as far as it is used: runs what it is given when the batch closes, or refuses it."""

    refusal: Exception | None = None
    made: "_Executor"

    def __init__(self, folder: Path, cluster: str) -> None:
        self.folder, self.cluster, self.options, self.tasks = folder, cluster, {}, []
        type(self).made = self

    def update_parameters(self, **options: object) -> None:
        if unknown := set(options) - {"name", "slurm_partition", "timeout_min"}:
            raise NameError(f"Unknown arguments: {', '.join(unknown)}")
        self.options = options

    def batch(self) -> "_Executor":
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        if self.refusal is not None:
            raise self.refusal
        for task, arguments in self.tasks:
            task(*arguments)

    def submit(self, task, *arguments: object) -> SimpleNamespace:
        self.tasks.append((task, arguments))
        return SimpleNamespace(job_id=f"77_{len(self.tasks) - 1}")


@pytest.fixture
def scheduler(monkeypatch) -> type[_Executor]:
    monkeypatch.setattr(_Executor, "refusal", None)
    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=_Executor))
    return _Executor


def begun(folder: Path):
    sweep = load_sweep(write_sweep(folder, "grid: {run.seed: [0, 1, 2]}\nprune: [{}]"))
    return begin(sweep, runs_dir=folder / "runs")


def test_cells_become_one_array_and_what_they_did_is_recorded(scheduler, tmp_path):
    sweep = begun(tmp_path)
    jobs = run_on_cluster(sweep, tasks=2, options={"slurm_partition": "gpu"})
    assert jobs == ["77_0", "77_1"]
    assert scheduler.made.cluster == "slurm"
    assert scheduler.made.options == {"name": "tokenprune-mine", "slurm_partition": "gpu"}
    assert sorted(len(arguments[1]) for _, arguments in scheduler.made.tasks) == [1, 2]
    assert {row.message for row in sweep.rows} == {"job 77_0", "job 77_1"}
    assert [cell.state for cell in sweep.file.read().cells] == ["finished"] * 3  # they were faster than the launcher
    assert begun(tmp_path).waiting == []


def test_a_refusal_is_one_line_and_every_cell_still_waits(scheduler, monkeypatch, tmp_path):
    refusal = RuntimeError("sbatch: error: invalid account\nBatch job submission failed")
    monkeypatch.setattr(scheduler, "refusal", refusal)
    sweep = begun(tmp_path)
    with pytest.raises(TokenpruneError) as raised:
        run_on_cluster(sweep, tasks=None, options={})
    assert str(raised.value) == (
        "--launcher slurm: the scheduler refused the job: sbatch: error: invalid account; nothing was started"
    )
    assert [cell.state for cell in sweep.file.read().cells] == ["waiting"] * 3
    assert len(begun(tmp_path).waiting) == 3


def test_an_option_that_submitit_does_not_know(scheduler, tmp_path):
    with pytest.raises(UsageError, match=r"^--slurm: Unknown arguments: partition$"):
        run_on_cluster(begun(tmp_path), tasks=None, options={"partition": "gpu"})


def test_without_submitit_its_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(TokenpruneError, match=r"needs submitit: pip install 'tokenprune-vit\[slurm\]'"):
        run_on_cluster(begun(tmp_path), tasks=None, options={})


def test_submitit_itself_runs_the_cells(tmp_path, monkeypatch):
    """Its local executor starts a process for the task, from the same pickle as Slurm would."""
    submitit = pytest.importorskip("submitit")
    sweep = begun(tmp_path)
    submitted = []
    submit = submitit.AutoExecutor.submit
    monkeypatch.setattr(
        submitit.AutoExecutor, "submit", lambda *given: submitted.append(submit(*given)) or submitted[-1]
    )
    part = tuple(row.cell for row in sweep.rows)
    jobs = cluster.submit([part], sweep.runs_dir, None, "mine", {"timeout_min": 5}, cluster="local")
    states = [[ended.state for ended in job.result()] for job in submitted]
    assert len(jobs) == 1
    assert states == [["finished"] * 3]
    assert all(RunFolder(sweep.runs_dir / row.cell.run).finished for row in sweep.rows)
    assert [cell.state for cell in sweep.file.read().cells] == ["finished"] * 3


def test_what_sbatch_says_is_handed_on(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    commands = tmp_path / "commands"
    commands.mkdir()
    for name in ("srun", "sbatch"):
        (commands / name).write_text("#!/bin/sh\necho 'sbatch: error: Invalid account' >&2\nexit 1\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    sweep = begun(tmp_path)
    with pytest.raises(TokenpruneError, match=r"refused the job: sbatch: error: Invalid account; nothing was started$"):
        run_on_cluster(sweep, tasks=None, options={})
    (commands / "sbatch").write_text("#!/bin/sh\necho 'Submitted batch job 4242'\n")
    assert run_on_cluster(begun(tmp_path), tasks=2, options={"timeout_min": 5}) == ["4242_0", "4242_1"]
    assert {cell.state for cell in sweep.file.read().cells} == {"submitted"}


def test_submitit_where_there_is_no_slurm(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TokenpruneError, match=r"^--launcher slurm: no scheduler here: ") as raised:
        run_on_cluster(begun(tmp_path), tasks=None, options={})
    assert "\n" not in str(raised.value)
