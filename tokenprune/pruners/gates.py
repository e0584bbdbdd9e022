"""Gates that methods learn: a weight of a token that is 1 or next to nothing, and gets a gradient all the same."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

#: The weight of a token that a gate closes in training. A weight of 0 would get no gradient from its logarithm.
CLOSED = 1e-6


def straight_through(hard: Float[Tensor, "*b"], soft: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The value of `hard` with the gradient of `soft` (Bengio, Léonard & Courville, 2013)."""
    return hard + (soft - soft.detach())  # in this order: exactly `hard`


def gate(open_: Bool[Tensor, "*b"], soft: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """1 where open, CLOSED elsewhere, with the gradient of `soft`."""
    return straight_through(torch.where(open_, 1.0, CLOSED).to(soft.dtype), soft)
