"""Many trainings from one file: a base recipe, a grid over its keys, and what is pruned after each training."""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tokenprune.errors import UsageError, first_of, shortened, unknown
from tokenprune.identity import digest
from tokenprune.pruners.registry import untrained_pruners
from tokenprune.recipe.grid import Measure, Sweep
from tokenprune.recipe.load import (
    Loaded,
    RecipeError,
    explain,
    find_recipe,
    load_recipe,
    once,
    parse_recipe,
    put,
    read_text,
    read_yaml,
    set_key,
    without_effect,
)
from tokenprune.recipe.schema import Evaluate, Recipe
from tokenprune.recipe.site import Schedule
from tokenprune.recipe.start import pretraining_of, run_of
from tokenprune.runs.records import PRETRAIN
from tokenprune.section import identifying


@dataclass(frozen=True)
class Cell:
    """One training and what is measured after it.

    what: the grid's keys with this cell's values. label: those that distinguish it, in short. needs: the run of the
    pretraining that it starts from, a cell of the same sweep; None from scratch.
    """

    loaded: Loaded[Recipe]
    run: str
    what: Mapping[str, Any]
    prune: tuple[Evaluate, ...]
    label: str = ""
    needs: str | None = None


@dataclass(frozen=True)
class LoadedSweep:
    """A sweep with its cells, pretraining first, then in the order of its grids.

    name: its file's, then the scale's (`noise-cpu`). identity: of what its cells run and measure.
    """

    name: str
    path: Path
    text: str
    cells: tuple[Cell, ...]
    identity: str


def is_sweep(source: str | Path) -> bool:
    """Whether this is a sweep: a file, or a shipped name, which means the recipe if a recipe has it too.

    Raises UsageError, RecipeError.
    """
    try:
        path = find_recipe(source)
    except UsageError as error:
        with suppress(UsageError):
            find_recipe(source, "sweeps")
            return True
        raise error
    tree = read_yaml(read_text(path), str(path), [])
    return isinstance(tree, dict) and "base" in tree


def scales_of(source: str | Path) -> tuple[str, ...]:
    """Names of a sweep's scales. Raises UsageError, RecipeError."""
    path = find_recipe(source, "sweeps")
    return tuple(parse_recipe(read_text(path), str(path), kind=Sweep).scales)


def load_sweep(source: str | Path, overrides: Sequence[str] = (), scale: str | None = None) -> LoadedSweep:
    """Read a sweep and make its cells; `overrides` (`a.b=c`) join its `set`. scale: one of its `scales`.

    Raises RecipeError that lists, with the dotted path, everything that is wrong with the sweep and any cell;
    UsageError where there is no such file or scale.
    """
    path = find_recipe(source, "sweeps")
    text, place, name = read_text(path), str(path), path.stem
    sweep = parse_recipe(text, place, kind=Sweep)
    if scale is not None:
        if scale not in sweep.scales:
            raise UsageError(f"--scale of {name}: {unknown('scale', scale, sweep.scales)}; without it: the full sweep")
        sweep, place, name = sweep.at(scale), f"{path}: scale {scale}", f"{name}-{scale}"
    base = _base(sweep.base, path)
    fixed = {f"set.{key}": (key, value) for key, value in sweep.set.items()}
    for override in overrides:
        key, value = set_key(override, Recipe)
        fixed[f"--set {override}"] = (key, value)
    problems = sweep.problems([key for key, _ in fixed.values()])
    if problems:
        raise RecipeError("\n".join(f"{place}: {problem}" for shown in first_of(problems) for problem in shown))
    found = _Problems(place)
    cells = [cell for where, what in sweep.points() if (cell := _cell(base, sweep, where, what, fixed, found))]
    found.of_twins(cells)
    found.raise_if_any()
    named = (*_pretrainings(cells), *_labelled(cells))
    identity = digest(
        [[cell.run, [identifying(spec, spec.model_dump(mode="json")) for spec in cell.prune]] for cell in named]
    )
    return LoadedSweep(name, path, text, named, identity)


def _base(base: str, sweep: Path) -> Loaded[Recipe]:
    """The recipe that a sweep changes: beside the sweep, from here, or shipped."""
    beside = sweep.parent / base
    named = beside if beside.is_file() and not beside.samefile(sweep) else base
    try:
        if is_sweep(named):
            raise RecipeError(f"{named}: a sweep itself; `base` takes a recipe of `tokenprune train`")
        return load_recipe(named)
    except RecipeError:
        raise
    except UsageError as error:
        raise RecipeError(f"{sweep}: base: {error}") from None


def _cell(
    base: Loaded[Recipe],
    sweep: Sweep,
    where: str,
    what: dict[str, Any],
    fixed: Mapping[str, tuple[str, Any]],
    found: "_Problems",
) -> Cell | None:
    """One point of a grid as a recipe; None, with its problems noted, if there is no such recipe."""
    tree = base.recipe.model_dump(mode="json", exclude_unset=True)
    changes = {**fixed, **{f"{where}.{key}": (key, value) for key, value in what.items()}}
    for place, (key, value) in changes.items():
        if "." not in key or not all(key.split(".")) or put(tree, key, copy.deepcopy(value)):
            found.add(place, f"expected a dotted key of the recipe, such as model.depth, found {shortened(key)!r}")
            return None
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        for problem in explain(error):
            found.of_recipe(problem, changes, what)
        return None
    for key in without_effect(recipe):
        for place, (changed, _) in changes.items():
            if changed == key:
                found.add(place, f"no effect: model.name: {recipe.model.name} has its own sizes")
    overrides = tuple(f"{key}={_yaml(value)}" for key, value in changes.values())
    loaded = Loaded(recipe, base.name, base.text, once((*base.overrides, *overrides)))
    measured = tuple(_measure(recipe, spec, f"prune.{i}", what, found) for i, spec in enumerate(sweep.prune))
    first = pretraining_of(loaded)
    specs = tuple(spec for spec in measured if spec)
    return Cell(loaded, run_of(loaded), what, specs, needs=None if first is None else run_of(first))


def _measure(recipe: Recipe, spec: Measure, place: str, what: Mapping[str, Any], found: "_Problems") -> Evaluate | None:
    """An entry of `prune`, completed by the cell's own `evaluate`; None of models it is not for."""
    if (spec.depths and recipe.model.depth not in spec.depths) or recipe.model.stages is not None:
        return None
    given = spec.model_dump(exclude_none=True, exclude={"depths"})
    if spec.methods and "all" in spec.methods:
        given["methods"] = tuple(untrained_pruners())
    try:
        chosen = Evaluate.model_validate({**recipe.evaluate.model_dump(), **given})
        if recipe.model.name is None:
            Schedule.parse(chosen.site).check(recipe.model.depth, recipe.model.class_token)
    except ValidationError as error:
        for problem in explain(error, Evaluate):
            found.add(f"{place}.{problem}", "", what)
        return None
    except UsageError as error:
        found.add(f"{place}.site", str(error), what)
        return None
    return chosen


class _Problems:
    """Problems of a sweep's cells: a line each, however many cells share it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lines: dict[str, tuple[Mapping[str, Any] | None, int]] = {}

    def add(self, place: str, problem: str, cell: Mapping[str, Any] | None = None) -> None:
        """`cell` is named where the problem is of a combination."""
        override = place.removeprefix("--set ")
        place = place if override == place else f"--set {shortened(override)}"
        line = f"{place}: {problem}" if problem else place
        line = line if place.startswith("--set ") else f"{self.path}: {line}"
        first, count = self.lines.get(line, (cell, 0))
        self.lines[line] = first, count + 1

    def of_recipe(self, problem: str, changes: Mapping[str, tuple[str, Any]], cell: Mapping[str, Any]) -> None:
        """A problem of a cell's recipe, at the change that caused it, else at the cell."""
        path, _, rest = problem.partition(": ")
        for place, (key, _) in reversed(list(changes.items())):
            if path == key:
                return self.add(place, rest, None if rest.startswith(("found ", "unknown ")) else cell)
            if key.startswith(f"{path}.") or path.startswith(f"{key}."):
                return self.add(place, problem)
        return self.add("cell", problem, cell)

    def of_twins(self, cells: Sequence[Cell]) -> None:
        """Cells that would train the same model with the same seed."""
        seen: dict[str, Cell] = {}
        for cell in cells:
            identity = cell.run
            if identity in seen:
                same = "train the same model with the same seed; a grid's values must differ in what is trained"
                self.add("cells", f"{_words(seen[identity].what)} and {_words(cell.what)} {same}")
            seen.setdefault(identity, cell)

    def raise_if_any(self) -> None:
        if self.lines:
            raise RecipeError("\n".join(line for shown in first_of(list(self._worded())) for line in shown))

    def _worded(self) -> Iterator[str]:
        for line, (cell, count) in self.lines.items():
            more = f" and {count - 1} more" if count > 1 else ""
            yield line if cell is None else f"{line} (cell {_words(cell)}{more})"


def _labelled(cells: Sequence[Cell], but: Sequence[str] = ()) -> tuple[Cell, ...]:
    """Cells with, after the labels they have, keys that vary, by their last word where that is plain."""
    keys = [key for key in dict.fromkeys(key for cell in cells for key in cell.what) if key not in but]
    vary = [key for key in keys if len({_yaml(cell.what.get(key, "")) for cell in cells}) > 1] or keys
    last = [key.rpartition(".")[2] for key in vary]
    short = {key: word if last.count(word) == 1 else key for key, word in zip(vary, last, strict=True)}

    def label(cell: Cell) -> str:
        return f"{cell.label} {_words({short[k]: value for k, value in cell.what.items() if k in short})}".strip()

    return tuple(replace(cell, label=label(cell)) for cell in cells)


def _pretrainings(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """A cell for each run that others start from, with the keys whose values those others share."""
    sharing: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.needs is not None and all(cell.needs != each.run for each in cells):
            sharing.setdefault(cell.needs, []).append(cell)
    found = []
    for run, those in sharing.items():
        first, loaded = those[0], pretraining_of(those[0].loaded)
        assert loaded is not None
        what = {
            key: value for key, value in first.what.items() if all(each.what.get(key, ()) == value for each in those)
        }
        found.append(Cell(loaded, run, what, (), f"{PRETRAIN} {first.loaded.recipe.start.label}"))
    return _labelled(found, but=("start.source", "start.noise"))


def _words(what: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_yaml(value)}" for key, value in what.items())


def _yaml(value: Any) -> str:
    """As `--set` takes it: plain where a plain word reads back as itself, else JSON."""
    if isinstance(value, str) and re.fullmatch(r"[\w./:+-]+", value) and read_yaml(value, "", []) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
