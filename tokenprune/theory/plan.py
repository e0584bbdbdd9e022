"""An experiment as chunks: models trained together, their outputs, and how these become a result."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch

from tokenprune.runs import TheoryResult

_Place = TypeVar("_Place", bound=Hashable)

#: The output of a chunk, as JSON can hold it, with null for what is not finite.
Output = Any


class MakeResult(Protocol):
    """Makes the typed result from fields of every run, such as name, setting and seconds, and its own part."""

    def __call__(self, **known: Any) -> TheoryResult: ...


@dataclass(frozen=True)
class Chunk:
    """A piece of work that is done or not done. cells: how many cells of the experiment it finishes."""

    run: Callable[[torch.device], Output]
    cells: float
    models: int


@dataclass(frozen=True)
class ChunkPlan:
    """assemble: from the outputs of all chunks, in their order, to the result."""

    chunks: Sequence[Chunk]
    assemble: Callable[[list[Output]], MakeResult]


def gathered(places: Sequence[Sequence[_Place]], outputs: Sequence[Sequence[Any]]) -> dict[_Place, Any]:
    """Values of each model of a grid at its place, from the places and the outputs of every chunk."""
    return {
        place: found
        for part, output in zip(places, outputs, strict=True)
        for place, found in zip(part, output, strict=True)
    }


def finite(values: torch.Tensor) -> list[Any]:
    """Nested lists of numbers with None for NaN and infinities."""

    def clean(value: Any) -> Any:
        if isinstance(value, list):
            return [clean(part) for part in value]
        return value if value - value == 0 else None

    return clean(values.cpu().double().tolist())
