"""Experiments by name."""

from collections.abc import Callable
from typing import Any

from tokenprune.recipe import TheoryRecipe
from tokenprune.theory.phase import plan_phase
from tokenprune.theory.plan import Plan

_PLANS: dict[str, Callable[[Any, int], Plan]] = {
    "phase": plan_phase,
}


def plan_of(recipe: TheoryRecipe, workers: int) -> Plan:
    """The chunks of an experiment, sized for so many of them in memory at once."""
    return _PLANS[recipe.experiment](recipe, workers)
