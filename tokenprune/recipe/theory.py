"""The schema of a recipe of the theory laboratory. `docs/recipes.md` is printed from here too.

Values that we could not find in the authors' publications are chosen, and their descriptions say so.
"""

from itertools import pairwise
from math import ceil, floor
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from tokenprune.recipe.laboratory import TheoryRecipe, Trials
from tokenprune.recipe.section import Section, Share
from tokenprune.recipe.spatial import SpatialRecipe

Axis = Literal["alpha", "noise", "start", "confusion"]
Removal = Literal["random", "irrelevant", "noisy", "magnitude"]
Kind = Literal["vit", "cnn"]


def _distinct(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """In ascending order, each once: a cell given twice would count its trials twice."""
    if values is None:
        return None
    twice = [value for value, after in pairwise(sorted(values)) if value == after]
    if twice:
        raise ValueError(f"{twice[0]} is given twice")
    return tuple(sorted(values))


Distinct = AfterValidator(_distinct)
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Tokens(Section):
    """The data model of Li et al. (ICLR 2023): L noisy copies of M orthonormal patterns, two of them discriminative."""

    count: int = Field(20, ge=2, le=4096, description="L: tokens of a sample (chosen)")
    dim: int = Field(10, ge=3, le=4096, description="d: dimensions of a token (chosen)")
    patterns: int = Field(5, ge=3, description="M: orthonormal patterns in all, at most dim (chosen)")
    relevant: float = Field(0.4, gt=0, le=1, description="alpha_*: mean share of label-relevant tokens")
    confusion: float = Field(0.05, ge=0, le=1, description="alpha_#: mean share of confusion tokens (chosen)")
    noise: float = Field(0.3, ge=0, description="tau: noise is uniform in the ball of this radius (chosen)")
    noisy_share: Share = Field(0.0, description="share of tokens, of any kind, with noise of radius `noisy` instead")
    noisy: float = Field(1.0, ge=0, description="radius of the noise on noisy tokens")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if self.relevant + self.confusion > 1:
            problems.append(f"relevant + confusion is {self.relevant + self.confusion:g}, must be at most 1")
        # Counts are means rounded up or down at random: no sample may have as many confusion tokens as relevant ones.
        fewest, most = floor(self.relevant * self.count + 1e-9), ceil(self.confusion * self.count - 1e-9)
        if self.confusion >= self.relevant:
            problems.append(
                f"confusion: {self.confusion:g} is not below relevant {self.relevant:g}: "
                "the label is the majority's, so its tokens must be more"
            )
        elif most >= max(fewest, 1):
            problems.append(
                f"confusion: {self.confusion:g} of {self.count} tokens is up to {most}, and relevant {self.relevant:g} "
                f"is {fewest} in some samples: the label is the majority's, so its tokens must be more"
            )
        if self.patterns > self.dim:
            problems.append(f"patterns: {self.patterns} orthonormal patterns do not fit into dim {self.dim} dimensions")
        if problems:
            raise ValueError("\n".join(problems))
        return self


class Shallow(Section):
    """The network: the paper's one-layer ViT, or a patch-wise two-layer CNN with about as many parameters."""

    kind: Kind = Field("vit", description="vit or cnn")
    neurons: int = Field(100, ge=1, description="m: rows of W_O (chosen); a cnn has more, to match the parameters")
    value_dim: int | None = Field(None, ge=3, description="m_a: rows of W_V (null: dim)")
    key_dim: int | None = Field(None, ge=3, description="m_b: rows of W_K and W_Q (null: dim)")
    scale: float = Field(0.01, gt=0, description="xi: standard deviation of W_O at the start (chosen)")
    sigma: float = Field(0.1, ge=0, description="distance of W_V mu_j from p_j at the start (chosen)")
    delta: float = Field(0.2, ge=0, description="distance of W_K mu_j and W_Q mu_j from q_j at the start (chosen)")


class Descent(Section):
    """SGD on the hinge loss."""

    step_size: float = Field(1.2, gt=0, description="eta, on the mean loss of a batch (chosen)")
    batch_size: int = Field(4, ge=1, description="samples of a step (chosen)")
    epochs: int = Field(1, ge=1, description="passes over the samples; 1 sees each once, as the theory does")


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


class AttentionCurve(Trials):
    """Attention on label-relevant tokens over the iterations."""

    iterations: int = Field(400, ge=2, description="steps of SGD, each on fresh samples")
    every: int = Field(10, ge=1, description="iterations between measurements")


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


#: As published for the ViT; for the CNN, which needs many more, in factors of two.
_SAMPLES = {"vit": tuple(range(40, 401, 40)), "cnn": tuple(1600 * 2**step for step in range(7))}


class ShallowRecipe(TheoryRecipe):
    """What all experiments on Li et al.'s data and networks share."""

    data: Tokens = Field(default_factory=lambda: Tokens())
    model: Shallow = Field(default_factory=lambda: Shallow())
    train: Descent = Field(default_factory=lambda: Descent())

    @model_validator(mode="after")
    def _dimensions(self) -> Self:
        for name, size in (("value_dim", self.model.value_dim), ("key_dim", self.model.key_dim)):
            if size is not None and size < self.data.patterns:
                raise ValueError(f"model.{name}: {size} is less than data.patterns {self.data.patterns}")
        return self


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


class AttentionRecipe(ShallowRecipe):
    """`tokenprune theory attention`"""

    experiment: Literal["attention"] = "attention"
    data: Tokens = Field(default_factory=lambda: Tokens(relevant=0.5))
    train: Descent = Field(default_factory=lambda: Descent(step_size=0.6))
    curve: AttentionCurve = Field(default_factory=lambda: AttentionCurve())

    @field_validator("model")
    @classmethod
    def _vit(cls, model: Shallow) -> Shallow:
        return _with_attention(model)


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
            _with_attention(self.model)
        return self


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


def reason(error: ValueError) -> str:
    """The first message of a pydantic error, or that of another."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    first = errors()[0]
    return f"{'.'.join(map(str, first['loc']))} {first['msg'].removeprefix('Value error, ')}".strip().partition("\n")[0]


def _with_attention(model: Shallow) -> Shallow:
    if model.kind == "cnn":
        raise ValueError("kind: a cnn has no attention to measure; only `phase` and `time` take one")
    return model


THEORY_RECIPES: dict[str, type[TheoryRecipe]] = {
    "phase": PhaseRecipe,
    "attention": AttentionRecipe,
    "sparsify": SparsifyRecipe,
    "time": TimeRecipe,
    "spatial": SpatialRecipe,
}
