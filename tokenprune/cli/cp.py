"""`tokenprune cp`: a recipe of one's own to change."""

from pathlib import Path
from typing import Annotated

import typer

from tokenprune.cli.options import RecipeArgument


def cp(
    recipe: RecipeArgument,
    destination: Annotated[Path, typer.Argument(help="File or folder to copy to.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Copy a recipe to change it.

    Example: tokenprune cp shallow mine.yaml
    """
    from tokenprune.recipe import copy_recipe

    typer.echo(copy_recipe(recipe, destination, force=force))
