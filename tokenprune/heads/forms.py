"""What each convex head computes: logits that are linear in its matrices, given the tokens and fixed gates.

After Sahiner et al. 2022 (arXiv 2205.08078), sections 3 and 4, with average pooling over tokens. A head has J blocks,
and block j a matrix Z_j with A rows (what the first layer's weights multiply) and B c columns (the second layer's):

    logits[c] = sum over j, a, b of terms[j, a, b] Z_j[a, (b, c)],    penalty: beta sum_j |Z_j|_* (nuclear norm)

Z_j is the sum over the units of a two-layer head of vec(first) vec(second)^T, and its nuclear norm is the least half
squared norm of the weights that have this sum: (|first|^2 + |second|^2) / 2. Gates stand for ReLU: a pattern of active
neurons for fixed random weights, by which the tokens are masked, one for each block.

Shapes: b images, s tokens in a square grid, d channels, j blocks, a rows, z columns of Z without its classes, r rank,
p penalties, q parts of a mask, g gates.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tokenprune.heads.names import GATED, HEADS, LINEAR

Prepared = tuple[Tensor, ...]

#: Without gates and after average pooling these are the linear head.
_COLLAPSED = ("fno", "mlp", "linear")


@dataclass(frozen=True)
class Form:
    """A head with gates (kind `gated`) or without (`linear`).

    prepare: what is kept of every image's tokens [b, s, d], each with the images first. terms: [b, j, a, z] of that.
    hidden: terms times factors [p, j, a, r], as [p, b, j, z, r].
    """

    name: str
    kind: str
    blocks: int
    rows: int
    columns: int
    prepare: Callable[[Float[Tensor, "b s d"]], Prepared]
    terms: Callable[..., Float[Tensor, "b j a z"]]
    hidden: Callable[..., Float[Tensor, "p b j z r"]]

    @property
    def size(self) -> int:
        """Numbers of `terms` an image."""
        return self.blocks * self.rows * self.columns


def forms(
    names: Sequence[str], tokens: int, dim: int, *, gates: int, groups: int, seed: int, like: Tensor
) -> list[Form]:
    """Each head without and with gates; those that are the same only once: MLP and FNO without gates are `linear`.

    groups: of channels, of block-FNO. seed: of the gates. like: a tensor of their type, where they are to lie.
    """
    found: dict[tuple[str, str], Form] = {}
    shape = (tokens, dim)
    for name in names:
        draw = _Draw(seed, name, like)
        if name in _COLLAPSED:
            found["linear", LINEAR] = _plain("linear", LINEAR, (1, dim, 1), lambda x: x.mean(1)[:, None, None])
        if name == "attention":
            found[name, LINEAR] = _attention(LINEAR, dim, None)
            found[name, GATED] = _attention(GATED, dim, (draw(gates, dim), draw(gates, dim)))
        elif name == "mixer":
            found[name, LINEAR] = _plain(
                name, LINEAR, (1, tokens, dim), lambda x: x.mT[:, None] / math.sqrt(x.shape[1])
            )
            found[name, GATED] = _gated_mixer(shape, draw(gates, tokens, tokens))
        elif name == "fno":
            found[name, GATED] = _gated_fno(name, shape, 1, draw(gates, 1, tokens, dim))
        elif name == "block-fno":
            width = dim // groups
            found[name, LINEAR] = _plain(
                name, LINEAR, (groups, width, 1), lambda x: x.mean(1).unflatten(1, (groups, 1, -1))
            )
            found[name, GATED] = _gated_fno(name, shape, groups, draw(gates, groups, tokens, width))
        elif name == "mlp":
            found[name, GATED] = _plain(name, GATED, (gates, dim, 1), partial(_gated_mean, draw(gates, dim)))
    return list(found.values())


class _Draw:
    """Standard normal numbers, the same for the same seed and head."""

    def __init__(self, seed: int, name: str, like: Tensor) -> None:
        self.generator = torch.Generator().manual_seed(1000 * seed + list(HEADS).index(name))
        self.like = like

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.like)


def _plain(name: str, kind: str, size: tuple[int, int, int], kept: Callable[[Tensor], Tensor]) -> Form:
    """A head whose terms are kept. kept: them as [b, j, z, a].

    `mixer` without gates: with pooling Z[(t, k), (l, c)] matters by its mean over t alone; the least nuclear norm has
    all t alike and is sqrt(s) times that of the mean, [s, d c]: terms X / sqrt(s). `block-fno` without gates: likewise
    over the s shifts, with sqrt(s) times the mean token; the factor scales the penalty alone and is left out.
    """

    def terms(kept: Tensor) -> Tensor:
        return kept.mT

    return Form(name, kind, *size, lambda x: (kept(x).contiguous(),), terms, _through)


def _through(factors: Float[Tensor, "p j a r"], kept: Float[Tensor, "b j z a"]) -> Float[Tensor, "p b j z r"]:
    """Terms times factors, one product for each block."""
    p, j, a, r = factors.shape
    b, _, z, _ = kept.shape
    rows = kept.movedim(1, 0).reshape(j, b * z, a)
    found = rows @ factors.permute(1, 2, 0, 3).reshape(j, a, p * r)
    return found.view(j, b, z, p, r).permute(3, 1, 0, 2, 4)


def _gated_mean(weights: Float[Tensor, "g d"], x: Float[Tensor, "b s d"]) -> Float[Tensor, "b g 1 d"]:
    """Mean over tokens of those where gate g is open."""
    opened = (torch.einsum("bsd,gd->bgs", x, weights) >= 0).to(x.dtype)
    return (opened @ x / x.shape[1])[:, :, None]


def _attention(kind: str, dim: int, gates: tuple[Tensor, Tensor] | None) -> Form:
    """Rows are (m, k), columns (l, c): sum over units of X W1 (X^T X / s) W2 is X[., m] W1[m, k] G[k, l] W2[l, c].

    A gate is open between tokens t and u where X_t u_j and X_u v_j have one sign (the mask 1{(X u)(X v)^T >= 0}); it is
    the sum of two masks of rank one, both positive and both negative. So terms[(m, k), l] is the sum of two products of
    a mean token y[m] and a matrix G[k, l], of those tokens: O(d^2) numbers an image instead of d^3.
    """
    blocks = 1 if gates is None else len(gates[0])

    def prepare(x: Float[Tensor, "b s d"]) -> Prepared:
        """Mean tokens [b, j, q, m] and G [b, j, l, q, k]."""
        if gates is None:
            left = right = x.new_ones(x.shape[0], 1, 1, x.shape[1])
        else:
            left, right = (_both_signs(torch.einsum("bsd,jd->bjs", x, weights)) for weights in gates)
        means = left @ x[:, None] / x.shape[1]
        weighted = (right[..., None] * x[:, None, None]).movedim(3, 4)  # [b, j, q, k, s]
        matrices = weighted @ x[:, None, None] / x.shape[1]
        return means, matrices.permute(0, 1, 4, 2, 3).contiguous()

    def terms(means: Tensor, matrices: Tensor) -> Tensor:
        return torch.einsum("bjqm,bjlqk->bjmkl", means, matrices).flatten(2, 3)

    def hidden(factors: Tensor, means: Tensor, matrices: Tensor) -> Tensor:
        p, j, _, r = factors.shape
        first = factors.unflatten(2, (dim, dim)).permute(1, 2, 3, 0, 4).reshape(j, dim, dim * p * r)
        b, _, q, _ = means.shape
        rows = means.movedim(1, 0).reshape(j, b * q, dim)
        mixed = (rows @ first).view(j, b, q * dim, p * r).movedim(0, 1)
        found = matrices.flatten(3) @ mixed  # [b, j, l, p r]
        return found.unflatten(3, (p, r)).permute(3, 0, 1, 2, 4)

    return Form("attention", kind, blocks, dim * dim, dim, prepare, terms, hidden)


def _both_signs(x: Float[Tensor, "b j s"]) -> Float[Tensor, "b j 2 s"]:
    positive = (x >= 0).to(x.dtype)
    return torch.stack([positive, 1 - positive], dim=2)


def _gated_mixer(shape: tuple[int, int], weights: Float[Tensor, "g s s"]) -> Form:
    """Rows are (t, k), columns (l, c): token t of W1 X is W1[t, k] X[k, l], and gate j is open there at channel l."""
    tokens, dim = shape

    def prepare(x: Float[Tensor, "b s d"]) -> Prepared:
        opened = torch.einsum("jtk,bkl->bjlt", weights, x) >= 0
        return opened, x.mT.contiguous()

    def by_channel(opened: Tensor, x: Tensor) -> Float[Tensor, "b j l a"]:
        return (opened[..., None] * (x[:, None, :, None] / tokens)).flatten(3)

    def terms(opened: Tensor, x: Tensor) -> Tensor:
        return by_channel(opened, x).mT

    def hidden(factors: Tensor, opened: Tensor, x: Tensor) -> Tensor:
        return _through(factors, by_channel(opened, x))

    return Form("mixer", GATED, len(weights), tokens * tokens, dim, prepare, terms, hidden)


def _gated_fno(name: str, shape: tuple[int, int], groups: int, weights: Float[Tensor, "g n s e"]) -> Form:
    """Rows are (shift, channel of the group): circ(X) Z with all s shifts of the grid, both axes closed to a ring."""
    tokens, dim = shape
    width, gates = dim // groups, len(weights)

    def kept(x: Float[Tensor, "b s d"]) -> Tensor:
        place = shifts(tokens).to(x.device)
        parts = x.unflatten(2, (groups, width))[:, place]  # [b, t, shift, n, e]
        opened = (torch.einsum("btkne,gnke->bgnt", parts, weights) >= 0).to(x.dtype)
        found = torch.einsum("bgnt,btkne->bgnke", opened, parts) / tokens
        return found.reshape(len(x), gates * groups, 1, tokens * width)

    return _plain(name, GATED, (gates * groups, tokens * width, 1), kept)


def shifts(tokens: int) -> Int[Tensor, "s s"]:
    """[t, k]: the token that stands k places on from t in the grid, row by row, on a torus."""
    side = math.isqrt(tokens)
    y, x = torch.arange(tokens) // side, torch.arange(tokens) % side
    return (y[:, None] + y[None]) % side * side + (x[:, None] + x[None]) % side
