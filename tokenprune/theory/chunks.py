"""How many models fit into one chunk."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from tokenprune.recipe import ShallowRecipe
from tokenprune.theory.population import BLOCK, ModelJob, neurons

#: More models at once gain nothing on a CPU: they no longer fit into a core's cache. A GPU needs many.
MODELS = 20
MODELS_ON_GPU = 2000

_Item = TypeVar("_Item")


def chunked(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def chunk_size(job: ModelJob, recipe: ShallowRecipe, most: int) -> int:
    """Models like this one to be trained together: at most `most`, fewer where `run.memory` would not hold them.

    One model is always tried; where even that does not fit into memory, allocation fails with an error. The number of
    chunks trained at once has no influence: a run may be continued with more or fewer threads.
    """
    return max(1, min(most, int(recipe.run.memory * 2**20 / memory(job, recipe))))


def memory(job: ModelJob, recipe: ShallowRecipe) -> float:
    """Bytes that training one such model takes at its peak, roughly: samples as they are drawn, and activations."""
    data, batch = job.data, recipe.train.batch_size
    held = BLOCK if recipe.train.epochs == 1 else job.samples
    samples = 4 * (min(held, job.samples) + job.test_samples) * data.count * (3 * data.dim + 8)
    tokens = max(batch, 20) * data.count
    activations = 4 * tokens * (4 * neurons(job.model, data) + 6 * data.dim + 6 * data.count)
    return samples + activations
