"""What runs left on disk, read with suspicion: what is half written, damaged or a copy is named and not used."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tokenprune.claims.images import by_images
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.recipe import Recipe, Schedule, kept
from tokenprune.runs import Epoch, ModelFacts, PruneResult, RunFolder, TrainResult, all_runs, read_record

#: Sections of a recipe that decide the trained weights.
_SCIENCE = ("data.", "model.", "start.", "pruner.", "train.")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where there is one, is many times as fast


@dataclass(frozen=True)
class RunData:
    """A finished run: its result, its epochs (0 is before training) and its whole prunes with their folders.

    science: what its recipe says of the trained weights, by key; empty where that cannot be read.
    """

    folder: RunFolder
    result: TrainResult
    epochs: list[Epoch]
    prunes: list[tuple[Path, PruneResult]]
    science: Mapping[str, Any] = field(default_factory=dict)

    @property
    def idle(self) -> str | None:
        """Why the pruner in its training changed nothing, so that no verdict may compare it; None where it did."""
        keep, patches = self.result.keep_ratio, self.result.model.patches
        if self.result.pruner == "none":
            return None
        if kept(keep, patches) == patches:
            return f"keep ratio {keep:g} removes none of {patches} tokens"
        return _no_site(self.science.get("pruner.site", "input"), self.result.model)


def read_runs(runs_dir: Path) -> tuple[list[RunData], list[str]]:
    """Finished runs in the order of their folders' names, and a line for each thing that cannot be used."""
    runs: list[RunData] = []
    problems: list[str] = []
    sciences: dict[str, Mapping[str, Any]] = {}
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
        if result.setting not in sciences:  # the same for all seeds of a setting
            try:
                sciences[result.setting] = read_science(folder.resolved)
            except TokenpruneError as error:
                problems.append(f"{error}: run {folder.name} is not compared with other settings")
        prunes = _read_prunes(folder, result, problems)
        run = RunData(folder, result, epochs, prunes, sciences.get(result.setting, {}))
        if run.idle:
            problems.append(f"{folder.path}: trained as without a pruner: {run.idle}: not used in verdicts")
        runs.append(run)
    runs, different = by_images(runs)
    replicates: dict[tuple[str, int], RunData] = {}
    for run in runs:
        first = replicates.setdefault((run.result.setting, run.result.seed), run)
        if first is not run:
            problems.append(
                f"{run.folder.path}: same setting and seed as {first.folder.name}, so no replicate of it: not used"
            )
    return list(replicates.values()), problems + different


def read_science(path: Path) -> dict[str, Any]:
    """What a resolved.yaml says of the trained weights: `data.scene` -> "composite", and so on.

    Nothing is validated, which would take seconds for hundreds of runs. Keys that an older file lacks have their
    defaults; so have those without effect: a pruner that removes nothing is no pruner. Raises TokenpruneError.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise TokenpruneError(f"{path}: cannot be read: {reason}") from None
    if not isinstance(tree, dict):
        raise TokenpruneError(f"{path}: cannot be read: no sections")
    defaults = _defaults()
    found = defaults | {key: value for key, value in _flat(tree) if key.startswith(_SCIENCE)}
    unused = []
    if found["pruner.name"] == "none" or found["pruner.keep_ratio"] == 1:
        unused.append("pruner.")
    if found["data.source"] != "patterns":
        unused.append("data.patterns.")
    if not found["data.noise_tokens"]:
        unused.append("data.noise_tile")
    if found["start.source"] is None:
        unused.append("start.")
    return defaults | {key: value for key, value in found.items() if not key.startswith(tuple(unused))}


@cache
def _defaults() -> dict[str, Any]:
    return {key: value for key, value in _flat(Recipe().model_dump(mode="json")) if key.startswith(_SCIENCE)}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read_prunes(folder: RunFolder, trained: TrainResult, problems: list[str]) -> list[tuple[Path, PruneResult]]:
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
            if problem := _no_site(result.site, trained.model):
                raise TokenpruneError(f"{path}: {problem}")
        except TokenpruneError as error:
            problems.append(f"{error}: this prune is not used")
            continue
        found.append((path, result))
    return found


def _no_site(site: str, model: ModelFacts) -> str | None:
    """What is wrong with a site in that model; None where tokens are removed that something reads."""
    try:
        Schedule.parse(site).check(model.depth, model.class_pooled)
    except UsageError as error:
        return str(error)
    return None


def _check(path: Path, correct: int, count: int, accuracy: float) -> None:
    """A changed digit still parses as JSON; numbers that contradict each other do not pass."""
    if not 0 <= correct <= count or count == 0 or not math.isclose(accuracy, correct / count, abs_tol=1e-9):
        raise TokenpruneError(f"{path}: damaged: accuracy {accuracy:g} is not {correct} of {count} images")
