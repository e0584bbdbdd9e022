"""What an experiment of the theory laboratory consists of."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenprune.theory.plan import ChunkPlan
from tokenprune.theory.result import TheoryResult
from tokenprune.theory.schema import TheoryRecipe
from tokenprune.theory.tables import Table


@dataclass(frozen=True)
class Experiment:
    """plan: the chunks of a recipe, of at most so many models each. options: keys that options of the verb set."""

    recipe: type[TheoryRecipe]
    result: type[TheoryResult]
    plan: Callable[[Any, int], ChunkPlan]
    tables: Callable[[Any], Iterable[Table]]
    options: Mapping[str, str]
