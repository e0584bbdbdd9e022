"""Phase diagram: success over (alpha_*, noise, start or confusion; N), as in Li et al. (ICLR 2023)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tokenprune.theory.base import TheoryExperiment
from tokenprune.theory.jobs import ModelJob, Place, grid_plan, table
from tokenprune.theory.plan import ChunkPlan, Output, finite
from tokenprune.theory.result import Dims, FromRecipe, Numbers, TheoryResult
from tokenprune.theory.schema import Count, Trials
from tokenprune.theory.shallow import Distinct, Shallow, ShallowRecipe, Tokens, reason

if TYPE_CHECKING:
    import torch

Axis = Literal["alpha", "noise", "start", "confusion"]
_AXES = {"alpha": "alpha_*^-2", "noise": "tau", "start": "sigma", "confusion": "alpha_#"}

#: As published for the ViT; for the CNN, which needs many more, in factors of two.
_SAMPLES = {"vit": tuple(range(40, 401, 40)), "cnn": tuple(1600 * 2**step for step in range(7))}


class PhaseGrid(Trials):
    """Success over (axis value, N)."""

    axis: Axis = Field("alpha", description="alpha, noise, start or confusion")
    values: Annotated[tuple[float, ...], Distinct] = Field(
        (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14),
        min_length=1,
        strict=False,
        description="alpha: alpha_*^-2; noise: tau; start: sigma, with delta twice that; confusion: alpha_#",
    )
    samples: Annotated[tuple[Count, ...] | None, Distinct] = Field(
        None,
        min_length=1,
        strict=False,
        description="N: training samples (null: 40, 80 .. 400 for a vit, as published; 1600, 3200 .. 102400 for a cnn)",
    )
    success: float = Field(1e-3, gt=0, description="test hinge loss below which a trial has succeeded (chosen)")


class PhaseRecipe(ShallowRecipe):
    """`tokenprune theory phase`"""

    experiment: Literal["phase"] = "phase"
    grid: PhaseGrid = Field(default_factory=lambda: PhaseGrid())

    @model_validator(mode="after")
    def _cells(self) -> Self:
        problems = []
        if min(self.samples) < self.train.batch_size:
            problems.append(
                f"grid.samples: N = {min(self.samples)} is smaller than train.batch_size {self.train.batch_size}"
            )
        for value in self.grid.values:
            try:
                self.at(value)
            except ValueError as error:
                problems.append(f"grid.values: {value:g} on axis {self.grid.axis}: {reason(error)}")
                break  # the others are wrong alike
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def samples(self) -> tuple[int, ...]:
        """N of the rows."""
        return self.grid.samples or _SAMPLES[self.model.kind]

    def at(self, value: float) -> tuple[Tokens, Shallow]:
        """Data and network of one column. Raises ValueError where the value is out of range."""
        data, model = self.data.model_dump(), self.model.model_dump()
        if self.grid.axis == "alpha":
            if value < 1:
                raise ValueError("alpha_*^-2 must be at least 1")
            data["relevant"] = value**-0.5
        elif self.grid.axis == "noise":
            data["noise"] = float(value)
        elif self.grid.axis == "confusion":
            data["confusion"] = float(value)
        else:
            model["sigma"], model["delta"] = float(value), 2 * float(value)
        return Tokens.model_validate(data), Shallow.model_validate(model)


def _samples(recipe: dict[str, Any]) -> Sequence[int]:
    found: Sequence[int] = recipe["grid"]["samples"] or _SAMPLES[recipe["model"]["kind"]]
    return found


def _models(recipe: dict[str, Any]) -> int:
    grid = recipe["grid"]
    return len(grid["values"]) * len(_samples(recipe)) * int(grid["trials"])


class PhaseResult(TheoryResult):
    experiment: Literal["phase"] = "phase"
    models: Annotated[int, FromRecipe(_models, stored=True)]
    axis: Annotated[Axis, FromRecipe("grid.axis")]
    kind: Annotated[str, FromRecipe("model.kind")]
    values: Annotated[tuple[float, ...], FromRecipe("grid.values")]  # alpha: alpha_*^-2
    samples: Annotated[tuple[int, ...], FromRecipe(_samples)]  # N
    tokens: Annotated[int, FromRecipe("data.count")]  # L
    success: Annotated[float, FromRecipe("grid.success")]  # test hinge loss below which a trial has succeeded
    trials: Annotated[int, FromRecipe("grid.trials")]
    loss: Annotated[tuple[tuple[Numbers, ...], ...], Dims(("values", "samples", "trials"))]  # test hinge loss
    error: Annotated[tuple[tuple[Numbers, ...], ...], Dims(("values", "samples", "trials"), most=1)]  # test error

    @property
    def lost(self) -> int:
        return sum(loss is None for column in self.loss for cell in column for loss in cell)


def plan(recipe: PhaseRecipe, most: int) -> ChunkPlan:
    """Cells of one N share a chunk where they fit; large N come first, so that the last chunks are short ones."""
    columns, trials = range(len(recipe.grid.values)), range(recipe.grid.trials)
    rows = reversed(range(len(recipe.samples)))
    groups = [[(column, row, trial) for column in columns for trial in trials] for row in rows]
    return grid_plan(recipe, groups, _job, _train, _assemble, most=most, cell=len(trials))


def _job(recipe: PhaseRecipe, column: int, row: int, trial: int) -> ModelJob:
    data, model = recipe.at(recipe.grid.values[column])
    samples = recipe.samples[row]
    return ModelJob(data, model, samples, recipe.grid.test_samples, (recipe.run.seed, column, samples, trial))


def _train(recipe: PhaseRecipe, places: Sequence[Place], device: "torch.device") -> Output:
    """[test loss, test error] of every model after its training; null where it diverged."""
    from tokenprune.theory.population import score, test_bags, trained

    jobs = [_job(recipe, *place) for place in places]
    return finite(score(trained(jobs, recipe.train, device), test_bags(jobs, device)))


def _assemble(recipe: PhaseRecipe, found: dict[Place, Any]) -> dict[str, Any]:
    sizes = (len(recipe.grid.values), len(recipe.samples), recipe.grid.trials)
    return {"loss": table(found, 0, sizes), "error": table(found, 1, sizes)}


EXPERIMENT = TheoryExperiment(
    recipe=PhaseRecipe,
    result=PhaseResult,
    plan=plan,
    options={
        "--axis": "grid.axis",
        "--model": "model.kind",
        "--grid": "grid.values",
        "--samples": "grid.samples",
        "--trials": "grid.trials",
    },
)
