"""Effect of removing tokens on the loss and on sample complexity: the corollary of Li et al. (ICLR 2023).

Tokens leave every sample, in training and in test. Random, label-irrelevant and noisy ones are known from how the
samples were made; by magnitude, the network's own attention at that step decides (`ShallowViT.keep`).
"""

from collections.abc import Sequence
from functools import partial

import torch

from tokenprune.recipe import SparsifyRecipe
from tokenprune.runs import SparsifyResult
from tokenprune.theory.chunks import chunk_size, chunked
from tokenprune.theory.network import ShallowViT
from tokenprune.theory.plan import Chunk, ChunkPlan, MakeResult, Output, finite, gathered
from tokenprune.theory.population import Bags, ModelJob, descend, score, start, test_bags
from tokenprune.theory.removal import Removed

_Place = tuple[str, int, int, int]  # method, tokens removed, N, trial

NONE = "none"


def plan_sparsify(recipe: SparsifyRecipe, most: int) -> ChunkPlan:
    """Models of one method, one number of tokens and one N share chunks; large N come first."""
    spec = recipe.removal
    cells = dict.fromkeys(
        [(*_same(method, removed), spec.curve_samples) for method in spec.methods for removed in spec.removed]
        + [(*_same(method, spec.complexity_removed), n) for method in (NONE, *spec.methods) for n in spec.samples]
    )
    chunks: list[Chunk] = []
    places: list[list[_Place]] = []
    for method, removed, samples in sorted(cells, key=lambda cell: -cell[2]):
        cell = [(method, removed, samples, trial) for trial in range(spec.trials)]
        jobs = [_job(recipe, *place) for place in cell]
        size = chunk_size(jobs[0], recipe, most)
        for part, trained in zip(chunked(cell, size), chunked(jobs, size), strict=True):
            chunks.append(Chunk(partial(_train, recipe, trained), len(part) / spec.trials, len(part)))
            places.append(list(part))
    return ChunkPlan(chunks, partial(_assemble, recipe, places))


def _train(recipe: SparsifyRecipe, jobs: Sequence[ModelJob], device: torch.device) -> Output:
    """[test loss, test error, label-relevant share of the tokens that stayed in the test samples] of every model."""
    network = start(jobs, device)
    for _ in descend(network, jobs, recipe.train, device):
        pass
    bags = test_bags(jobs, device)
    return finite(torch.cat([score(network, bags), _relevant(network, bags)], 1))


def _relevant(network: object, bags: Bags) -> torch.Tensor:
    kept = bags.relevant
    if isinstance(network, ShallowViT) and network.keep is not None:
        kept = torch.take_along_dim(bags.relevant, network.kept(bags.tokens), 2)
    return kept.mean((1, 2))[:, None]


def _same(method: str, removed: int) -> tuple[str, int]:
    """Removing no token is the same model for every method."""
    return (NONE, 0) if method == NONE or not removed else (method, removed)


def _job(recipe: SparsifyRecipe, method: str, removed: int, samples: int, trial: int) -> ModelJob:
    """Trials of one N share samples, signs and start over all methods, so that methods are compared in pairs."""
    gone = None if method == NONE else Removed(method, removed)  # type: ignore[arg-type]
    key = (recipe.run.seed, samples, trial)
    return ModelJob(recipe.data, recipe.model, samples, recipe.removal.test_samples, key, gone)


def _assemble(recipe: SparsifyRecipe, places: Sequence[Sequence[_Place]], outputs: list[Output]) -> MakeResult:
    spec = recipe.removal
    found = gathered(places, outputs)

    def curve(method: str, which: int) -> list[list[float | None]]:
        return [
            [found[*_same(method, removed), spec.curve_samples, trial][which] for trial in range(spec.trials)]
            for removed in spec.removed
        ]

    def accuracy(method: str) -> list[list[float | None]]:
        return [[None if error is None else 1 - error for error in cell] for cell in curve(method, 1)]

    return partial(
        SparsifyResult,
        tokens=recipe.data.count,
        removed=spec.removed,
        curve_samples=spec.curve_samples,
        loss={method: curve(method, 0) for method in spec.methods},
        accuracy={method: accuracy(method) for method in spec.methods},
        relevant={method: curve(method, 2) for method in spec.methods},
        samples=spec.samples,
        complexity_removed=spec.complexity_removed,
        success=spec.success,
        complexity={
            method: [
                [found[*_same(method, spec.complexity_removed), n, trial][0] for trial in range(spec.trials)]
                for n in spec.samples
            ]
            for method in (NONE, *spec.methods)
        },
    )
