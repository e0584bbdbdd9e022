"""The ordinary heads beside the convex ones: two layers with ReLU, not convex, by Adam in mini-batches.

Shapes: b images, s tokens, d channels, m units, c classes, p penalties.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tokenprune.heads.forms import shifts

#: What the first layer's weights of a unit multiply, and the columns of its second layer.
_SIZES: dict[str, Callable[[int, int, int], tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "attention": lambda s, d, groups: ((d, d), (d,)),
    "mixer": lambda s, d, groups: ((s, s), (d,)),
    "fno": lambda s, d, groups: ((s, d), ()),
    "block-fno": lambda s, d, groups: ((groups, s, d // groups), (groups,)),
    "mlp": lambda s, d, groups: ((d,), ()),
}
TWO_LAYER = tuple(_SIZES)


@dataclass(frozen=True)
class Trained:
    """Weights at every penalty, of a head by name."""

    name: str
    first: Float[Tensor, "p m *rows"]
    second: Float[Tensor, "p m *columns c"]

    def logits(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "p b c"]:
        """Mean over tokens of the head's output."""
        return _LOGITS[self.name](x, self.first, self.second)

    @torch.no_grad()
    def correct(self, x: Float[Tensor, "n s d"], labels: Int[Tensor, " n"], batch: int = 500) -> Float[Tensor, " p"]:
        """Share of the images that are classified as labelled."""
        found = sum(
            (self.logits(part).argmax(2) == truth).sum(1)
            for part, truth in zip(x.split(batch), labels.split(batch), strict=True)
        )
        assert isinstance(found, Tensor)
        return found / len(labels)


def train(
    name: str,
    x: Float[Tensor, "n s d"],
    labels: Int[Tensor, " n"],
    classes: int,
    beta: Float[Tensor, " p"],
    *,
    units: int,
    groups: int,
    epochs: int,
    seed: int,
    rate: float = 3e-3,
    batch: int = 250,
) -> Trained:
    """Cross-entropy + beta / 2 (|first|^2 + |second|^2), all penalties at once: what the gated convex head is made of.

    The penalty is part of the loss, not decoupled as AdamW has it: only then is it the same problem. Adam, the rate
    falling to 0 along a cosine. Same weights at the beginning, and same batches, at every penalty.
    """
    p, (_, s, d) = len(beta), x.shape
    rows, columns = _SIZES[name](s, d, groups)
    made = torch.Generator().manual_seed(seed)
    shapes = ((units, *rows), (units, *columns, classes))
    spread = (1 / math.sqrt(math.prod(rows)), 1 / math.sqrt(units * math.prod(columns)))
    weights = [
        (by * torch.randn(shape, generator=made)).to(x).expand(p, *shape).clone().requires_grad_()
        for shape, by in zip(shapes, spread, strict=True)
    ]
    found = Trained(name, *weights)
    solver = torch.optim.Adam(weights, lr=rate)
    total = epochs * -(-len(x) // batch)
    for step, rows_at in enumerate(_batches(len(x), batch, epochs, made)):
        solver.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / total)) / 2
        with torch.enable_grad():
            logits = found.logits(x[rows_at.to(x.device)])
            truth = labels[rows_at.to(labels.device)].expand(p, -1)
            loss = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="sum") / truth.shape[1]
            decay = sum((beta * each.square().flatten(1).sum(1)).sum() for each in weights)
            solver.zero_grad()
            (loss + decay / 2).backward()
        solver.step()
    return Trained(name, *(each.detach() for each in weights))


def _batches(count: int, size: int, epochs: int, made: torch.Generator) -> Iterator[Int[Tensor, " b"]]:
    for _ in range(epochs):
        yield from torch.randperm(count, generator=made).split(size)


def _attention(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Mean over t of sum over u of relu(X_t W1 X_u) X_u W2, over s as in the convex head."""
    p, m, d, _ = first.shape
    b, s, _ = x.shape
    asked = (x.flatten(0, 1) @ first.permute(2, 0, 1, 3).flatten(1)).view(b, s * p * m, d)
    mixed = torch.relu(asked @ x.mT).view(b, s, p * m, s).mean(1) @ x / s
    return mixed.view(b, p, m * d).transpose(0, 1) @ second.flatten(1, 2)


def _mixer(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    p, m, s, _ = first.shape
    mixed = torch.relu(first.flatten(0, 2) @ x).view(len(x), p, m, s, -1).mean(3)
    return mixed.flatten(2).transpose(0, 1) @ second.flatten(1, 2)


def _mlp(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    p, m, _ = first.shape
    hidden = torch.relu(x.flatten(0, 1) @ first.flatten(0, 1).mT).view(*x.shape[:2], p * m).mean(1)
    return hidden.view(-1, p, m).transpose(0, 1) @ second


def _fno(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return _block_fno(x, first[:, :, None], second[:, :, None])


def _block_fno(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """A convolution over all shifts of the grid in each group of channels, which every class is read from."""
    p, m, groups, s, width = first.shape
    moved = x.unflatten(2, (groups, width))[:, shifts(s).to(x.device)]  # [b, t, shift, n, e]
    rows = moved.permute(3, 0, 1, 2, 4).flatten(3).flatten(1, 2)  # [n, b t, shift e]
    weights = first.permute(2, 3, 4, 0, 1).flatten(1, 2).flatten(2)  # [n, shift e, p m]
    hidden = torch.relu(rows @ weights).view(groups, len(x), s, p, m).mean(2)
    return hidden.permute(2, 1, 3, 0).flatten(2) @ second.flatten(1, 2)


_LOGITS = {"attention": _attention, "mixer": _mixer, "fno": _fno, "block-fno": _block_fno, "mlp": _mlp}
