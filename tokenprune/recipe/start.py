"""The run that another one starts from: its recipe, and the name of its folder."""

from tokenprune.recipe.load import Loaded, dump_recipe
from tokenprune.recipe.schema import Recipe
from tokenprune.runs.query import run_name
from tokenprune.runs.records import PRETRAIN


def pretraining_of(loaded: Loaded[Recipe]) -> Loaded[Recipe] | None:
    """The pretraining that a recipe starts from, as a recipe of its own; None from scratch."""
    first = loaded.recipe.pretraining()
    return None if first is None else Loaded(first, PRETRAIN, dump_recipe(first))


def run_of(loaded: Loaded[Recipe]) -> str:
    """Name of the folder that a recipe is trained into."""
    return run_name(loaded.name, loaded.recipe.setting(), loaded.recipe.run.seed)
