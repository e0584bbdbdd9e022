"""`tokenprune validate`: checks a recipe and prints what it resolves to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenprune.cli.options import Json, RecipeArgument, Scale, Set, load

if TYPE_CHECKING:
    from tokenprune.recipe import Loaded


def validate(
    recipe: RecipeArgument,
    scale: Scale = None,
    settings: Set = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Print every key with its value, as YAML.")] = False,
    as_json: Json = False,
) -> None:
    """Check a recipe or a sweep and print its identity.

    All errors are reported at once, exit status 2. A sweep's scales are checked too. If a recipe and a sweep have the
    same name, it means the recipe; the sweep is sweeps/NAME.

    Example: tokenprune validate mine.yaml --set model.depth=6 --resolved
    """
    from tokenprune.cli import show
    from tokenprune.errors import UsageError
    from tokenprune.recipe import dump_recipe
    from tokenprune.recipe.sweep import is_sweep
    from tokenprune.theory.load import experiment_of, load_theory_recipe

    if is_sweep(recipe):
        identity: dict[str, Any] = _sweep(recipe, scale, settings or ())
        if as_json:
            show.json(identity)
        else:
            scales = {f"scale {name}": f"{each['cells']} cells" for name, each in identity.pop("scales", {}).items()}
            show.fields({**identity, **scales})
        return
    if scale is not None:
        raise UsageError(f"--scale: only with a sweep; {recipe} is a recipe")
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


def _sweep(source: str, scale: str | None, settings: Sequence[str]) -> dict[str, Any]:
    """Identity of a sweep at one scale; at none, of the full sweep and, under `scales`, of each scale."""
    from tokenprune.recipe.sweep import load_sweep, scales_of

    sweep = load_sweep(source, settings, scale)
    identity = {"sweep": sweep.name, "cells": len(sweep.cells), "identity": sweep.identity}
    names = scales_of(source) if sweep.name == sweep.path.stem else ()  # not for a scale
    scales = {name: _sweep(source, name, settings) for name in names}
    return {**identity, "scales": scales} if scales else identity
