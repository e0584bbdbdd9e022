"""What runs left on disk, read with suspicion: what is half written, damaged or a copy is named and not used."""

import math
from dataclasses import dataclass
from pathlib import Path

from tokenprune.errors import TokenpruneError
from tokenprune.runs import Epoch, PruneResult, RunFolder, TrainResult, all_runs, read_record


@dataclass(frozen=True)
class RunData:
    """A finished run: its result, its epochs (0 is before training) and its whole prunes with their folders."""

    folder: RunFolder
    result: TrainResult
    epochs: list[Epoch]
    prunes: list[tuple[Path, PruneResult]]


def read_runs(runs_dir: Path) -> tuple[list[RunData], list[str]]:
    """Finished runs in the order of their folders' names, and a line for each thing that cannot be used."""
    runs: list[RunData] = []
    problems: list[str] = []
    seen: dict[tuple[str, int], str] = {}
    for folder in all_runs(runs_dir):
        try:
            if not folder.finished:
                status = folder.status()
                problems.append(f"{folder.path}: not finished ({status.state if status else 'no status'}): not used")
                continue
            result = folder.result()
            _check(folder.path, result.test_correct, result.test_count, result.test_accuracy)
            epochs = folder.epochs()
        except TokenpruneError as error:
            problems.append(f"{error}: run {folder.name} is not used")
            continue
        twin = seen.setdefault((result.setting, result.seed), folder.name)
        if twin != folder.name:
            problems.append(f"{folder.path}: same setting and seed as {twin}, so no replicate of it: not used")
            continue
        runs.append(RunData(folder, result, epochs, _read_prunes(folder, problems)))
    return runs, problems


def _read_prunes(folder: RunFolder, problems: list[str]) -> list[tuple[Path, PruneResult]]:
    found = []
    for path in sorted(path for path in (folder.path / "prune").glob("*") if path.is_dir()):
        if not (path / "result.json").is_file():
            problems.append(f"{path}: half written (no result.json): not used")
            continue
        try:
            result = read_record(path / "result.json", PruneResult)
            _check(path, result.baseline_correct, result.count, result.baseline_accuracy)
            for point in result.points:
                _check(path, point.correct, result.count, point.accuracy)
        except TokenpruneError as error:
            problems.append(f"{error}: this prune is not used")
            continue
        found.append((path, result))
    return found


def _check(path: Path, correct: int, count: int, accuracy: float) -> None:
    """A changed digit still parses as JSON; numbers that contradict each other do not pass."""
    if not 0 <= correct <= count or count == 0 or not math.isclose(accuracy, correct / count, abs_tol=1e-9):
        raise TokenpruneError(f"{path}: damaged: accuracy {accuracy:g} is not {correct} of {count} images")
