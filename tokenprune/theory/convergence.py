"""Iterations to zero test loss: Theorem 1 of Li et al. (ICLR 2023) has T = Theta(alpha_*^-1 eta^-1)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from tokenprune.recipe import TimeRecipe
from tokenprune.runs import TimeResult
from tokenprune.theory.chunks import chunk_size, chunked
from tokenprune.theory.plan import Chunk, ChunkPlan, MakeResult, Output, gathered
from tokenprune.theory.population import ModelJob, descend, score, start, test_bags

_Place = tuple[int, int, int]  # step size, alpha_*, trial


def plan_time(recipe: TimeRecipe, most: int) -> ChunkPlan:
    """A chunk holds trials of one step size and one alpha_*, which converge at about the same time."""
    spec = recipe.convergence
    chunks: list[Chunk] = []
    places: list[list[_Place]] = []
    for row in range(len(spec.step_sizes)):
        for column in range(len(spec.values)):
            cell = [(row, column, trial) for trial in range(spec.trials)]
            jobs = [_job(recipe, *place) for place in cell]
            size = chunk_size(jobs[0], recipe, most)
            for part, trained in zip(chunked(cell, size), chunked(jobs, size), strict=True):
                chunks.append(Chunk(partial(_iterations, recipe, row, trained), len(part) / spec.trials, len(part)))
                places.append(list(part))
    return ChunkPlan(chunks, partial(_assemble, recipe, places))


def _iterations(recipe: TimeRecipe, row: int, jobs: Sequence[ModelJob], device: torch.device) -> Output:
    """For every model the first tested iterations with zero loss and without an error, and whether it diverged.

    null where there was none; stops once every model has reached both or diverged.
    """
    spec = recipe.convergence
    network, bags = start(jobs, device), test_bags(jobs, device)
    train = recipe.train.model_copy(update={"step_size": spec.step_sizes[row], "epochs": 1})
    found: list[list[int | bool | None]] = [[None, None, False] for _ in jobs]
    for done in descend(network, jobs, train, device):
        if done % spec.every:
            continue
        for first, (loss, error) in zip(found, score(network, bags).tolist(), strict=True):
            for which, reached in enumerate((loss < spec.success, error == 0)):
                if reached and first[which] is None:
                    first[which] = done
            first[2] = loss != loss
        if all(first[2] or None not in first for first in found):
            break
    return found


def _job(recipe: TimeRecipe, row: int, column: int, trial: int) -> ModelJob:
    spec = recipe.convergence
    samples = spec.iterations * recipe.train.batch_size
    data = recipe.at(spec.values[column])
    return ModelJob(data, recipe.model, samples, spec.test_samples, (recipe.run.seed, row, column, trial))


def _assemble(recipe: TimeRecipe, places: Sequence[Sequence[_Place]], outputs: list[Output]) -> MakeResult:
    spec = recipe.convergence
    found = gathered(places, outputs)

    def table(which: int) -> Any:
        return [
            [[found[row, column, trial][which] for trial in range(spec.trials)] for column in range(len(spec.values))]
            for row in range(len(spec.step_sizes))
        ]

    return partial(
        TimeResult,
        kind=recipe.model.kind,
        values=spec.values,
        step_sizes=spec.step_sizes,
        limit=spec.iterations,
        success=spec.success,
        iterations=table(0),
        iterations_to_no_error=table(1),
        diverged=sum(triple[2] for triple in found.values()),
    )
