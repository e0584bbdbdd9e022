"""Recipes: schema, loading, overrides, identity."""

from tokenprune.recipe.choose import choose_evaluation, given_options, pruner_options, read_resolved
from tokenprune.recipe.images import NAMED_SOURCES, SOURCES, Data, Patterns
from tokenprune.recipe.load import (
    Loaded,
    RecipeError,
    copy_recipe,
    dump_recipe,
    find_recipe,
    load_recipe,
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
from tokenprune.recipe.site import (
    Keep,
    RemovedPerSite,
    Schedule,
    counts,
    eased,
    kept,
    named,
    read_keep,
    share_of,
    written,
)
from tokenprune.recipe.start import pretraining_of, run_of
from tokenprune.shipped import shipped_recipes, summary
