"""What the laboratory left on disk: what is unfinished, damaged or a copy is named and not used."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenprune.claims.evidence import unsealed
from tokenprune.errors import TokenpruneError
from tokenprune.identity import digest
from tokenprune.runs import (
    AttentionResult,
    PhaseResult,
    SparsifyResult,
    SpatialResult,
    TheoryFolder,
    TheoryResult,
    TimeResult,
    theory_runs,
)

_NAME = r".+-[0-9a-f]{8}-s\d+"


def read_theory(runs_dir: Path) -> tuple[list[tuple[TheoryFolder, TheoryResult]], list[str]]:
    """Finished runs of the laboratory by folder name, and a line for each thing that cannot be used."""
    found: list[tuple[TheoryFolder, TheoryResult]] = []
    problems: list[str] = []
    seen: dict[tuple[str, int], str] = {}
    for folder in theory_runs(runs_dir):
        try:
            if not folder.finished:
                status = folder.status()
                problems.append(f"{folder.path}: not finished ({status.state if status else 'no status'}): not used")
                continue
            result = folder.theory_result()
            for problem in _contradictions(result):
                raise TokenpruneError(f"{folder.path}: damaged: {problem}")
        except TokenpruneError as error:
            problems.append(f"{error}: run {folder.name} is not used")
            continue
        if not folder.name.endswith(f"-{result.setting}-s{result.seed}") and re.fullmatch(_NAME, folder.name):
            problems.append(f"{folder.path}: damaged: its result is of setting {result.setting}, seed {result.seed}")
            continue
        twin = seen.setdefault((result.setting, result.seed), folder.name)
        if twin != folder.name:
            problems.append(f"{folder.path}: same setting and seed as {twin}, so no replicate of it: not used")
            continue
        found.append((folder, result))
    return found, problems + unsealed([(folder.path, result) for folder, result in found], runs_dir)


def _contradictions(result: TheoryResult) -> Iterator[str]:
    """A changed digit still parses as JSON; a result that contradicts its own recipe does not pass."""
    if digest(result.recipe) != result.setting:
        yield f"its recipe is not that of setting {result.setting}"
        return
    for name, said, known in _told_twice(result):
        if said != known:
            yield f"{name}: {said} here, {known} in its recipe"
            return
    for name, table, shape, most in _tables(result):
        yield from _table(name, table, shape, most)


def _told_twice(result: TheoryResult) -> Iterator[tuple[str, Any, Any]]:
    """(what, by the result, by its recipe)"""
    recipe = result.recipe
    if isinstance(result, PhaseResult):
        grid = recipe["grid"]
        yield "axis", result.axis, grid["axis"]
        yield "kind", result.kind, recipe["model"]["kind"]
        yield "values", list(result.values), grid["values"]
        yield "samples", list(result.samples), grid["samples"] or list(result.samples)
        yield "success", result.success, grid["success"]
        yield "models", result.models, len(result.values) * len(result.samples) * grid["trials"]
    elif isinstance(result, AttentionResult):
        yield "step_size", result.step_size, recipe["train"]["step_size"]
        yield "models", result.models, recipe["curve"]["trials"]
    elif isinstance(result, SparsifyResult):
        removal = recipe["removal"]
        yield "tokens", result.tokens, recipe["data"]["count"]
        yield "removed", list(result.removed), removal["removed"]
        yield "samples", list(result.samples), removal["samples"]
        yield "complexity_removed", result.complexity_removed, removal["complexity_removed"]
        yield "success", result.success, removal["success"]
        yield "methods", sorted(result.loss), sorted(removal["methods"])
        yield "methods of complexity", sorted(result.complexity), sorted(["none", *removal["methods"]])
    elif isinstance(result, TimeResult):
        convergence = recipe["convergence"]
        yield "kind", result.kind, recipe["model"]["kind"]
        yield "values", list(result.values), convergence["values"]
        yield "step_sizes", list(result.step_sizes), convergence["step_sizes"]
        yield "limit", result.limit, convergence["iterations"]
        yield "models", result.models, len(result.values) * len(result.step_sizes) * convergence["trials"]
    elif isinstance(result, SpatialResult):
        transfer = recipe["transfer"]
        yield "patches", result.patches, recipe["data"]["patches"]
        yield "set_size", result.set_size, recipe["data"]["set_size"]
        yield "samples", list(result.samples), transfer["samples"]
        yield "success", result.success, transfer["success"]
        yield "arms", sorted(result.target_accuracy), ["scratch", "transfer"]
        yield "models", result.models, recipe["curve"]["trials"] * (1 + 2 * len(result.samples))


def _tables(result: TheoryResult) -> Iterator[tuple[str, Any, tuple[int, ...], float | None]]:
    """(what, numbers, the shape they must have, the most they can be)"""
    recipe = result.recipe
    if isinstance(result, PhaseResult):
        shape: tuple[int, ...] = (len(result.values), len(result.samples), recipe["grid"]["trials"])
        yield "loss", result.loss, shape, None
        yield "error", result.error, shape, 1
    elif isinstance(result, AttentionResult):
        shape = (recipe["curve"]["trials"], len(result.iterations))
        yield "attention", result.attention, shape, 1
        yield "attention_relevant", result.attention_relevant, shape, 1
        for name in ("loss", "query_norm", "query_norm_other", "key_norm", "key_norm_other"):
            yield name, getattr(result, name), shape, None
    elif isinstance(result, SparsifyResult):
        trials = recipe["removal"]["trials"]
        curves: tuple[tuple[str, Mapping[str, Any], int, float | None], ...] = (
            ("loss", result.loss, len(result.removed), None),
            ("accuracy", result.accuracy, len(result.removed), 1),
            ("relevant", result.relevant, len(result.removed), 1),
            ("complexity", result.complexity, len(result.samples), None),
        )
        for name, by_method, length, most in curves:
            for method, table in by_method.items():
                yield f"{name} of {method}", table, (length, trials), most
    elif isinstance(result, TimeResult):
        shape = (len(result.step_sizes), len(result.values), recipe["convergence"]["trials"])
        yield "iterations", result.iterations, shape, result.limit
        yield "iterations_to_no_error", result.iterations_to_no_error, shape, result.limit
        yield "diverged", result.diverged, (), result.models
    elif isinstance(result, SpatialResult):
        trials = recipe["curve"]["trials"]
        for name, most in (("overlap", 1), ("exact", 1), ("accuracy", 1), ("loss", None)):
            yield name, getattr(result, name), (trials, len(result.iterations)), most
            for attention, made in getattr(result, f"constructed_{name}").items():
                yield f"constructed_{name} of {attention}", made, (trials,), most
        for arm, table in result.target_accuracy.items():
            yield f"target_accuracy of {arm}", table, (len(result.samples), trials), 1


def _table(name: str, table: Any, shape: tuple[int, ...], most: float | None) -> Iterator[str]:
    if not shape:
        if table is not None and (table < 0 or (most is not None and table > most + 1e-4)):
            yield f"{name}: {table:g} is not possible"
    elif len(table) != shape[0]:
        yield f"{name}: {len(table)} entries where {shape[0]} belong"
    else:
        for part in table:
            yield from _table(name, part, shape[1:], most)
