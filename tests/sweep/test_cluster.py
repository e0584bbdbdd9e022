"""Slurm through submitit: one array, each task its cells; a refusal is one line and loses nothing."""

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from sweep_factories import write_sweep

from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.recipe.sweep import load_sweep
from tokenprune.runs import RunFolder
from tokenprune.runs.sweeps import Word
from tokenprune.sweep import begin, cluster, overview, run_on_cluster, work


class _Executor:
    """submitit.AutoExecutor as far as it is used: runs what it is given when the batch closes, or refuses it."""

    refusal: Exception | None = None
    made: "_Executor"

    def __init__(self, folder: Path, cluster: str, slurm_max_num_timeout: int) -> None:
        self.folder, self.cluster, self.options, self.tasks = folder, cluster, {}, []
        self.requeues = slurm_max_num_timeout
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
        for number, (task, arguments) in enumerate(self.tasks):
            _Environment.job_id = f"77_{number}"
            task(*arguments)

    def submit(self, task, *arguments: object) -> SimpleNamespace:
        self.tasks.append((task, arguments))
        return SimpleNamespace(job_id=f"77_{len(self.tasks) - 1}")


class _Environment:
    """submitit.JobEnvironment in a task."""

    USR_SIG = "USR2"
    job_id: str


@pytest.fixture
def scheduler(monkeypatch) -> type[_Executor]:
    monkeypatch.setattr(_Executor, "refusal", None)
    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=_Executor, JobEnvironment=_Environment))
    return _Executor


def begun(folder: Path):
    sweep = load_sweep(write_sweep(folder, "grid: {run.seed: [0, 1, 2]}\nprune: [{}]"))
    return begin(sweep, runs_dir=folder / "runs")


def test_cells_become_one_array_and_what_they_did_is_recorded(scheduler, tmp_path):
    sweep = begun(tmp_path)
    jobs = run_on_cluster(sweep, tasks=2, options={"slurm_partition": "gpu", "slurm_max_num_timeout": 3})
    assert jobs == ["77_0", "77_1"]
    assert scheduler.made.requeues == 3
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"partition": "gpu"}, "--slurm: Unknown arguments: partition"),
        ({"slurm_max_num_timeout": "x"}, "--slurm: slurm_max_num_timeout: expected a whole number, found 'x'"),
    ],
)
def test_an_option_that_submitit_does_not_know(options, said, scheduler, tmp_path):
    with pytest.raises(UsageError) as raised:
        run_on_cluster(begun(tmp_path), tasks=None, options=options)
    assert str(raised.value) == said


def test_a_task_whose_time_is_nearly_up_saves_and_goes_back_into_the_queue(scheduler, monkeypatch, tmp_path):
    """SIGTERM, which may come with the signal that precedes the limit, does not hurry it."""
    sweep = begun(tmp_path)
    requeued: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: requeued.append(number))  # as submitit's

    def nearly_up(reporter: work._Reporter, done: int, *_: object) -> None:
        if done == 4 and not requeued:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGUSR2)

    monkeypatch.setattr(work._Reporter, "step", nearly_up)
    try:
        run_on_cluster(sweep, tasks=1, options={})
        assert requeued == [signal.SIGUSR2]
        first, *rest = (RunFolder(sweep.runs_dir / run) for run in (cell.run for cell in sweep.file.read().cells))
        assert first.status().state == "interrupted"
        assert torch.load(first.resume, weights_only=True)["steps"] == 4
        assert not any(run.path.exists() for run in rest)
        ((task, arguments),) = scheduler.made.tasks
        assert {ended.state for ended in task(*arguments)} == {"finished"}
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert requeued == [signal.SIGUSR2]


def with_commands(monkeypatch, folder: Path, **scripts: str) -> None:
    """Commands of Slurm that do this."""
    commands = folder / "commands"
    commands.mkdir(exist_ok=True)
    for name, script in scripts.items():
        (commands / name).write_text(f"#!/bin/sh\n{script}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)


def test_cells_whose_job_left_the_queue_are_named_and_submitted_anew(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    with_commands(monkeypatch, tmp_path, srun="", sbatch="echo Submitted batch job 4242")
    first = begun(tmp_path)
    run_on_cluster(first, tasks=None, options={"timeout_min": 5})
    jobs = {row.cell.run: row.job for row in first.rows}
    assert sorted(jobs.values()) == ["4242_0", "4242_1", "4242_2"]
    a, b, c = (row.cell.run for row in first.rows)
    first.file.note({b: Word("training", None, jobs[b])})

    queue = (f"{jobs[a]}/PENDING/tokenprune-mine", f"{jobs[b]}/RUNNING/tokenprune-mine", f"{jobs[c]}/RUNNING/other")
    with_commands(monkeypatch, tmp_path, squeue=f"printf '%s\\n' {' '.join(queue)}")
    seen = [(row.state, row.message) for row in overview(first.sweep, first.runs_dir)]
    assert seen == [
        ("submitted", f"job {jobs[a]}"),
        ("training", f"job {jobs[b]}"),
        ("waiting", f"job {jobs[c]} left the queue"),
    ]
    again = begun(tmp_path)
    assert [row.cell.run for row in again.waiting] == [c]
    assert run_on_cluster(again, tasks=None, options={"timeout_min": 5}) == ["4242"]
    assert [cell.job for cell in again.file.read().cells] == [jobs[a], jobs[b], "4242"]


def test_where_slurm_cannot_be_asked_a_cell_of_a_job_waits_and_says_so(tmp_path, monkeypatch):
    sweep = begun(tmp_path)
    sweep.file.note({row.cell.run: Word("submitted", None, "7") for row in sweep.rows[:1]})
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = overview(sweep.sweep, sweep.runs_dir)
    said = "job 7 is in an unknown state: squeue fails here"
    assert [(row.state, row.message) for row in rows] == [("waiting", said), ("waiting", None), ("waiting", None)]


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
    with_commands(monkeypatch, tmp_path, srun="", sbatch="echo 'sbatch: error: Invalid account' >&2; exit 1")
    sweep = begun(tmp_path)
    with pytest.raises(TokenpruneError, match=r"refused the job: sbatch: error: Invalid account; nothing was started$"):
        run_on_cluster(sweep, tasks=None, options={})


def test_submitit_where_there_is_no_slurm(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TokenpruneError, match=r"^--launcher slurm: no scheduler here: ") as raised:
        run_on_cluster(begun(tmp_path), tasks=None, options={})
    assert "\n" not in str(raised.value)
