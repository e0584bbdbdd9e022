"""Models of Li et al.'s experiments as jobs, and jobs as chunks. No torch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tokenprune.theory.plan import Chunk, ChunkPlan, Output, chunked
from tokenprune.theory.shallow import Removal, Shallow, ShallowRecipe, Tokens

#: Samples that are drawn at a time where each is used once: memory stays the same however many there are.
BLOCK = 400

#: Where a model belongs in the result, such as (column, row, trial).
Place = tuple[Any, ...]


@dataclass(frozen=True)
class Removed:
    """`count` tokens of every sample: random ones, label-irrelevant ones, or those with the largest noise."""

    method: Removal
    count: int


@dataclass(frozen=True)
class ModelJob:
    """A model to be trained. `key` seeds everything random about it; jobs of one chunk share shapes and `samples`.

    removed: tokens that leave every sample, in training and in test; None for all of them to stay.
    """

    data: Tokens
    model: Shallow
    samples: int
    test_samples: int
    key: tuple[int, ...]
    removed: Removed | None = None


def grid_plan(
    recipe: ShallowRecipe,
    groups: Iterable[Sequence[Place]],
    job: Callable[..., ModelJob],
    train: Callable[..., Output],
    assemble: Callable[[Any, dict[Place, Any]], dict[str, Any]],
    *,
    most: int,
    cell: int,
) -> ChunkPlan:
    """Chunks of at most so many models each; those of a group have jobs of equal shapes and may share one.

    job: of the recipe and a place. train: from the recipe, places and a device to an output for each place.
    cell: models of a cell.
    """
    places = [part for group in groups for part in chunked(group, min(most, fitting(job(recipe, *group[0]), recipe)))]
    chunks = [Chunk(partial(train, recipe, part), len(part) / cell, len(part)) for part in places]

    def result(outputs: list[Output]) -> dict[str, Any]:
        found = {
            place: value
            for part, output in zip(places, outputs, strict=True)
            for place, value in zip(part, output, strict=True)
        }
        return assemble(recipe, found)

    return ChunkPlan(chunks, result)


def table(found: Mapping[Place, Any], which: int, sizes: Sequence[int], at: Place = ()) -> Any:
    """Nested lists, along axes of those sizes, of one number of the output for each place."""
    if not sizes:
        return found[at][which]
    return [table(found, which, sizes[1:], (*at, index)) for index in range(sizes[0])]


def fitting(job: ModelJob, recipe: ShallowRecipe) -> int:
    """How many models like this one `run.memory` holds at their peak, roughly: samples as drawn, and activations.

    One is always tried; where even that does not fit into memory, allocation fails with an error. The number of chunks
    trained at once has no influence: a run may be continued with more or fewer threads.
    """
    data, batch = job.data, recipe.train.batch_size
    held = BLOCK if recipe.train.epochs == 1 else job.samples
    samples = 4 * (min(held, job.samples) + job.test_samples) * data.count * (3 * data.dim + 8)
    tokens = max(batch, 20) * data.count
    activations = 4 * tokens * (4 * neurons(job.model, data) + 6 * data.dim + 6 * data.count)
    return max(1, int(recipe.run.memory * 2**20 / (samples + activations)))


def parameters(spec: Shallow, data: Tokens) -> int:
    """Trained numbers of one ViT; the CNN has as many, but for rounding to whole neurons."""
    value, key = spec.value_dim or data.dim, spec.key_dim or data.dim
    return spec.neurons * value + value * data.dim + 2 * key * data.dim


def neurons(spec: Shallow, data: Tokens) -> int:
    return spec.neurons if spec.kind == "vit" else round(parameters(spec, data) / data.dim)
