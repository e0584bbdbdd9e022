"""Sections that recipes on Li et al.'s data and networks (ICLR 2023) share.

Values that we could not find in the authors' publications are chosen, and their descriptions say so.
"""

from itertools import pairwise
from math import ceil, floor
from typing import Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from tokenprune.section import YOUNGER, Section, Share
from tokenprune.theory.schema import TheoryRecipe

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
    signs: Literal["own", "shared"] = Field(
        "own",
        description="a_(l): own for each position, or shared by all, so that a token counts alike wherever it stands "
        "(chosen)",
        json_schema_extra=YOUNGER,
    )
    scale: float = Field(0.01, gt=0, description="xi: standard deviation of W_O at the start (chosen)")
    sigma: float = Field(0.1, ge=0, description="distance of W_V mu_j from p_j at the start (chosen)")
    delta: float = Field(0.2, ge=0, description="distance of W_K mu_j and W_Q mu_j from q_j at the start (chosen)")


class Descent(Section):
    """SGD on the hinge loss."""

    step_size: float = Field(1.2, gt=0, description="eta, on the mean loss of a batch (chosen)")
    batch_size: int = Field(4, ge=1, description="samples of a step (chosen)")
    epochs: int = Field(1, ge=1, description="passes over the samples; 1 sees each once, as the theory does")


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


def reason(error: ValueError) -> str:
    """The first message of a pydantic error, or that of another."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    first = errors()[0]
    return f"{'.'.join(map(str, first['loc']))} {first['msg'].removeprefix('Value error, ')}".strip().partition("\n")[0]


def with_attention(model: Shallow) -> Shallow:
    """Raises ValueError for a network without attention."""
    if model.kind == "cnn":
        raise ValueError("kind: a cnn has no attention to measure; only `phase` and `time` take one")
    return model
