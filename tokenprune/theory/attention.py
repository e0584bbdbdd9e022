"""Attention on label-relevant tokens over training: Proposition 2 of Li et al. (ICLR 2023)."""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from tokenprune.recipe import AttentionRecipe
from tokenprune.runs import AttentionResult
from tokenprune.theory.chunks import chunk_size, chunked
from tokenprune.theory.network import ShallowViT
from tokenprune.theory.plan import Chunk, ChunkPlan, MakeResult, Output, finite
from tokenprune.theory.population import Bags, ModelJob, descend, score, start, test_bags

_CURVES = (
    "attention",
    "attention_relevant",
    "query_norm",
    "query_norm_other",
    "key_norm",
    "key_norm_other",
    "loss",
)

#: Models of a chunk: few, since there is one cell only, and each core should get a part of it.
AT_ONCE = 5


def plan_attention(recipe: AttentionRecipe, most: int) -> ChunkPlan:
    """A chunk trains some of the trials and measures them on the way; every step sees fresh samples."""
    curve = recipe.curve
    samples = curve.iterations * recipe.train.batch_size
    jobs = [
        ModelJob(recipe.data, recipe.model, samples, curve.test_samples, (recipe.run.seed, trial))
        for trial in range(curve.trials)
    ]
    size = chunk_size(jobs[0], recipe, min(most, AT_ONCE))
    chunks = [Chunk(partial(_curves, recipe, part), len(part), len(part)) for part in chunked(jobs, size)]
    return ChunkPlan(chunks, partial(_assemble, recipe))


def marks(recipe: AttentionRecipe) -> tuple[int, ...]:
    """Iterations with a measurement: the first, every so many, and the last."""
    last = recipe.curve.iterations
    return tuple(sorted({*range(0, last + 1, recipe.curve.every), last}))


def _curves(recipe: AttentionRecipe, jobs: Sequence[ModelJob], device: torch.device) -> Output:
    """By trial, curve and iteration."""
    network, bags, at = start(jobs, device), test_bags(jobs, device), set(marks(recipe))
    assert isinstance(network, ShallowViT)
    found = [
        torch.cat([_measure(network, bags, recipe.data.patterns), score(network, bags)[:, :1]], 1)
        for done in descend(network, jobs, recipe.train, device)
        if done in at
    ]
    return finite(torch.stack(found, 2))


def _measure(network: ShallowViT, bags: Bags, patterns: int) -> Float[Tensor, "m 6"]:
    """Attention on label-relevant tokens over all queries and over label-relevant ones; norms of W_Q and W_K."""
    reached = torch.einsum("mbqk,mbk->mbq", network.attention(bags.tokens), bags.relevant)
    relevant = (reached * bags.relevant).sum((1, 2)) / bags.relevant.sum((1, 2))
    norms = [
        weight[:, :, part].norm(dim=1).mean(1)
        for weight in (network.query, network.key)
        for part in (slice(0, 2), slice(2, patterns))
    ]
    return torch.stack([reached.mean((1, 2)), relevant, *norms], 1)


def _assemble(recipe: AttentionRecipe, outputs: list[Output]) -> MakeResult:
    trials = [trial for output in outputs for trial in output]
    curves = {name: [trial[index] for trial in trials] for index, name in enumerate(_CURVES)}
    return partial(
        AttentionResult,
        step_size=recipe.train.step_size,
        iterations=marks(recipe),
        **curves,
    )
