"""Spatial structure: association over training, a solution without it, transfer (Jelassi, Sander & Li, NeurIPS 2022).

Values of recipes that we could not read in the paper are chosen, and their descriptions say so.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tokenprune.section import Section, Share
from tokenprune.theory.base import TheoryExperiment
from tokenprune.theory.plan import Chunk, ChunkPlan, Output, chunked
from tokenprune.theory.result import Dims, FromRecipe, Numbers, TheoryResult, measured
from tokenprune.theory.schema import Count, TheoryRecipe, Trials

if TYPE_CHECKING:
    import torch

#: Trials in work together: more at once gain nothing on a CPU, and a kill loses one chunk.
TRIALS = 4
#: Steps whose samples are drawn at once where each is used once.
BLOCK = 20

ARMS = ("transfer", "scratch")
CONSTRUCTED = ("own", "other", "start")


class SpatialPatches(Section):
    """The data model: patches partitioned into sets, one of which carries the label."""

    patches: int = Field(40, ge=4, le=4096, description="d: patches of a sample (chosen)")
    set_size: int = Field(4, ge=2, le=2048, description="C: patches of a set, anywhere; divides patches (chosen)")
    dim: int = Field(16, ge=2, le=4096, description="dimensions of a patch (chosen)")
    flips: Share = Field(0.4, description="q: chance that a patch outside the label's set is +w* or -w* (chosen)")
    noise: float = Field(0.5, ge=0, description="sigma: standard deviation of the noise orthogonal to w* (chosen)")

    @model_validator(mode="after")
    def _partition(self) -> Self:
        if self.patches % self.set_size:
            raise ValueError(f"set_size: {self.set_size} does not divide patches {self.patches} into equal sets")
        if self.patches == self.set_size:
            raise ValueError(f"set_size: {self.set_size} of {self.patches} patches makes one set only; two are needed")
        return self

    @property
    def sets(self) -> int:
        """L"""
        return self.patches // self.set_size


class Positional(Section):
    """F = sum_i phi(d sum_j softmax(A)_ij <v, X_j>): A holds the positional scores, its diagonal stays as it is."""

    power: int = Field(3, ge=3, le=9, description="p, odd: phi(t) = t^p + linear t (chosen)")
    linear: float = Field(0.1, ge=0, description="weight of phi's linear part (chosen)")
    diagonal: float = Field(3.0, ge=-20, le=20, description="A_ii, not trained (chosen)")
    attention_scale: float = Field(0.01, ge=0, description="standard deviation of A_ij at the start (chosen)")
    value_scale: float = Field(0.01, gt=0, description="standard deviation of v at the start (chosen)")

    @field_validator("power")
    @classmethod
    def _odd(cls, power: int) -> int:
        if power % 2 == 0:
            raise ValueError(f"{power} is even: phi must be odd, or no patch could vote for label -1")
        return power


class SpatialDescent(Section):
    """SGD on the mean logistic loss of a batch."""

    step_size: float = Field(1e-4, gt=0, description="eta of v (chosen)")
    attention_step_size: float = Field(20.0, gt=0, description="eta of A (chosen)")
    batch_size: int = Field(32, ge=1, description="samples of a step (chosen)")


class AssociationCurve(Trials):
    """Training on the source task; every step sees fresh samples."""

    test_samples: int = Field(500, ge=1, description="fresh samples each model is tested on")
    iterations: int = Field(600, ge=2, description="steps of SGD (chosen)")
    every: int = Field(20, ge=1, description="iterations between measurements")


class Transfer(Section):
    """Target tasks, of the same partition and another w*: v alone, or A and v, trained on N samples over and over."""

    samples: tuple[Count, ...] = Field(
        (32, 64, 128, 256, 512, 1024, 2048), min_length=1, strict=False, description="N: target samples (chosen)"
    )
    iterations: int = Field(400, ge=1, description="steps of SGD on the target task, at any N (chosen)")
    success: float = Field(0.95, gt=0, le=1, description="test accuracy at which a trial has succeeded (chosen)")


class SpatialRecipe(TheoryRecipe):
    """`tokenprune theory spatial`"""

    experiment: Literal["spatial"] = "spatial"
    data: SpatialPatches = Field(default_factory=lambda: SpatialPatches())
    model: Positional = Field(default_factory=lambda: Positional())
    train: SpatialDescent = Field(default_factory=lambda: SpatialDescent())
    curve: AssociationCurve = Field(default_factory=lambda: AssociationCurve())
    transfer: Transfer = Field(default_factory=lambda: Transfer())

    @model_validator(mode="after")
    def _batches(self) -> Self:
        least = min(self.transfer.samples)
        if least < self.train.batch_size:
            raise ValueError(f"transfer.samples: N = {least} is smaller than train.batch_size {self.train.batch_size}")
        return self


def _models(recipe: dict[str, Any]) -> int:
    return int(recipe["curve"]["trials"]) * (1 + len(ARMS) * len(recipe["transfer"]["samples"]))


_Curves = tuple[Numbers, ...]
_SHAPE = ("trials", "iterations")
_Made = dict[str, Numbers]


class SpatialResult(TheoryResult):
    """Association is of the source task's training: curves by trial, then iteration.

    constructed: networks with v = 2 w* / d that were not trained, by attention: on i's own set (own), on another set
    (other: no association), or as at the start of training (start); then by trial.
    target_accuracy: `transfer` trained v alone, with the source task's A; `scratch` trained A and v; by N, then trial.
    """

    experiment: Literal["spatial"] = "spatial"
    models: Annotated[int, FromRecipe(_models, stored=True)]
    patches: Annotated[int, FromRecipe("data.patches")]  # d
    set_size: Annotated[int, FromRecipe("data.set_size")]  # C
    trials: Annotated[int, FromRecipe("curve.trials")]
    iterations: Annotated[tuple[int, ...], FromRecipe(measured)]
    overlap: Annotated[_Curves, Dims(_SHAPE, most=1)]  # share of the C - 1 largest A_ij of i's own set, mean over i
    exact: Annotated[_Curves, Dims(_SHAPE, most=1)]  # share of patches i of which all C - 1 are
    loss: Annotated[_Curves, Dims(_SHAPE)]  # test logistic loss
    accuracy: Annotated[_Curves, Dims(_SHAPE, most=1)]  # test accuracy
    constructed_overlap: Annotated[_Made, Dims(("trials",), most=1, keys=CONSTRUCTED)]
    constructed_exact: Annotated[_Made, Dims(("trials",), most=1, keys=CONSTRUCTED)]
    constructed_loss: Annotated[_Made, Dims(("trials",), keys=CONSTRUCTED)]
    constructed_accuracy: Annotated[_Made, Dims(("trials",), most=1, keys=CONSTRUCTED)]
    samples: Annotated[tuple[int, ...], FromRecipe("transfer.samples")]  # N of the target task
    success: Annotated[float, FromRecipe("transfer.success")]  # test accuracy at which a trial has succeeded
    target_accuracy: Annotated[dict[str, tuple[Numbers, ...]], Dims(("samples", "trials"), most=1, keys=ARMS)]

    @property
    def chance(self) -> float:
        """Mean overlap of random attention."""
        return (self.set_size - 1) / (self.patches - 1)

    @property
    def lost(self) -> int:
        return sum(curve[-1] is None for curve in self.loss)


def plan(recipe: SpatialRecipe, most: int) -> ChunkPlan:
    """A chunk is a few trials with all of their tasks, since transfer needs their trained A."""
    size = max(1, min(TRIALS, most, int(recipe.run.memory * 2**20 / memory(recipe))))
    parts = list(chunked(range(recipe.curve.trials), size))
    models = 1 + len(ARMS) * len(recipe.transfer.samples)
    chunks = [Chunk(partial(_train, recipe, part), len(part), len(part) * models) for part in parts]
    return ChunkPlan(chunks, partial(_assemble, recipe))


def memory(recipe: SpatialRecipe) -> float:
    """Bytes that a trial takes at its peak, roughly: samples, once more as they are drawn, and A with its gradient."""
    data, batch = recipe.data, recipe.train.batch_size
    samples = max(*recipe.transfer.samples, BLOCK * batch) + recipe.curve.test_samples
    return 4 * data.patches * (samples * (2 * data.dim + 6) + 6 * data.patches)


def _train(recipe: SpatialRecipe, trials: Sequence[int], device: "torch.device") -> Output:
    from tokenprune.theory.spatial.training import train

    return train(recipe, trials, device)


def _assemble(recipe: SpatialRecipe, outputs: list[Output]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for which, name in enumerate(("overlap", "exact", "loss", "accuracy")):
        fields[name] = [[point[which] for point in trial] for output in outputs for trial in output["curve"]]
        fields[f"constructed_{name}"] = {
            attention: [trial[which] for output in outputs for trial in output["made"][attention]]
            for attention in CONSTRUCTED
        }
    fields["target_accuracy"] = {
        arm: [
            [x for output in outputs for x in output["target"][arm][row]] for row in range(len(recipe.transfer.samples))
        ]
        for arm in ARMS
    }
    return fields


EXPERIMENT = TheoryExperiment(
    recipe=SpatialRecipe, result=SpatialResult, plan=plan, options={"--trials": "curve.trials"}
)
