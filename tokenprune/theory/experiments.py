"""Experiments by name."""

from collections.abc import Callable
from typing import Any

from tokenprune.recipe import TheoryRecipe
from tokenprune.theory.attention import plan_attention
from tokenprune.theory.convergence import plan_time
from tokenprune.theory.phase import plan_phase
from tokenprune.theory.plan import ChunkPlan
from tokenprune.theory.sparsify import plan_sparsify
from tokenprune.theory.spatial import plan_spatial

_PLANS: dict[str, Callable[[Any, int], ChunkPlan]] = {
    "phase": plan_phase,
    "attention": plan_attention,
    "sparsify": plan_sparsify,
    "time": plan_time,
    "spatial": plan_spatial,
}


def plan_of(recipe: TheoryRecipe, most: int) -> ChunkPlan:
    """The chunks of an experiment, of at most so many models each."""
    return _PLANS[recipe.experiment](recipe, most)
