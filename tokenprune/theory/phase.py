"""Phase diagram: success over (alpha_*, noise, start or confusion; N), as in Li et al. (ICLR 2023)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from tokenprune.recipe import PhaseRecipe
from tokenprune.runs import PhaseResult
from tokenprune.theory.chunks import chunk_size, chunked
from tokenprune.theory.plan import Chunk, ChunkPlan, MakeResult, Output, finite, gathered
from tokenprune.theory.population import ModelJob, descend, score, start, test_bags


def plan_phase(recipe: PhaseRecipe, most: int) -> ChunkPlan:
    """Cells of one N share a chunk where they fit; large N come first, so that the last chunks are short ones."""
    chunks: list[Chunk] = []
    places: list[Sequence[tuple[int, int, int]]] = []
    samples = recipe.samples
    for row in reversed(range(len(samples))):
        cells = [
            (column, row, trial) for column in range(len(recipe.grid.values)) for trial in range(recipe.grid.trials)
        ]
        jobs = {cell: _job(recipe, *cell) for cell in cells}
        for part in chunked(cells, chunk_size(jobs[cells[0]], recipe, most)):
            run = partial(train, recipe, [jobs[cell] for cell in part])
            chunks.append(Chunk(run, len(part) / recipe.grid.trials, len(part)))
            places.append(part)
    return ChunkPlan(chunks, partial(_assemble, recipe, places))


def train(recipe: PhaseRecipe, jobs: Sequence[ModelJob], device: torch.device) -> Output:
    """[test loss, test error] of every model after its training; null where it diverged."""
    network = start(jobs, device)
    for _ in descend(network, jobs, recipe.train, device):
        pass
    return finite(score(network, test_bags(jobs, device)))


def _job(recipe: PhaseRecipe, column: int, row: int, trial: int) -> ModelJob:
    data, model = recipe.at(recipe.grid.values[column])
    samples = recipe.samples[row]
    return ModelJob(data, model, samples, recipe.grid.test_samples, (recipe.run.seed, column, samples, trial))


def _assemble(
    recipe: PhaseRecipe, places: Sequence[Sequence[tuple[int, int, int]]], outputs: list[Output]
) -> MakeResult:
    found = gathered(places, outputs)

    def table(which: int) -> Any:
        grid = recipe.grid
        return [
            [[found[column, row, trial][which] for trial in range(grid.trials)] for row in range(len(recipe.samples))]
            for column in range(len(grid.values))
        ]

    return partial(
        PhaseResult,
        axis=recipe.grid.axis,
        kind=recipe.model.kind,
        values=recipe.grid.values,
        samples=recipe.samples,
        success=recipe.grid.success,
        loss=table(0),
        error=table(1),
    )
