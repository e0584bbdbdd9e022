"""Measurements on a finished run: section `evaluate` of its recipe, changed by what was asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from tokenprune import files
from tokenprune.errors import TokenpruneError, UsageError, shortened
from tokenprune.pruners.registry import untrained_pruners
from tokenprune.recipe.load import explain, parse_recipe
from tokenprune.recipe.schema import RECORDED, Evaluate, PrunerSection, Recipe
from tokenprune.recipe.site import Schedule
from tokenprune.recipe.yaml import typed, typed_pairs
from tokenprune.runs import RunFolder


class Prunable(Protocol):
    """What decides where a model can be pruned: its blocks, and whether its classifier reads prefix tokens alone."""

    @property
    def depth(self) -> int: ...
    @property
    def class_pooled(self) -> bool: ...


def read_resolved(path: Path) -> Recipe:
    """The recipe that a run folder was made with. Raises TokenpruneError if it is missing or damaged."""
    try:
        return parse_recipe(files.read_text(path, files.RECIPE_BYTES), str(path), context=RECORDED)
    except (OSError, UnicodeDecodeError, UsageError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0].removeprefix(f"{path}: ")
        raise TokenpruneError(
            f"{path}: cannot be read as this run's recipe: {reason}; train it again with "
            f"`{RunFolder(path.parent).train_command('--force')}`"
        ) from None


def choose_evaluation(
    resolved: Path | Recipe,
    model: Prunable,
    *,
    methods: Sequence[str] | None = None,
    keep: str | None = None,
    r: str | None = None,
    **options: Any,
) -> Evaluate:
    """The `evaluate` section of a recipe, or that of a run by its file, with other keys where they are given.

    Those that are None stay the recipe's.

    methods: pruners by name; `all` among them means every one that needs no training.
    keep: ratios as typed, `1.0,0.7,0.5`; 0.9/0.7/0.5 among them has one for each site. r: tokens that leave at each
    site, as typed, `4,8`; with it alone the unpruned model is the only other point.
    model: the trained one, which decides the possible sites.

    Raises UsageError, worded for the command line's options; TokenpruneError if the run folder is damaged.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if methods:
        given["methods"] = tuple(untrained_pruners()) if "all" in methods else tuple(methods)
    if keep is not None:
        given["keep"] = _per_site(typed(f"[{keep}]", f"--keep {shortened(keep)!r}", []))
    if r is not None:
        given["r"] = typed(f"[{r}]", f"--r {shortened(r)!r}", [])
        given.setdefault("keep", (1.0,))
    recipe = read_resolved(resolved) if isinstance(resolved, Path) else resolved
    if given.get("methods") == (recipe.pruner.name,) and recipe.pruner.name not in untrained_pruners():
        given.setdefault("site", recipe.pruner.site)  # where its parameters were trained
    try:
        chosen = Evaluate.model_validate({**recipe.evaluate.model_dump(), **given})
    except ValidationError as error:
        raise UsageError("\n".join(_as_option(line) for line in explain(error, Evaluate))) from None
    Schedule.parse(chosen.site).check(model.depth, model.class_pooled)
    return chosen


def given_options(given: Sequence[str], methods: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments of the one pruner asked for, from KEY=VALUE as typed. Raises UsageError."""
    if given and len(methods) != 1:
        raise UsageError(f"--option: is for one --method; asked for are {', '.join(methods)}")
    options = typed_pairs("--option", given, "power=2")
    try:
        PrunerSection(options=options)
    except ValidationError as error:
        raise UsageError(f"--option: {'; '.join(explain(error, PrunerSection))}") from None
    return options


def pruner_options(recipe: Recipe, method: str) -> dict[str, Any]:
    """Options of a pruner in evaluation: those it was trained with, if it was."""
    return dict(recipe.pruner.options) if recipe.pruner.name == method else {}


def _per_site(values: Any) -> Any:
    """With lists of ratios where they are typed 0.9/0.7/0.5."""
    if not isinstance(values, list):
        return values
    return [
        [typed(part, "--keep", []) for part in each.split("/")] if isinstance(each, str) and "/" in each else each
        for each in values
    ]


def _as_option(line: str) -> str:
    key, colon, rest = line.partition(":")
    name, _, _ = key.partition(".")  # of a list the whole
    return f"--{name.replace('methods', 'method').replace('_', '-')}{colon}{rest}"
