"""The Slurm launcher: a job array through submitit, each of whose tasks runs the cells it is given."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.recipe.sweep import Cell


def submit(
    parts: Sequence[tuple[Cell, ...]],
    runs_dir: Path,
    data_dir: Path | None,
    sweep: str,
    options: Mapping[str, object],
    cluster: str = "slurm",
) -> list[str]:
    """Submit one array with a task per part; the jobs' names. Their logs are in `sweeps/NAME-jobs/`.

    options: submitit's, such as slurm_partition, timeout_min, gpus_per_node. cluster: another of submitit's executors.

    Raises TokenpruneError where submitit is not installed or the scheduler refuses, UsageError for an option that
    submitit does not know; no cell has then been touched.
    """
    try:
        import submitit
    except ImportError:
        raise TokenpruneError("--launcher slurm needs submitit: pip install 'tokenprune-vit[slurm]'") from None
    try:
        executor = submitit.AutoExecutor(folder=runs_dir.absolute() / "sweeps" / f"{sweep}-jobs", cluster=cluster)
    except Exception as error:
        raise TokenpruneError(f"--launcher slurm: no scheduler here: {_first_line(error)}") from None
    try:
        executor.update_parameters(name=f"tokenprune-{sweep}", **options)
    except (NameError, TypeError, ValueError) as error:
        raise UsageError(f"--slurm: {_first_line(error)}") from None
    try:
        with executor.batch():
            jobs = [
                executor.submit(_task, os.getcwd(), part, runs_dir.absolute(), data_dir and data_dir.absolute(), sweep)
                for part in parts
            ]
        return [str(job.job_id) for job in jobs]
    except Exception as error:  # each scheduler fails in its own way
        raise TokenpruneError(
            f"--launcher slurm: the scheduler refused the job: {_first_line(error)}; nothing was started"
        ) from None


def _task(folder: str, cells: tuple[Cell, ...], runs_dir: Path, data_dir: Path | None, sweep: str) -> Any:
    """What a task of the array runs, from where the sweep was typed: paths in recipes are seen from there."""
    from tokenprune.sweep import work

    os.chdir(folder)
    return work.run_part(cells, work.Place(runs_dir, data_dir), sweep)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
