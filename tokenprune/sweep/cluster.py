"""The Slurm launcher: a job array through submitit, each of whose tasks runs the cells it is given."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.recipe.sweep import Cell

#: Times that a job which reaches its time limit is put back into the queue.
REQUEUES = 20


def jobs(sweep: str) -> dict[str, bool] | None:
    """The jobs of a sweep that are in Slurm's queue, and whether each runs; None where it cannot be asked."""
    try:
        command = ["squeue", "--noheader", "--array", "--format=%i/%T/%j"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    lines = [line.split("/", 2) for line in said.splitlines()]
    return {job: state == "RUNNING" for job, state, name in lines if name == f"tokenprune-{sweep}"}


def submit(
    parts: Sequence[tuple[Cell, ...]],
    runs_dir: Path,
    data_dir: Path | None,
    sweep: str,
    options: Mapping[str, object],
    cluster: str = "slurm",
) -> list[str]:
    """Submit one array with a task per part; the jobs' names. Their logs are in `sweeps/NAME-jobs/`.

    options: submitit's, such as slurm_partition, timeout_min, gpus_per_node, slurm_max_num_timeout. cluster: another of
    submitit's executors.

    Raises TokenpruneError where submitit is not installed or the scheduler refuses, UsageError for an option that
    submitit does not know; no cell has then been touched.
    """
    try:
        import submitit
    except ImportError:
        raise TokenpruneError("--launcher slurm needs submitit: pip install 'tokenprune-vit[slurm]'") from None
    given = dict(options)
    requeues = given.pop("slurm_max_num_timeout", REQUEUES)
    if not isinstance(requeues, int):
        raise UsageError(f"--slurm: slurm_max_num_timeout: expected a whole number, found {requeues!r}")
    try:
        executor = submitit.AutoExecutor(
            folder=runs_dir.absolute() / "sweeps" / f"{sweep}-jobs", cluster=cluster, slurm_max_num_timeout=requeues
        )
    except Exception as error:
        raise TokenpruneError(f"--launcher slurm: no scheduler here: {_first_line(error)}") from None
    try:
        executor.update_parameters(name=f"tokenprune-{sweep}", **given)
    except (NameError, TypeError, ValueError) as error:
        raise UsageError(f"--slurm: {_first_line(error)}") from None
    try:
        with executor.batch():
            jobs = [
                executor.submit(
                    _Task(), os.getcwd(), part, runs_dir.absolute(), data_dir and data_dir.absolute(), sweep
                )
                for part in parts
            ]
        return [str(job.job_id) for job in jobs]
    except Exception as error:  # each scheduler raises its own errors
        raise TokenpruneError(
            f"--launcher slurm: the scheduler refused the job: {_first_line(error)}; nothing was started"
        ) from None


class _Task:
    """The function of an array's task. Having `checkpoint` tells submitit that it may be put back into the queue."""

    def __call__(self, folder: str, cells: tuple[Cell, ...], runs_dir: Path, data_dir: Path | None, sweep: str) -> Any:
        """Run `cells` in the folder where the sweep was started, since paths in recipes are relative to it.

        On a signal before its time limit or a preemption, while Slurm still lists it as running, it saves and goes back
        into the queue, by submitit's own handler.
        """
        import submitit

        from tokenprune.sweep import work

        os.chdir(folder)
        environment = submitit.JobEnvironment()
        job, limit = environment.job_id, getattr(signal, f"SIG{environment.USR_SIG}")
        requeue, outcomes = signal.getsignal(limit), None
        with _asked(limit, signal.SIGTERM) as asked:
            with contextlib.suppress(KeyboardInterrupt):
                outcomes = work.run_part(cells, runs_dir, data_dir, sweep, job)
            if callable(requeue) and (limit in asked or (asked and (jobs(sweep) or {}).get(job))):
                requeue(limit, None)
        return outcomes

    def checkpoint(self, *arguments: object) -> Any:
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments)


@contextlib.contextmanager
def _asked(*numbers: int) -> Iterator[set[int]]:
    """The signals received so far. The first raises KeyboardInterrupt; further ones are only recorded."""
    asked: set[int] = set()

    def ask(number: int, frame: FrameType | None) -> None:
        first = not asked
        asked.add(number)
        if first:
            signal.raise_signal(signal.SIGINT)

    before = {number: signal.signal(number, ask) for number in numbers}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
