"""Iterations to zero test loss: Theorem 1 of Li et al. (ICLR 2023) has T = Theta(alpha_*^-1 eta^-1)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tokenprune.theory.base import TheoryExperiment
from tokenprune.theory.jobs import ModelJob, Place, grid_plan, table
from tokenprune.theory.plan import ChunkPlan, Output
from tokenprune.theory.result import Dims, FromRecipe, TheoryResult
from tokenprune.theory.schema import Trials
from tokenprune.theory.shallow import Distinct, ShallowRecipe, Tokens, reason

if TYPE_CHECKING:
    import torch

Positive = Annotated[float, Field(gt=0)]


class Convergence(Trials):
    """Iterations to zero test loss, and to the first test without an error."""

    values: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Distinct] = Field(
        (0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8), min_length=1, strict=False, description="alpha_*"
    )
    step_sizes: Annotated[tuple[Positive, ...], Distinct] = Field(
        (0.3, 0.6, 1.2), min_length=1, strict=False, description="eta; train.step_size is not used"
    )
    iterations: int = Field(1600, ge=2, description="steps of SGD, each on fresh samples, at most")
    every: int = Field(5, ge=1, description="iterations between tests")
    success: float = Field(1e-3, gt=0, description="test hinge loss that counts as zero (chosen)")


class TimeRecipe(ShallowRecipe):
    """`tokenprune theory time`"""

    experiment: Literal["time"] = "time"
    convergence: Convergence = Field(default_factory=lambda: Convergence())

    @model_validator(mode="after")
    def _columns(self) -> Self:
        for value in self.convergence.values:
            try:
                self.at(value)
            except ValueError as error:
                raise ValueError(f"convergence.values: alpha_* {value:g}: {reason(error)}") from None
        return self

    def at(self, value: float) -> Tokens:
        """Data of one column. Raises ValueError where the value is out of range."""
        return Tokens.model_validate({**self.data.model_dump(), "relevant": float(value)})


_Counts = tuple[tuple[tuple[int | None, ...], ...], ...]
_SHAPE = Dims(("step_sizes", "values", "trials"), most="limit")


def _models(recipe: dict[str, Any]) -> int:
    spec = recipe["convergence"]
    return len(spec["values"]) * len(spec["step_sizes"]) * int(spec["trials"])


class TimeResult(TheoryResult):
    experiment: Literal["time"] = "time"
    models: Annotated[int, FromRecipe(_models, stored=True)]
    kind: Annotated[str, FromRecipe("model.kind")]
    values: Annotated[tuple[float, ...], FromRecipe("convergence.values")]  # alpha_*
    step_sizes: Annotated[tuple[float, ...], FromRecipe("convergence.step_sizes")]
    trials: Annotated[int, FromRecipe("convergence.trials")]
    limit: Annotated[int, FromRecipe("convergence.iterations")]  # after which a trial is given up
    #: Test hinge loss that counts as zero: the theorem's error is the expected hinge loss.
    success: Annotated[float, FromRecipe("convergence.success")]
    iterations: Annotated[_Counts, _SHAPE]  # to that loss
    diverged: Annotated[int | None, Dims(most="models")] = None  # loss not finite at the last test; null: not counted
    iterations_to_no_error: Annotated[_Counts, _SHAPE]  # until no test sample is misjudged

    @property
    def lost(self) -> int:
        return self.diverged or 0


def plan(recipe: TimeRecipe, most: int) -> ChunkPlan:
    """A chunk holds trials of one step size and one alpha_*, which converge at about the same time."""
    spec = recipe.convergence
    groups = [
        [(row, column, trial) for trial in range(spec.trials)]
        for row in range(len(spec.step_sizes))
        for column in range(len(spec.values))
    ]
    return grid_plan(recipe, groups, _job, _train, _assemble, most=most, cell=spec.trials)


def _job(recipe: TimeRecipe, row: int, column: int, trial: int) -> ModelJob:
    spec = recipe.convergence
    samples = spec.iterations * recipe.train.batch_size
    data = recipe.at(spec.values[column])
    return ModelJob(data, recipe.model, samples, spec.test_samples, (recipe.run.seed, row, column, trial))


def _train(recipe: TimeRecipe, places: Sequence[Place], device: "torch.device") -> Output:
    """For every model the first tested iterations with zero loss and without an error, and whether it diverged.

    null where there was none; stops once every model has reached both or diverged.
    """
    from tokenprune.theory.population import descend, score, start, test_bags

    spec, jobs = recipe.convergence, [_job(recipe, *place) for place in places]
    network, bags = start(jobs, device), test_bags(jobs, device)
    step_size = spec.step_sizes[places[0][0]]
    train = recipe.train.model_copy(update={"step_size": step_size, "epochs": 1})
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


def _assemble(recipe: TimeRecipe, found: dict[Place, Any]) -> dict[str, Any]:
    spec = recipe.convergence
    sizes = (len(spec.step_sizes), len(spec.values), spec.trials)
    reached = {"iterations": table(found, 0, sizes), "iterations_to_no_error": table(found, 1, sizes)}
    return reached | {"diverged": sum(outputs[2] for outputs in found.values())}


EXPERIMENT = TheoryExperiment(
    recipe=TimeRecipe, result=TimeResult, plan=plan, options={"--trials": "convergence.trials"}
)
