"""Attention on label-relevant tokens over training: Proposition 2 of Li et al. (ICLR 2023)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from tokenprune.theory.base import TheoryExperiment
from tokenprune.theory.jobs import ModelJob, Place, grid_plan
from tokenprune.theory.plan import ChunkPlan, Output, finite
from tokenprune.theory.result import Dims, FromRecipe, Numbers, TheoryResult, marks, measured
from tokenprune.theory.schema import Trials
from tokenprune.theory.shallow import Descent, Shallow, ShallowRecipe, Tokens, with_attention

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor

    from tokenprune.theory.population import Bags

#: Models of a chunk: few, since there is one cell only, and each core should get a part of it.
AT_ONCE = 5


class AttentionCurve(Trials):
    """Attention on label-relevant tokens over the iterations."""

    iterations: int = Field(400, ge=2, description="steps of SGD, each on fresh samples")
    every: int = Field(10, ge=1, description="iterations between measurements")


class AttentionRecipe(ShallowRecipe):
    """`tokenprune theory attention`"""

    experiment: Literal["attention"] = "attention"
    data: Tokens = Field(default_factory=lambda: Tokens(relevant=0.5))
    train: Descent = Field(default_factory=lambda: Descent(step_size=0.6))
    curve: AttentionCurve = Field(default_factory=lambda: AttentionCurve())

    @field_validator("model")
    @classmethod
    def _vit(cls, model: Shallow) -> Shallow:
        return with_attention(model)


_Curves = tuple[Numbers, ...]  # by trial, then iteration
_SHAPE = ("trials", "iterations")


class AttentionResult(TheoryResult):
    """Norms are means over the two discriminative patterns, and over the others."""

    experiment: Literal["attention"] = "attention"
    models: Annotated[int, FromRecipe("curve.trials", stored=True)]
    step_size: Annotated[float, FromRecipe("train.step_size")]
    trials: Annotated[int, FromRecipe("curve.trials")]
    iterations: Annotated[tuple[int, ...], FromRecipe(measured)]
    attention: Annotated[_Curves, Dims(_SHAPE, most=1)]  # summed over relevant tokens, mean over queries and samples
    attention_relevant: Annotated[_Curves, Dims(_SHAPE, most=1)]  # the same, queries of label-relevant tokens only
    loss: Annotated[_Curves, Dims(_SHAPE)]  # test hinge loss
    query_norm: Annotated[_Curves, Dims(_SHAPE)]  # |W_Q mu_j|, discriminative patterns
    query_norm_other: Annotated[_Curves, Dims(_SHAPE)]
    key_norm: Annotated[_Curves, Dims(_SHAPE)]
    key_norm_other: Annotated[_Curves, Dims(_SHAPE)]

    @property
    def lost(self) -> int:
        return sum(curve[-1] is None for curve in self.loss)


#: In the order in which a chunk measures them.
_CURVES = ("attention", "attention_relevant", "query_norm", "query_norm_other", "key_norm", "key_norm_other", "loss")


def plan(recipe: AttentionRecipe, most: int) -> ChunkPlan:
    """A chunk trains some of the trials and measures them on the way; every step sees fresh samples."""
    trials = [(trial,) for trial in range(recipe.curve.trials)]
    return grid_plan(recipe, [trials], _job, _train, _assemble, most=min(most, AT_ONCE), cell=1)


def _job(recipe: AttentionRecipe, trial: int) -> ModelJob:
    samples = recipe.curve.iterations * recipe.train.batch_size
    return ModelJob(recipe.data, recipe.model, samples, recipe.curve.test_samples, (recipe.run.seed, trial))


def _train(recipe: AttentionRecipe, places: Sequence[Place], device: "torch.device") -> Output:
    """By trial, curve and iteration."""
    import torch

    from tokenprune.theory.population import descend, score, start, test_bags

    jobs = [_job(recipe, *place) for place in places]
    network, bags = start(jobs, device), test_bags(jobs, device)
    at = marks(recipe.curve.iterations, recipe.curve.every)
    found = [
        torch.cat([_measure(network, bags, recipe.data.patterns), score(network, bags)[:, :1]], 1)
        for done in descend(network, jobs, recipe.train, device)
        if done in at
    ]
    return finite(torch.stack(found, 2))


def _measure(network: Any, bags: "Bags", patterns: int) -> "Float[Tensor, 'm 6']":
    """Attention on label-relevant tokens over all queries and over label-relevant ones; norms of W_Q and W_K."""
    import torch

    reached = torch.einsum("mbqk,mbk->mbq", network.attention(bags.tokens), bags.relevant)
    relevant = (reached * bags.relevant).sum((1, 2)) / bags.relevant.sum((1, 2))
    norms = [
        weight[:, :, part].norm(dim=1).mean(1)
        for weight in (network.query, network.key)
        for part in (slice(0, 2), slice(2, patterns))
    ]
    return torch.stack([reached.mean((1, 2)), relevant, *norms], 1)


def _assemble(recipe: AttentionRecipe, found: dict[Place, Any]) -> dict[str, Any]:
    return {name: [curves[index] for curves in found.values()] for index, name in enumerate(_CURVES)}


EXPERIMENT = TheoryExperiment(
    recipe=AttentionRecipe,
    result=AttentionResult,
    plan=plan,
    options={"--iterations": "curve.iterations", "--trials": "curve.trials"},
)
