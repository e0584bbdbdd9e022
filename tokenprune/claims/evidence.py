"""What runs left on disk: what is half written, damaged or a copy is named and not used."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from tokenprune import files
from tokenprune.claims.images import by_images
from tokenprune.claims.latency import Latency, latencies
from tokenprune.claims.measured import read_measured, result_folders
from tokenprune.claims.theory.study import flat
from tokenprune.errors import TokenpruneError, UsageError, printable, shortened
from tokenprune.recipe import Recipe, Schedule, kept
from tokenprune.runs import Epoch, MeasureResult, ModelFacts, PruneResult, RunFolder, TrainResult, all_runs
from tokenprune.runs.records import Result
from tokenprune.runs.results import PREDICTIONS, changed, right

if TYPE_CHECKING:
    import numpy as np

#: Sections of a recipe that decide the trained weights.
_SCIENCE = ("data.", "model.", "start.", "pruner.", "train.", "run.seed")
#: Of YAML, where a value may begin.
_ANCHOR = re.compile(r"(?m)(?:^|[:\-\[{,])\s*[&*]\S")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where there is one, is many times as fast


@dataclass(frozen=True)
class RunData:
    """A finished run: its result, its epochs (0 is before training), its whole prunes with their folders, measurements.

    measured: all of `tokenprune measure`, by name of their folders. latencies: those among them, by point and batch.
    science: what its recipe says of the trained weights, by key; empty where that cannot be read. environment: whether
    its environment is the one it was finished with.
    """

    folder: RunFolder
    result: TrainResult
    epochs: list[Epoch]
    prunes: list[tuple[Path, PruneResult]]
    science: Mapping[str, Any] = field(default_factory=dict)
    environment: bool = True
    measured: tuple[MeasureResult, ...] = ()
    latencies: list[Latency] = field(default_factory=list)

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
    for folder in all_runs(runs_dir):
        try:
            if not printable(folder.name):
                problems.append(f"{folder.path.parent}/{folder.name!a}: a name that is not UTF-8: not used")
                continue
            if not folder.finished:
                status = folder.status()
                problems.append(f"{folder.path}: not finished ({status.state if status else 'no status'}): not used")
                continue
            result = folder.result()
            broken = folder.changed(result)
            science = _science(folder, result, broken, problems)
        except TokenpruneError as error:
            problems.append(f"{error}: run {folder.name} is not used")
            continue
        epochs = _epochs(folder, result, broken, problems)
        problems += _left_out(broken)
        known = folder.environment.name not in broken
        prunes, measured = _read_prunes(folder, result, problems), read_measured(folder, result, problems)
        timed, whole = latencies(measured, problems), tuple(each for _, each in measured)
        run = RunData(folder, result, epochs, prunes, science, known, whole, timed)
        if run.idle:
            problems.append(f"{folder.path}: trained as without a pruner: {run.idle}: not used in verdicts")
        runs.append(run)
    runs, different = by_images(runs)
    replicates: dict[tuple[str, int], RunData] = {}
    for run in runs:
        seed = run.result.seed if run.result.epochs else 0  # without training a seed makes no other model
        first = replicates.setdefault((run.result.setting, seed), run)
        if first is not run:
            same = "setting and seed" if run.result.epochs else "model, not trained here,"
            problems.append(f"{run.folder.path}: same {same} as {first.folder.name}, so no replicate of it: not used")
    results = [
        pair for run in replicates.values() for pair in ((run.folder.path, cast(Result, run.result)), *run.prunes)
    ]
    return list(replicates.values()), problems + different + unsealed(results, runs_dir)


_NAMED = 6  # results without a seal; more are counted
_LEFT_OUT = {
    "environment.json": "which images it saw and what it ran on is unknown",
    "predictions.npz": "its answers by image are not used",
}


def _left_out(broken: Mapping[str, str]) -> list[str]:
    """What is said of files that changed after their result was written, and what is not used for it."""
    return [f"{problem}: {_LEFT_OUT[name]}" if name in _LEFT_OUT else problem for name, problem in broken.items()]


def unsealed(results: Sequence[tuple[Path, Result]], runs_dir: Path) -> list[str]:
    """A line for the results, each with its folder, that say nothing of whether they were changed."""
    names = [str(path.relative_to(runs_dir)) for path, result in results if result.seal is None]
    if not names:
        return []
    some = f": {', '.join(names)}" if len(names) <= _NAMED and len(names) < len(results) else ""
    have = "results has" if len(names) == 1 else "results have"
    return [f"{runs_dir}: {len(names)} of {len(results)} {have} no seal, so whether they were changed is unknown{some}"]


def _epochs(folder: RunFolder, result: TrainResult, broken: dict[str, str], problems: list[str]) -> list[Epoch]:
    """None of them where they are not those of the result."""
    changed_since = broken.pop("metrics.jsonl", None)
    try:
        epochs = folder.finished_epochs(result)
        if changed_since:
            raise TokenpruneError(changed_since)
    except TokenpruneError as error:
        problems.append(f"{error}: the epochs of {folder.name} are not used")
        return []
    return epochs


def _science(folder: RunFolder, result: TrainResult, broken: dict[str, str], problems: list[str]) -> Mapping[str, Any]:
    """What a run's recipe says of its weights, empty where it cannot be read.

    Raises TokenpruneError where it is not the recipe of this result.
    """
    try:
        found = read_keys(folder.resolved)
        if folder.resolved.name in broken:
            raise TokenpruneError(broken.pop(folder.resolved.name))
    except TokenpruneError as error:
        broken.pop(folder.resolved.name, None)
        problems.append(f"{error}: run {folder.name} is not compared with other settings")
        return {}
    pairs: list[tuple[str, Any, Any]] = [
        ("run.seed", found.pop("run.seed"), result.seed),
        ("train.epochs", found["train.epochs"], result.epochs),
        ("data.source", found["data.source"], result.data.source),
        ("data.scene", found["data.scene"], result.data.scene),
        ("pruner.name", found["pruner.name"], result.pruner),
    ]
    if isinstance(found["pruner.keep_ratio"], float | int) and found.get("pruner.r") is None:
        pairs.append(("pruner.keep_ratio", found["pruner.keep_ratio"], result.keep_ratio))
    if found["model.name"] is None:
        sizes = ("depth", "dim", "heads", "patch_size")
        pairs += [(f"model.{size}", found[f"model.{size}"], getattr(result.model, size)) for size in sizes]
    for key, recipe, here in pairs:
        if recipe != here:
            both = f"{shortened(str(here))} in result.json and {shortened(str(recipe))} in resolved.yaml"
            raise TokenpruneError(f"{folder.path}: damaged: {key} is {both}")
    return found


def read_keys(path: Path) -> dict[str, Any]:
    """The seed, and what a resolved.yaml says of the trained weights: `data.scene` -> "composite", and so on.

    Nothing is validated, which would take seconds for hundreds of runs. Keys that an older file lacks have their
    defaults; so have those without effect: a pruner that removes nothing is no pruner. Raises TokenpruneError.
    """
    try:
        text = files.read_text(path, files.RECIPE_BYTES)
        if _ANCHOR.search(text):
            raise ValueError("anchors and aliases, which no recipe has")
        tree = yaml.load(text, _Loader)
        keys = flat(tree) if isinstance(tree, dict) else {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or shortened(str(error).splitlines()[0])
        raise TokenpruneError(f"{path}: cannot be read: {reason}") from None
    if not keys:
        raise TokenpruneError(f"{path}: cannot be read: no sections")
    defaults = _defaults()
    found = defaults | {key: value for key, value in keys.items() if key.startswith(_SCIENCE)}
    unused = []
    if found["pruner.name"] == "none" or (_keeps_all(found["pruner.keep_ratio"]) and found.get("pruner.r") is None):
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
    return {key: value for key, value in flat(Recipe().model_dump(mode="json")).items() if key.startswith(_SCIENCE)}


def _read_prunes(folder: RunFolder, trained: TrainResult, problems: list[str]) -> list[tuple[Path, PruneResult]]:
    found = []
    for path in result_folders(folder.curves, problems):
        try:
            result = folder.curve(path)
            if problem := _no_site(result.site, trained.model):
                raise TokenpruneError(f"{path}: {problem}")
            # A model that was trained with a pruner is tested with it, and may be another without.
            alike = trained.pruner == "none" and not result.finetune_epochs
            if alike and not _near(result.baseline_correct, trained.test_correct, result.count):
                raise TokenpruneError(
                    f"{path}: damaged: {result.baseline_correct} right without pruning, where the run has "
                    f"{trained.test_correct}"
                )
            problems += _left_out(changed(path, result))
            found.append((path, result))
        except TokenpruneError as error:
            problems.append(f"{error}: this prune is not used")
    return found


def answers(folder: Path, result: TrainResult | PruneResult) -> "np.ndarray | None":
    """Which test images were right, bool [rows, images] as of `right`; None where that is unknown or was changed."""
    return None if changed(folder, result).keys() & {PREDICTIONS} else right(folder, result)


def _keeps_all(ratios: Any) -> bool:
    """Whether a recipe's keep_ratio, a number or a list, lets every token stay."""
    return set(ratios if isinstance(ratios, list | tuple) else [ratios]) == {1}


def _near(first: int, second: int, count: int) -> bool:
    """Whether one model may have answered so, on another machine or in other batches, where its last bits differ."""
    return abs(first - second) <= 3 + 0.01 * count


def _no_site(site: str, model: ModelFacts) -> str | None:
    """What is wrong with a site in that model; None where tokens are removed that something reads."""
    try:
        Schedule.parse(site).check(model.depth, model.class_pooled)
    except UsageError as error:
        return str(error)
    return None
