"""The paper's one-layer ViT and the CNN it is compared with: many models as one batch, gradients in closed form.

Shapes: m models trained together, b samples of each in a batch, d dimensions of a token, l tokens, k neurons (the
paper's m), e dimensions of values (m_a), f dimensions of keys and queries (m_b). Tokens are columns, as in the paper.

Gradients are written out because they are few and the loss needs no further product: with G holding the sign a_(l)
wherever a neuron is active, F = <G, W_O V> = <W_O^T G, V>, so one large product serves loss and gradient both. Tokens
stand last so that the inner loop of every product is long; the other way round the products take four times as long.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_Tokens = Float[Tensor, "m b d l"]
_Positions = Int64[Tensor, "m b l"]


@dataclass
class _Neurons:
    """F = (1/|S|) sum_l a_(l)^T Relu(W v_l): the part after the tokens' values, in both networks."""

    weight: Float[Tensor, "m k e"]
    signs: Float[Tensor, "m k l"]  # a_(l), frozen
    _tiled: Tensor | None = field(default=None, repr=False)

    def respond(
        self, values: Float[Tensor, "m e b*l"], position: _Positions | None, batch: int
    ) -> tuple[Float[Tensor, "m b"], Float[Tensor, "m k b*l"], Float[Tensor, "m e b*l"]]:
        """Margins F, signs of the active neurons G, and W^T G."""
        hidden = torch.bmm(self.weight, values)
        signs = self._at(position, batch)
        active = torch.ops.aten.threshold_backward.grad_input(signs, hidden, 0, grad_input=hidden)  # within the cache
        back = torch.bmm(self.weight.mT, active)
        count = values.shape[2] // batch
        return (back * values).unflatten(2, (batch, count)).sum((1, 3)) / count, active, back

    def descend(self, active: Tensor, scaled: Float[Tensor, "m e b*l"], rate: float) -> None:
        self.weight.sub_(torch.bmm(scaled, active.mT).mT, alpha=rate)

    def _at(self, position: _Positions | None, batch: int) -> Float[Tensor, "m k b*l"]:
        """a_(l) of every token of every sample; a token keeps the a_(l) of the place it had before pruning."""
        if position is not None:
            signs = self.signs[:, :, None].expand(-1, -1, batch, -1)
            index = position[:, None].expand(-1, signs.shape[1], -1, -1)
            return torch.take_along_dim(signs, index, 3).flatten(2)
        if self._tiled is None or self._tiled.shape[2] != batch * self.signs.shape[2]:
            self._tiled = self.signs.repeat(1, 1, batch)
        return self._tiled


@dataclass
class ShallowViT:
    """F(X) = (1/|S|) sum_{l in S} a_(l)^T Relu(W_O W_V X softmax(X^T W_K^T W_Q x_l)): eq. 1 of Li et al., ICLR 2023.

    keep: S is that many tokens, those which receive most attention; None for all. X then has only the tokens of S.
    """

    output: Float[Tensor, "m k e"]
    value: Float[Tensor, "m e d"]
    key: Float[Tensor, "m f d"]
    query: Float[Tensor, "m f d"]
    signs: Float[Tensor, "m k l"]
    keep: int | None = None

    def __post_init__(self) -> None:
        self._neurons = _Neurons(self.output, self.signs)

    def attention(self, x: _Tokens) -> Float[Tensor, "m b l l"]:
        """softmax(X^T W_K^T W_Q x_l): queries l on the second last axis, the tokens they attend to on the last."""
        queries = torch.matmul((self.key.mT @ self.query)[:, None], x)
        return torch.softmax(queries.mT @ x, -1)

    def kept(self, x: _Tokens) -> _Positions:
        """Places of the `keep` tokens that receive most attention from all of them, in their order."""
        assert self.keep is not None
        return self.attention(x).sum(-2).topk(self.keep).indices.sort(-1).values

    def margins(self, x: _Tokens, position: _Positions | None = None) -> Float[Tensor, "m b"]:
        """F(X), whose sign is the predicted label."""
        x, position = self._pruned(x, position)
        mixed = _joined(x @ self.attention(x).mT)
        return self._neurons.respond(torch.bmm(self.value, mixed), position, x.shape[1])[0]

    def step(
        self, x: _Tokens, y: Float[Tensor, "m b"], rate: float, position: _Positions | None = None
    ) -> Float[Tensor, "m b"]:
        """One step of SGD, in place, on the mean hinge loss max(1 - y F, 0) of each model's batch; returns F before."""
        x, position = self._pruned(x, position)
        batch = x.shape[1]
        attention = self.attention(x)
        mixed = _joined(x @ attention.mT)
        values = torch.bmm(self.value, mixed)
        margins, active, back = self._neurons.respond(values, position, batch)
        slope = _slope(margins, y, x.shape[3])
        if slope is None:
            return margins
        back = back * slope  # dL/dV
        mixed_back = _split(torch.bmm(self.value.mT, back), batch)
        gap = torch.ops.aten._softmax_backward_data(mixed_back.mT @ x, attention, -1, x.dtype)  # dL/d scores
        product = ((x @ gap.mT) @ x.mT).sum(1)  # dL/d (W_K^T W_Q)
        key_back = self.query @ product.mT
        query_back = self.key @ product
        self.value.sub_(back @ mixed.mT, alpha=rate)
        self._neurons.descend(active, values * slope, rate)
        self.key.sub_(key_back, alpha=rate)
        self.query.sub_(query_back, alpha=rate)
        return margins

    def _pruned(self, x: _Tokens, position: _Positions | None) -> tuple[_Tokens, _Positions | None]:
        if self.keep is None:
            return x, position
        assert position is None, "tokens leave before the network or by its attention, not both"
        place = self.kept(x)
        return torch.take_along_dim(x, place[:, :, None], 3), place


@dataclass
class PatchCNN:
    """F(X) = (1/|S|) sum_{l in S} a_(l)^T Relu(W x_l): a convolution whose stride is its width, without attention."""

    weight: Float[Tensor, "m k d"]
    signs: Float[Tensor, "m k l"]

    def __post_init__(self) -> None:
        self._neurons = _Neurons(self.weight, self.signs)

    def margins(self, x: _Tokens, position: _Positions | None = None) -> Float[Tensor, "m b"]:
        return self._neurons.respond(_joined(x), position, x.shape[1])[0]

    def step(
        self, x: _Tokens, y: Float[Tensor, "m b"], rate: float, position: _Positions | None = None
    ) -> Float[Tensor, "m b"]:
        values = _joined(x)
        margins, active, _ = self._neurons.respond(values, position, x.shape[1])
        slope = _slope(margins, y, x.shape[3])
        if slope is not None:
            self._neurons.descend(active, values * slope, rate)
        return margins


def _slope(margins: Float[Tensor, "m b"], y: Float[Tensor, "m b"], count: int) -> Float[Tensor, "m 1 b*l"] | None:
    """dL/dF over the token count, for every token: -y / (b l) where the hinge is not yet satisfied; None if nowhere."""
    violated = y * margins < 1
    if not violated.any():
        return None
    slope = violated * y / (-y.shape[1] * count)
    return slope[:, :, None].expand(-1, -1, count).flatten(1)[:, None]


def _joined(x: Float[Tensor, "m b d l"]) -> Float[Tensor, "m d b*l"]:
    return x.transpose(1, 2).flatten(2)


def _split(x: Float[Tensor, "m d b*l"], batch: int) -> Float[Tensor, "m b d l"]:
    return x.unflatten(2, (batch, -1)).transpose(1, 2)
