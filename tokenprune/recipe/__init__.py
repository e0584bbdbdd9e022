"""What to run: schema, loading, overrides, identity."""

from tokenprune.recipe.load import Loaded, RecipeError, find_recipe, load_recipe, parse_recipe, shipped_recipes
from tokenprune.recipe.schema import NAMED_SOURCES, Augment, Data, Evaluate, Model, Patterns, Pruner, Recipe, Run, Train
from tokenprune.recipe.site import Schedule, kept

__all__ = [
    "NAMED_SOURCES",
    "Augment",
    "Data",
    "Evaluate",
    "Loaded",
    "Model",
    "Patterns",
    "Pruner",
    "Recipe",
    "RecipeError",
    "Run",
    "Schedule",
    "Train",
    "find_recipe",
    "kept",
    "load_recipe",
    "parse_recipe",
    "shipped_recipes",
]
