"""What to run: schema, loading, overrides, identity."""

from tokenprune.recipe.choose import choose_evaluation, ratios, read_resolved
from tokenprune.recipe.load import (
    Loaded,
    RecipeError,
    copy_recipe,
    dump_recipe,
    find_recipe,
    load_recipe,
    parse_recipe,
    shipped_recipes,
    summary,
)
from tokenprune.recipe.schema import (
    NAMED_SOURCES,
    SOURCES,
    Augment,
    Data,
    Evaluate,
    Model,
    Patterns,
    Pruner,
    Recipe,
    Run,
    Train,
)
from tokenprune.recipe.site import Schedule, kept

__all__ = [
    "NAMED_SOURCES",
    "SOURCES",
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
    "choose_evaluation",
    "copy_recipe",
    "dump_recipe",
    "find_recipe",
    "kept",
    "load_recipe",
    "parse_recipe",
    "ratios",
    "read_resolved",
    "shipped_recipes",
    "summary",
]
