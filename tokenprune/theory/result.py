"""What all results of the theory laboratory share: fields that their recipe decides, and tables of a known shape."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from pydantic import model_validator

from tokenprune.errors import shortened
from tokenprune.identity import digest
from tokenprune.runs.records import SCHEMA, Result

#: null: not reached, because a model diverged or an error never fell to zero.
Numbers = tuple[float | None, ...]

_Mark = TypeVar("_Mark")


@dataclass(frozen=True)
class FromRecipe:
    """Marks a field that the recipe decides, by its dotted key or by a function of it.

    Such a field is not written (but for `stored` ones); older files have it, and it must agree with the recipe.
    """

    known: str | Callable[[dict[str, Any]], Any]
    stored: bool = False

    def value(self, recipe: dict[str, Any]) -> Any:
        """Raises KeyError or TypeError where the recipe lacks the key."""
        if not isinstance(self.known, str):
            return self.known(recipe)
        found: Any = recipe
        for part in self.known.split("."):
            found = found[part]
        return found


@dataclass(frozen=True)
class Dims:
    """Marks nested numbers, none below 0. axes, from the outside: fields that hold their sizes or what they list.

    most: the largest possible number, or the field that holds it. keys: of a dictionary of such numbers, or the
    attribute that lists them.
    """

    axes: tuple[str, ...] = ()
    most: float | str = math.inf
    keys: tuple[str, ...] | str = ()


class TheoryResult(Result):
    """A result.json of the laboratory. Contradictions to its recipe, wrong shapes and ranges are ValidationErrors."""

    schema_version: int = SCHEMA
    name: str  # of the recipe
    setting: str  # shared by runs that differ only by seed
    seed: int
    recipe: dict[str, Any]  # resolved, less the machine
    models: int  # trained in all
    trials: int  # of a cell, or curves
    seconds: float  # over all resumptions
    device: str

    @property
    def lost(self) -> int:
        """Number of models whose loss is not finite at the end."""
        raise NotImplementedError

    def stored(self) -> dict[str, Any]:
        known = {name for name, mark in _marked(type(self), FromRecipe) if not mark.stored}
        return self.model_dump(mode="json", exclude={"seal", *known})

    @model_validator(mode="before")
    @classmethod
    def _known(cls, tree: Any) -> Any:
        """Fields that the recipe decides: a changed digit still parses as JSON, but contradicts it."""
        recipe = tree.get("recipe") if isinstance(tree, dict) else None
        if not isinstance(recipe, dict):
            return tree
        if digest(recipe) != tree.get("setting"):
            raise ValueError(f"its recipe is not that of setting {shortened(str(tree.get('setting')))}")
        try:
            known = {name: mark.value(recipe) for name, mark in _marked(cls, FromRecipe)}
        except (KeyError, TypeError):
            raise ValueError("its recipe lacks keys") from None
        for name, value in known.items():
            here = tree.get(name, value)
            if _listed(here) != _listed(value):
                raise ValueError(f"{name}: {shortened(str(here))} here, {shortened(str(value))} in its recipe")
        return tree | known

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        for name, shape in _marked(type(self), Dims):
            value = getattr(self, name)
            sizes = [_size(getattr(self, axis)) for axis in shape.axes]
            most = getattr(self, shape.most) if isinstance(shape.most, str) else shape.most
            if not shape.keys:
                _check(name, value, sizes, most)
                continue
            keys = getattr(self, shape.keys) if isinstance(shape.keys, str) else shape.keys
            if set(value) != set(keys):
                raise ValueError(f"{name}: {shortened(str(sorted(value)))} where {sorted(keys)} belong")
            for key in value:
                _check(f"{name} of {key}", value[key], sizes, most)
        return self


def marks(iterations: int, every: int) -> tuple[int, ...]:
    """Iterations with a measurement: the first, every so many, and the last."""
    return tuple(sorted({*range(0, iterations, every), iterations}))


def measured(recipe: dict[str, Any]) -> tuple[int, ...]:
    """`marks` of a recipe with a section `curve`."""
    return marks(recipe["curve"]["iterations"], recipe["curve"]["every"])


def _marked(result: type[TheoryResult], kind: type[_Mark]) -> Iterator[tuple[str, _Mark]]:
    for name, field in result.model_fields.items():
        yield from ((name, mark) for mark in field.metadata if isinstance(mark, kind))


def _size(value: Any) -> int:
    return value if isinstance(value, int) else len(value)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check(name: str, numbers: Any, sizes: Sequence[int], most: float) -> None:
    """Raises ValueError where nested numbers are not of those sizes, or out of range."""
    if not sizes:
        if numbers is not None and not 0 <= numbers <= most + 1e-4:
            raise ValueError(f"{name}: {numbers:g} is not possible")
    elif len(numbers) != sizes[0]:
        raise ValueError(f"{name}: {len(numbers)} entries where {sizes[0]} belong")
    else:
        for part in numbers:
            _check(name, part, sizes[1:], most)
