"""One model at a time, one token at a time: Li et al. (ICLR 2023), eq. 1, as it is written."""

import torch
from torch import Tensor


def vit(x: Tensor, w_o: Tensor, w_v: Tensor, w_k: Tensor, w_q: Tensor, a: dict[int, Tensor]) -> Tensor:
    """F(X) of one sample. x [d, tokens]: the tokens that were kept; a: a_(l) [m] by the place of each, in order."""
    total = torch.zeros((), dtype=x.dtype)
    for column, a_l in zip(range(x.shape[1]), a.values(), strict=True):
        scores = torch.stack([(w_k @ x[:, j]) @ (w_q @ x[:, column]) for j in range(x.shape[1])])
        weights = torch.exp(scores) / torch.exp(scores).sum()
        mixed = sum(weights[j] * x[:, j] for j in range(x.shape[1]))
        total = total + a_l @ torch.relu(w_o @ (w_v @ mixed))
    return total / x.shape[1]


def cnn(x: Tensor, w: Tensor, a: dict[int, Tensor]) -> Tensor:
    """The same without attention."""
    return sum(a_l @ torch.relu(w @ x[:, j]) for j, a_l in enumerate(a.values())) / x.shape[1]


def hinge(margins: list[Tensor], labels: Tensor) -> Tensor:
    """Mean over a batch of max(1 - y F, 0)."""
    losses = [torch.clamp(1 - y * f, min=0) for y, f in zip(labels, margins, strict=True)]
    return torch.stack(losses).mean()
