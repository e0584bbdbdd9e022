"""What an experiment of the theory laboratory consists of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenprune.theory.plan import ChunkPlan
from tokenprune.theory.result import TheoryResult
from tokenprune.theory.schema import TheoryRecipe


@dataclass(frozen=True)
class TheoryExperiment:
    """plan: the chunks of a recipe, of at most so many models each. options: keys that options of the verb set."""

    recipe: type[TheoryRecipe]
    result: type[TheoryResult]
    plan: Callable[[Any, int], ChunkPlan]
    options: Mapping[str, str]
