"""Effect of removing tokens on the loss and on sample complexity: the corollary of Li et al. (ICLR 2023).

Tokens leave every sample, in training and in test. Random, label-irrelevant and noisy ones are known from how the
samples were made; by magnitude, the network's own attention at that step decides (`ShallowViT.keep`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tokenprune.theory.base import TheoryExperiment
from tokenprune.theory.jobs import ModelJob, Place, Removed, grid_plan
from tokenprune.theory.plan import ChunkPlan, Output, finite
from tokenprune.theory.result import Dims, FromRecipe, Numbers, TheoryResult
from tokenprune.theory.schema import Count, Trials
from tokenprune.theory.shallow import Distinct, Removal, ShallowRecipe, Tokens, with_attention

if TYPE_CHECKING:
    import torch

NONE = "none"


class Removals(Trials):
    """Test loss over tokens removed, in training and test alike; and sample complexity before and after."""

    methods: tuple[Removal, ...] = Field(
        ("random", "irrelevant", "noisy", "magnitude"), min_length=1, strict=False, description="which tokens go"
    )
    removed: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Distinct] = Field(
        (0, 4, 8, 12, 16, 20), min_length=1, strict=False, description="tokens removed from every sample"
    )
    curve_samples: int = Field(400, ge=1, description="N of the loss curve")
    complexity_removed: int = Field(20, ge=1, description="tokens removed where sample complexity is compared")
    samples: Annotated[tuple[Count, ...], Distinct] = Field(
        (100, 140, 200, 280, 400, 560, 800, 1120, 1600, 2240, 3200),
        min_length=1,
        strict=False,
        description="N: training samples",
    )
    success: float = Field(1e-3, gt=0, description="test hinge loss below which a trial has succeeded (chosen)")


class SparsifyRecipe(ShallowRecipe):
    """`tokenprune theory sparsify`"""

    experiment: Literal["sparsify"] = "sparsify"
    data: Tokens = Field(default_factory=lambda: Tokens(count=60, relevant=0.3, noisy_share=0.5, noisy=0.8))
    removal: Removals = Field(default_factory=lambda: Removals())

    @model_validator(mode="after")
    def _enough(self) -> Self:
        most = max(*self.removal.removed, self.removal.complexity_removed)
        if most >= self.data.count:
            raise ValueError(
                f"removal.removed: {most} of {self.data.count} tokens leaves none; data.count is the limit"
            )
        least = min(*self.removal.samples, self.removal.curve_samples)
        if least < self.train.batch_size:
            raise ValueError(f"removal.samples: N = {least} is smaller than train.batch_size {self.train.batch_size}")
        if "magnitude" in self.removal.methods:
            with_attention(self.model)
        return self


_Tables = dict[str, tuple[Numbers, ...]]
_SHAPE = ("removed", "trials")


class SparsifyResult(TheoryResult):
    """Tables are by method; then by tokens removed or N, and trial."""

    experiment: Literal["sparsify"] = "sparsify"
    tokens: Annotated[int, FromRecipe("data.count")]  # L before removal
    methods: Annotated[tuple[str, ...], FromRecipe("removal.methods")]
    trials: Annotated[int, FromRecipe("removal.trials")]
    removed: Annotated[tuple[int, ...], FromRecipe("removal.removed")]
    curve_samples: Annotated[int, FromRecipe("removal.curve_samples")]  # N of the curves
    loss: Annotated[_Tables, Dims(_SHAPE, keys="methods")]  # test hinge loss
    accuracy: Annotated[_Tables, Dims(_SHAPE, most=1, keys="methods")]
    relevant: Annotated[_Tables, Dims(_SHAPE, most=1, keys="methods")]  # alpha_* of tokens that stayed, test samples
    samples: Annotated[tuple[int, ...], FromRecipe("removal.samples")]  # N where sample complexity is compared
    complexity_removed: Annotated[int, FromRecipe("removal.complexity_removed")]
    success: Annotated[float, FromRecipe("removal.success")]
    complexity: Annotated[_Tables, Dims(("samples", "trials"), keys="compared")]  # test hinge loss, also of "none"

    @property
    def compared(self) -> tuple[str, ...]:
        return (NONE, *self.methods)

    @property
    def lost(self) -> int:
        # Where no token is removed, all methods have the same models.
        cells = {cell for table in (*self.loss.values(), *self.complexity.values()) for cell in table}
        return sum(loss is None for cell in cells for loss in cell)


def plan(recipe: SparsifyRecipe, most: int) -> ChunkPlan:
    """Models of one method, one number of tokens and one N share chunks; large N come first."""
    spec = recipe.removal
    cells = dict.fromkeys(
        [(*_same(method, removed), spec.curve_samples) for method in spec.methods for removed in spec.removed]
        + [(*_same(method, spec.complexity_removed), n) for method in (NONE, *spec.methods) for n in spec.samples]
    )
    large_first = sorted(cells, key=lambda cell: -cell[2])
    groups = [[(*cell, trial) for trial in range(spec.trials)] for cell in large_first]
    return grid_plan(recipe, groups, _job, _train, _assemble, most=most, cell=spec.trials)


def _train(recipe: SparsifyRecipe, places: Sequence[Place], device: "torch.device") -> Output:
    """[test loss, test error, label-relevant share of the tokens that stayed in the test samples] of every model."""
    import torch

    from tokenprune.theory.population import relevant, score, test_bags, trained

    jobs = [_job(recipe, *place) for place in places]
    network, bags = trained(jobs, recipe.train, device), test_bags(jobs, device)
    return finite(torch.cat([score(network, bags), relevant(network, bags)], 1))


def _same(method: str, removed: int) -> tuple[str, int]:
    """Removing no token is the same model for every method."""
    return (NONE, 0) if method == NONE or not removed else (method, removed)


def _job(recipe: SparsifyRecipe, method: str, removed: int, samples: int, trial: int) -> ModelJob:
    """Trials of one N share samples, signs and start over all methods, so that methods are compared in pairs."""
    gone = None if method == NONE else Removed(method, removed)  # type: ignore[arg-type]
    key = (recipe.run.seed, samples, trial)
    return ModelJob(recipe.data, recipe.model, samples, recipe.removal.test_samples, key, gone)


def _assemble(recipe: SparsifyRecipe, found: dict[Place, Any]) -> dict[str, Any]:
    spec = recipe.removal

    def cell(method: str, removed: int, samples: int, which: int) -> list[float | None]:
        return [found[*_same(method, removed), samples, trial][which] for trial in range(spec.trials)]

    def curves(which: int) -> dict[str, list[list[float | None]]]:
        return {
            method: [cell(method, removed, spec.curve_samples, which) for removed in spec.removed]
            for method in spec.methods
        }

    return {
        "loss": curves(0),
        "accuracy": {
            method: [[None if error is None else 1 - error for error in errors] for errors in table]
            for method, table in curves(1).items()
        },
        "relevant": curves(2),
        "complexity": {
            method: [cell(method, spec.complexity_removed, n, 0) for n in spec.samples]
            for method in (NONE, *spec.methods)
        },
    }


EXPERIMENT = TheoryExperiment(
    recipe=SparsifyRecipe,
    result=SparsifyResult,
    plan=plan,
    options={"--method": "removal.methods", "--removed": "removal.removed", "--trials": "removal.trials"},
)
