"""`tokenprune validate`: checks a recipe and prints what it resolves to."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenprune.cli.options import Json, RecipeArgument, Set, load

if TYPE_CHECKING:
    from tokenprune.recipe import Loaded


def validate(
    recipe: RecipeArgument,
    settings: Set = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Print every key with its value, as YAML.")] = False,
    as_json: Json = False,
) -> None:
    """Check a recipe or a sweep and print its identity; reports all errors at once, with exit status 2.

    Example: tokenprune validate mine.yaml --set model.depth=6 --resolved
    """
    from tokenprune.cli import show
    from tokenprune.recipe import dump_recipe, experiment_of, load_theory_recipe
    from tokenprune.recipe.sweep import is_sweep, load_sweep

    if is_sweep(recipe):
        sweep = load_sweep(recipe, settings or ())
        identity: dict[str, Any] = {"sweep": sweep.name, "cells": len(sweep.cells), "identity": sweep.identity}
        if as_json:
            show.json(identity)
        else:
            show.fields(identity)
        return
    experiment = experiment_of(recipe)
    if experiment:
        loaded: Loaded[Any] = load_theory_recipe(recipe, experiment, settings or ())
        identity = {"recipe": loaded.name, "setting": loaded.recipe.setting(), "experiment": experiment}
    else:
        loaded = load(recipe, settings)
        identity = {"recipe": loaded.name, "setting": loaded.recipe.setting(), "family": loaded.recipe.family()}
    if as_json:
        show.json({**identity, "resolved": loaded.recipe.model_dump(mode="json")} if resolved else identity)
    elif resolved:
        head = ", ".join(f"{name} {value}" for name, value in identity.items() if name != "recipe")
        typer.echo(f"# {head}\n{dump_recipe(loaded.recipe)}", nl=False)
    else:
        show.fields(identity)
