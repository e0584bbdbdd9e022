"""An experiment as chunks: models trained together, their outputs, and how these become a result. No torch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

#: More models at once gain nothing on a CPU: they no longer fit into a core's cache. A GPU needs many.
MODELS = 20
MODELS_ON_GPU = 2000

#: The output of a chunk, as JSON can hold it, with null for what is not finite.
Output = Any

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Chunk:
    """A piece of work that is done or not done. cells: how many cells of the experiment it finishes."""

    run: "Callable[[torch.device], Output]"
    cells: float
    models: int


@dataclass(frozen=True)
class ChunkPlan:
    """assemble: from the outputs of all chunks, in their order, to the fields of the result that they decide."""

    chunks: Sequence[Chunk]
    assemble: Callable[[list[Output]], dict[str, Any]]


def chunked(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def finite(values: "torch.Tensor") -> list[Any]:
    """Nested lists of numbers with None for NaN and infinities."""

    def clean(value: Any) -> Any:
        if isinstance(value, list):
            return [clean(part) for part in value]
        return value if value - value == 0 else None

    return clean(values.cpu().double().tolist())
