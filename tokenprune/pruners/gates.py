"""Steps that methods with gates or with adaptive counts share: gates that pass a gradient, thresholds, padding.

Shapes: b images, n patch tokens present, k columns that are left.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from tokenprune.pruners.base import TokenState

#: Weight of a token behind a closed gate in training: a weight of 0 would pass no gradient to the gate.
CLOSED = 1e-6


def straight_through(hard: Float[Tensor, "..."], soft: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The value of `hard` with the gradient of `soft` (Bengio et al., 2013)."""
    return hard + (soft - soft.detach())


def opened(logit: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """A gate: 1 where the logit is positive, else 0, with the gradient of its sigmoid."""
    return straight_through((logit > 0).to(logit.dtype), logit.sigmoid())


def gate_weight(gate: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """A gate of 0 or 1 as a token's weight: CLOSED where it is closed, with the gate's gradient."""
    return straight_through(gate.clamp(min=CLOSED), gate)


def gate(open_: Bool[Tensor, "*b"], soft: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """1 where open, CLOSED elsewhere, with the gradient of `soft`."""
    return straight_through(torch.where(open_, 1.0, CLOSED).to(soft.dtype), soft)


def logistic(uniform: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Logistic noise: logit + noise is positive with probability sigmoid(logit).

    It is the difference of two Gumbel draws, so that a sigmoid of the sum is a Gumbel softmax over two outcomes.
    """
    least = torch.finfo(uniform.dtype).eps
    inside = uniform.clamp(least, 1 - least)
    return inside.log() - (-inside).log1p()


def above(
    score: Float[Tensor, "b n"], threshold: Tensor | float, present: Bool[Tensor, "b n"], keep: int
) -> Bool[Tensor, "b n"]:
    """The tokens present whose score is above a threshold, at most `keep`: those of highest score, ties to the first.

    The token of highest score is among them in any case, so that no image is left without one.
    """
    order = score.masked_fill(~present, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.arange(order.shape[1], device=order.device).expand_as(order)
    place = torch.empty_like(order).scatter_(1, order, rank)
    return present & (((score > threshold) & (place < keep)) | (place == 0))


def remaining(state: TokenState, stay: Bool[Tensor, "b n"], columns: int | None = None) -> TokenState:
    """Only the tokens that stay, in their order, then padding of weight 0 up to `columns`; patches of others are gone.

    columns: None for as many as the fullest image needs, which depends on the data.
    """
    if columns is None:
        columns = max(1, int(stay.sum(1).max()))
    order = (~stay).to(torch.int8).argsort(dim=1, stable=True)[:, :columns]
    there = stay.gather(1, order)
    taken = state.take(order)
    alive = F.pad(there, (0, 1)).gather(1, taken.owner % (columns + 1))
    return replace(taken, owner=taken.owner.where(alive, -1), weight=taken.weights * there)


def noted(state: TokenState, **columns: Shaped[Tensor, "b ..."]) -> TokenState:
    """The state with one more column, along dimension 1, of these numbers in its memory: a column is a site's."""
    rows = {name: column[:, None] for name, column in columns.items()}
    for name in rows.keys() & state.memory.keys():
        rows[name] = torch.cat([state.memory[name], rows[name]], dim=1)
    return replace(state, memory={**state.memory, **rows})
