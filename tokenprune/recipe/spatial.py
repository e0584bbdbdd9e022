"""The schema of a recipe of `tokenprune theory spatial` (Jelassi, Sander & Li, NeurIPS 2022).

Values that we could not read in the paper are chosen, and their descriptions say so.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from tokenprune.recipe.laboratory import TheoryRecipe, Trials
from tokenprune.recipe.section import Section, Share

Count = Annotated[int, Field(ge=1)]


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
