"""Options that several verbs share, and what a shell completes for them."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokenprune.errors import shortened

if TYPE_CHECKING:
    from tokenprune.recipe import Loaded, Recipe
    from tokenprune.runs import RunFolder

Offers = Iterable[tuple[str, str]]


def completion(offers: Callable[[typer.Context, str], Offers]) -> Callable[..., list[tuple[str, str]]]:
    """Completion for typer: the offered words, with their help, that begin as typed."""

    def complete(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        with contextlib.suppress(Exception):  # nothing may be printed while a line is being typed
            return [offer for offer in offers(ctx, incomplete) if offer[0].startswith(incomplete)]
        return []

    return complete


def words(**offers: str) -> Callable[..., list[tuple[str, str]]]:
    """Completion of a few words that never change."""
    return completion(lambda *_: offers.items())


def recipes(kind: str = "") -> Callable[..., list[tuple[str, str]]]:
    """Completion of the names of shipped recipes, with their first lines."""

    def offers(*_: object) -> Offers:
        from tokenprune.shipped import shipped_recipes, summary

        return [(name, summary(path)) for name, path in shipped_recipes(kind).items()]

    return completion(offers)


def _scales(ctx: typer.Context, _: str) -> Offers:
    from tokenprune.recipe.sweep import scales_of

    source = ctx.params.get("sweep") or ctx.params.get("recipe") or ctx.args[0]  # not parsed before a lone `--scale`
    return [(scale, "") for scale in scales_of(source)]


def _keys(ctx: typer.Context, incomplete: str) -> Offers:
    from tokenprune.recipe import Recipe
    from tokenprune.recipe.document import keys
    from tokenprune.theory import EXPERIMENTS, experiment

    name = ctx.params.get("experiment")
    known = list(keys(experiment(name).recipe if name in EXPERIMENTS else Recipe))
    if "=" not in incomplete:
        return [(f"{key.path}=", key.description) for key in known]
    return [(f"{key.path}={value}", "") for key in known for value in key.choices]


def _pruners(*_: object) -> Offers:
    from tokenprune.pruners import known_pruners

    return [*known_pruners().items(), ("all", "every one of them")]


def _runs(ctx: typer.Context, _: str) -> Offers:
    from tokenprune.runs import all_runs

    return [(run.name, "") for run in all_runs(ctx.params.get("runs_dir") or Path("runs"))]


def _claims(*_: object) -> Offers:
    from tokenprune.experiments import CLAIMS

    return [(claim.id, claim.statement) for claim in CLAIMS]


def _downloads(*_: object) -> Offers:
    from tokenprune.recipe import SOURCES

    return [(name, what) for name, what in SOURCES.items() if name != "patterns"]


RECIPE_HELP = "A YAML file, or the name of a shipped recipe."

RecipeArgument = Annotated[str, typer.Argument(help=RECIPE_HELP, autocompletion=recipes())]
SweepArgument = Annotated[
    str, typer.Argument(help="A YAML file, or the name of a shipped sweep.", autocompletion=recipes("sweeps"))
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="NAME",
        help="A scale of the sweep, such as cpu (default: the full sweep).",
        autocompletion=completion(_scales),
    ),
]
RecipeOption = Annotated[str, typer.Option("--recipe", help=RECIPE_HELP, autocompletion=recipes())]
TheoryRecipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="A YAML file, or a shipped theory recipe (default: the experiment's own).",
        autocompletion=recipes("theory"),
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable.", autocompletion=completion(_keys)
    ),
]
Sites = Annotated[
    list[str] | None,
    typer.Option(
        "--site",
        metavar="SITE",
        help="Only curves of that site; repeatable.",
        autocompletion=words(**{"input": "", "before:": "", "after:": ""}),
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", metavar="NAME", help="Pruner, repeatable, or `all`.", autocompletion=completion(_pruners)),
]
RunName = Annotated[
    str | None,
    typer.Option(
        "--run", metavar="NAME", help="Run folder (default: latest finished).", autocompletion=completion(_runs)
    ),
]
Runs = Annotated[
    list[str] | None,
    typer.Option(
        "--run", metavar="NAME", help="Run folder, repeatable (default: all).", autocompletion=completion(_runs)
    ),
]
Source = Annotated[str, typer.Argument(help="cifar10, cifar100 or svhn.", autocompletion=completion(_downloads))]
ClaimName = Annotated[
    str, typer.Argument(help="A claim; `tokenprune ls claims` lists them.", autocompletion=completion(_claims))
]
RunsDir = Annotated[Path, typer.Option("--runs-dir", metavar="DIR", help="Folder of runs.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Folder of images (default: $TOKENPRUNE_DATA, else the user's cache)."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="auto, cuda, mps or cpu.",
        autocompletion=words(auto="cuda where there is one", cuda="", mps="Apple's, in fp32", cpu=""),
    ),
]
Again = Annotated[bool, typer.Option("--force", help="Measure again what was measured.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a table.")]


def chosen_run(name: str | None, runs_dir: Path) -> "RunFolder":
    """The run of that name, or the latest finished one, with a message for each later one that cannot be read."""
    from tokenprune.runs import find_run, latest_finished

    if name:
        return find_run(runs_dir, name)
    folder, damaged = latest_finished(runs_dir)
    for problem in damaged:
        typer.echo(f"warning: {problem}", err=True)
    return folder


def load(recipe: str, settings: Sequence[str] | None, **run: object) -> "Loaded[Recipe]":
    """A recipe with its `overrides`; errors quote them as typed, and keys without effect get a warning."""
    from tokenprune.recipe import load_recipe

    with as_options(**run):
        loaded = load_recipe(recipe, overrides(settings, **run))
    warn_of_idle(loaded.recipe)
    return loaded


def warn_of_idle(recipe: "Recipe") -> None:
    """Say which keys have no effect."""
    from tokenprune.recipe.load import without_effect

    if idle := without_effect(recipe):
        name = shortened(str(recipe.model.name))
        print(f"warning: model.name: {name} has its own sizes: no effect of {', '.join(idle)}", file=sys.stderr)


def to_resume(run: "RunFolder") -> None:
    """A message where `--resume` finds nothing; an error where another run of the same recipe can be resumed."""
    from tokenprune.runs import check_resumable

    check_resumable(run)
    if not (run.begun or run.finished):
        print(f"nothing to resume in {run.path}: it starts from the beginning", file=sys.stderr)


@contextlib.contextmanager
def as_options(**run: object) -> Iterator[None]:
    """Errors about `overrides` name options instead of the overrides they made."""
    from tokenprune.recipe import RecipeError

    try:
        yield
    except RecipeError as error:
        text = str(error)
        for key, value in run.items():
            text = as_option(text, f"run.{key}={value}", f"--{key} {shortened(str(value))}")
        raise RecipeError(text) from None


def as_option(error: str, override: str, typed: str) -> str:
    """An error about what `--set` would be given for an option, with that as it was typed."""
    for shown in (shortened(override), repr(shortened(override))):
        error = error.replace(f"--set {shown}: ", f"{typed}: ")
    return error


def overrides(settings: Sequence[str] | None, **run: object) -> list[str]:
    """Overrides by `--set`, then those by options that are short for keys of section `run`."""
    return [*(settings or []), *(f"run.{key}={value}" for key, value in run.items() if value is not None)]
