"""The keys of a sweep's file, its scales, and the points of its grids."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from tokenprune.errors import shortened
from tokenprune.recipe.schema import SITES
from tokenprune.recipe.sited import Sited
from tokenprune.section import RatioOrRatios, Section

#: More could not be trained, and would take long to list.
_CELLS = 10_000

Values = Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]
Grid = dict[str, Values]


class Measure(Sited):
    """Curves of each trained model, as `tokenprune prune` makes them; keys left out are as in `evaluate`."""

    methods: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = Field(
        None, description="pruners to compare; `all` among them means all that need no training"
    )
    keep: Annotated[tuple[RatioOrRatios, ...], Field(strict=False, min_length=1)] | None = Field(
        None, description="kept-token ratios; a list among them has a ratio for each site"
    )
    r: Annotated[tuple[int, ...], Field(strict=False)] | None = Field(
        None, description="more points: so many patch tokens leave at each site"
    )
    site: str | None = Field(None, description=SITES)
    depths: Annotated[tuple[int, ...], Field(strict=False, min_length=1)] | None = Field(
        None, description="only of models of these depths, for sites that shallower ones lack; null for all"
    )
    seeds: int | None = Field(None, ge=1, description="draws of a random pruner")
    finetune_epochs: int | None = Field(None, ge=0, description="epochs of training at each ratio first")


Grids = Annotated[tuple[Grid, ...], Field(strict=False)]
Measures = Annotated[tuple[Measure, ...], Field(strict=False)]


class Scale(Section):
    """A version of a sweep for other hardware: each key given here replaces the sweep's key as a whole."""

    base: str | None = None
    set: dict[str, Any] | None = None
    grid: Grid | None = None
    also: Grids | None = None
    prune: Measures | None = None


class Sweep(Section):
    """What `tokenprune sweep` runs: a cell for every combination of the grid's values."""

    base: str = Field(description="the recipe that every cell changes: a path, or the name of a shipped one")
    set: dict[str, Any] = Field(default_factory=dict, description="keys of the recipe, dotted, that all cells change")
    grid: Grid = Field(
        default_factory=dict,
        description="keys of the recipe, dotted, each with a list of values; keys "
        "that vary together are one, `model.depth, train.epochs: [[1, 20], [6, 40]]`",
    )
    also: Grids = Field((), description="further grids, each crossed by itself, for designs that are not one product")
    prune: Measures = Field((), description="what is measured after each training, a curve per method and entry")
    scales: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], Scale] = Field(
        default_factory=dict,
        description="for `--scale NAME`: each key given there replaces the sweep's key of that name as a whole",
    )

    def at(self, scale: str) -> "Sweep":
        """This sweep with the keys of one of its scales."""
        given = {name: getattr(self.scales[scale], name) for name in Scale.model_fields}
        return self.model_copy(update={name: value for name, value in given.items() if value is not None})

    def grids(self) -> Iterator[tuple[str, Grid]]:
        """Every grid, after its place in the file."""
        if self.grid:
            yield "grid", self.grid
        for i, grid in enumerate(self.also):
            yield f"also.{i}", grid

    def points(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every combination of values, after its grid's place in the file; the last key varies fastest."""
        for where, grid in self.grids():
            for values in itertools.product(*grid.values()):
                what: dict[str, Any] = {}
                for key, value in zip(grid, values, strict=True):
                    names = keys_of(key)
                    what |= {key: value} if len(names) == 1 else dict(zip(names, value, strict=True))
                yield where, what

    def problems(self, fixed: Sequence[str]) -> list[str]:
        """What is wrong with the grids themselves. fixed: keys that all cells change."""
        if not self.grid and not self.also:
            return ["grid: empty: name at least one key of the recipe with its values, such as run.seed: [0, 1, 2]"]
        cells = sum(math.prod(map(len, grid.values())) for _, grid in self.grids())
        if cells > _CELLS:
            return [f"grid: {cells:,} cells; a sweep has at most {_CELLS:,}"]
        problems = [f"also.{i}: empty" for i, grid in enumerate(self.also) if not grid]
        for where, grid in self.grids():
            problems += [
                f"{where}.{shortened(key)}: also in set, which would not change anything"
                for key in grid
                if set(keys_of(key)) & set(fixed)
            ]
            names = [name for key in grid for name in keys_of(key)]
            problems += [f"{where}: {name} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
            problems += [
                f"{where}.{shortened(key)}: each value must be a list of {len(keys_of(key))}, one for each key"
                for key, values in grid.items()
                if len(keys_of(key)) > 1
                and not all(isinstance(value, list | tuple) and len(value) == len(keys_of(key)) for value in values)
            ]
        return problems


def keys_of(key: str) -> list[str]:
    """The recipe's keys that a grid's key varies together: `model.depth, train.epochs` are two."""
    return [name.strip() for name in key.split(",")]
