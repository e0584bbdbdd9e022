"""Options that several verbs share, and what a shell completes for them."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tokenprune.recipe import Loaded, Recipe

Named = Iterable[tuple[str, str]]


def _completion(named: Callable[[], Named]) -> Callable[[str], list[tuple[str, str]]]:
    def complete(incomplete: str) -> list[tuple[str, str]]:
        with contextlib.suppress(Exception):  # nothing may be printed while a line is being typed
            return [pair for pair in named() if pair[0].startswith(incomplete)]
        return []

    return complete


def _recipes() -> Named:
    from tokenprune.recipe import shipped_recipes, summary

    return [(name, summary(path)) for name, path in shipped_recipes().items()]


def _theory_recipes() -> Named:
    from tokenprune.recipe import shipped_recipes, summary

    return [(name, summary(path)) for name, path in shipped_recipes("theory").items()]


def _keys() -> Named:
    from tokenprune.recipe.document import keys

    return [(f"{key.path}=", key.description) for key in keys()]


def _pruners() -> Named:
    from tokenprune.pruners import known_pruners

    return [*known_pruners().items(), ("all", "every one of them")]


def _runs() -> Named:
    from tokenprune.runs import all_runs

    return [(run.name, "") for run in all_runs(Path("runs"))]


def _sources() -> Named:
    from tokenprune.recipe import SOURCES

    return SOURCES.items()


RECIPE_HELP = "A YAML file, or the name of a shipped recipe."

RecipeArgument = Annotated[str, typer.Argument(help=RECIPE_HELP, autocompletion=_completion(_recipes))]
RecipeOption = Annotated[str, typer.Option("--recipe", help=RECIPE_HELP, autocompletion=_completion(_recipes))]
TheoryRecipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="A YAML file, or a shipped theory recipe (default: the experiment's own).",
        autocompletion=_completion(_theory_recipes),
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable.", autocompletion=_completion(_keys)
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method", metavar="NAME", help="Pruner, repeatable, or `all`.", autocompletion=_completion(_pruners)
    ),
]
RunName = Annotated[
    str | None,
    typer.Option(
        "--run", metavar="NAME", help="Run folder (default: latest finished).", autocompletion=_completion(_runs)
    ),
]
Runs = Annotated[
    list[str] | None,
    typer.Option(
        "--run", metavar="NAME", help="Run folder, repeatable (default: all).", autocompletion=_completion(_runs)
    ),
]
Source = Annotated[str, typer.Argument(help="cifar10, cifar100 or svhn.", autocompletion=_completion(_sources))]
RunsDir = Annotated[Path, typer.Option("--runs-dir", metavar="DIR", help="Folder of runs.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Folder of images (default: $TOKENPRUNE_DATA, else the user's cache)."
    ),
]
Device = Annotated[str | None, typer.Option("--device", metavar="NAME", help="auto, cuda or cpu.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a table.")]


def load(recipe: str, settings: Sequence[str] | None, **run: object) -> "Loaded[Recipe]":
    """A recipe with its `overrides`; errors name those as they were typed, and keys without effect are named."""
    from tokenprune.recipe import RecipeError, load_recipe
    from tokenprune.recipe.load import without_effect

    try:
        loaded = load_recipe(recipe, overrides(settings, **run))
    except RecipeError as error:
        text = str(error)
        for key, value in run.items():
            text = text.replace(f"--set run.{key}={value}: ", f"--{key} {value}: ")
        raise RecipeError(text) from None
    if idle := without_effect(loaded.recipe):
        name = loaded.recipe.model.name
        print(f"warning: model.name: {name} has its own sizes: no effect of {', '.join(idle)}", file=sys.stderr)
    return loaded


def overrides(settings: Sequence[str] | None, **run: object) -> list[str]:
    """What `--set` said, then the options that are short for keys of section `run`."""
    return [*(settings or []), *(f"run.{key}={value}" for key, value in run.items() if value is not None)]
