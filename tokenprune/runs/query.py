"""Finding runs: all in a folder, one by name, the latest finished."""

import contextlib
import glob
import re
from pathlib import Path

from tokenprune.errors import TokenpruneError, UsageError, unknown
from tokenprune.runs import packed
from tokenprune.runs.folder import RunFolder, run_paths


def run_name(recipe: str, setting: str, seed: int) -> str:
    """Name of a run's folder: recipe, setting, seed."""
    return f"{recipe}-{setting}-s{seed}"


def all_runs(runs_dir: Path) -> list[RunFolder]:
    """Every folder in `runs_dir` that a run was started in, by name. Empty if the folder does not exist."""
    return [RunFolder(path) for path in run_paths(runs_dir)]


def check_resumable(wanted: RunFolder) -> None:
    """Raises TokenpruneError where --resume finds no such run, but an interrupted one of the same recipe."""
    name = re.fullmatch(r"(.+)-[0-9a-f]+-s(\d+)", wanted.name)
    if name is None or wanted.begun or wanted.finished:
        return
    for path in sorted(wanted.path.parent.glob(f"{glob.escape(name[1])}-*-s{name[2]}")):
        other = type(wanted)(path)
        if path.name != wanted.name and other.begun and not other.finished and not other.held():
            raise TokenpruneError(
                f"nothing to resume in {wanted.path}; {other.name} was interrupted, of other keys: "
                f"`{other.train_command('--resume')}` continues it; without --resume this one starts from the beginning"
            )


def find_run(runs_dir: Path, name: str) -> RunFolder:
    """A run by folder name, or by path. Raises UsageError, with the nearest name, if there is none."""
    runs = {run.name: run for run in all_runs(runs_dir)}
    if name in runs:
        return runs[name]
    with contextlib.suppress(OSError):  # a name longer than that of any file
        if (run := RunFolder(packed.folder(Path(name)))).started:
            return run
    error = unknown("run", name, runs)
    raise UsageError(f"{error} (looked in {runs_dir})")


def latest_finished(runs_dir: Path) -> tuple[RunFolder, list[str]]:
    """The run that finished last, and a line for each later one whose result cannot be read.

    Raises TokenpruneError where there is none, or none that can be read.
    """
    runs = [run for run in all_runs(runs_dir) if run.finished]
    if not runs:
        raise TokenpruneError(
            f"{runs_dir}: no finished run here; `tokenprune train --recipe quickstart` makes one, "
            "--runs-dir looks elsewhere"
        )
    runs.sort(key=lambda run: ((run.path / "result.json").stat().st_mtime_ns, run.name), reverse=True)
    damaged: list[TokenpruneError] = []
    for run in runs:
        try:
            run.result()
        except TokenpruneError as error:
            damaged.append(error)
        else:
            return run, [str(error) for error in damaged]
    raise damaged[0]
