"""Recipes: schema, loading, overrides, identity."""

from tokenprune.recipe.choose import choose_evaluation, given_options, pruner_options, ratios, read_resolved
from tokenprune.recipe.images import NAMED_SOURCES, SOURCES, Data, Patterns
from tokenprune.recipe.laboratory import TheoryRecipe
from tokenprune.recipe.load import (
    Loaded,
    RecipeError,
    copy_recipe,
    dump_recipe,
    experiment_of,
    find_recipe,
    load_recipe,
    load_theory_recipe,
    parse_recipe,
)
from tokenprune.recipe.schema import (
    Augment,
    Evaluate,
    Model,
    PrunerSection,
    Recipe,
    Run,
    Start,
    Train,
)
from tokenprune.recipe.site import Schedule, kept
from tokenprune.recipe.spatial import Positional, SpatialDescent, SpatialPatches, SpatialRecipe
from tokenprune.recipe.start import pretraining_of, run_of
from tokenprune.recipe.theory import (
    THEORY_RECIPES,
    AttentionRecipe,
    Descent,
    PhaseRecipe,
    Removal,
    Shallow,
    ShallowRecipe,
    SparsifyRecipe,
    TimeRecipe,
    Tokens,
)
from tokenprune.shipped import shipped_recipes, summary

__all__ = [
    "NAMED_SOURCES",
    "SOURCES",
    "THEORY_RECIPES",
    "AttentionRecipe",
    "Augment",
    "Data",
    "Descent",
    "Evaluate",
    "Loaded",
    "Model",
    "Patterns",
    "PhaseRecipe",
    "Positional",
    "PrunerSection",
    "Recipe",
    "RecipeError",
    "Removal",
    "Run",
    "Schedule",
    "Shallow",
    "ShallowRecipe",
    "SparsifyRecipe",
    "SpatialDescent",
    "SpatialPatches",
    "SpatialRecipe",
    "Start",
    "TheoryRecipe",
    "TimeRecipe",
    "Tokens",
    "Train",
    "choose_evaluation",
    "copy_recipe",
    "dump_recipe",
    "experiment_of",
    "find_recipe",
    "given_options",
    "kept",
    "load_recipe",
    "load_theory_recipe",
    "parse_recipe",
    "pretraining_of",
    "pruner_options",
    "ratios",
    "read_resolved",
    "run_of",
    "shipped_recipes",
    "summary",
]
