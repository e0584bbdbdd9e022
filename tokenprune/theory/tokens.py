"""The data model of Li et al. (ICLR 2023): bags of noisy orthonormal patterns, label by majority vote.

Shapes: n samples, d dimensions, l tokens. Tokens are columns, as in the paper.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int8

from tokenprune.theory.jobs import Removed
from tokenprune.theory.shallow import Tokens

# The label's pattern is its number, 0 or 1; exclusive or with CONFUSION gives the other's.
RELEVANT, CONFUSION, IRRELEVANT = 0, 1, 2


@dataclass(frozen=True)
class Samples:
    """Labelled bags of tokens.

    tokens: columns. labels: -1 or 1. kind: RELEVANT (the label's pattern), CONFUSION (the other label's) or IRRELEVANT.
    noise: norm of the noise on each token. position: place of each token in the sequence before any was removed.
    """

    tokens: Float32[np.ndarray, "n d l"]
    labels: Float32[np.ndarray, " n"]
    kind: Int8[np.ndarray, "n l"]
    noise: Float32[np.ndarray, "n l"]
    position: np.ndarray  # int64 [n, l]

    def keep(self, kept: Bool[np.ndarray, "n l"]) -> Self:
        """Only the tokens marked, in their order. Raises ValueError unless each sample keeps equally many."""
        count = int(kept[0].sum())
        if not (kept.sum(1) == count).all():
            raise ValueError("samples of one batch must keep equally many tokens")
        index = np.nonzero(kept)[1].reshape(len(kept), count)
        return type(self)(
            np.take_along_axis(self.tokens, index[:, None], 2),
            self.labels,
            np.take_along_axis(self.kind, index, 1),
            np.take_along_axis(self.noise, index, 1),
            np.take_along_axis(self.position, index, 1),
        )


def draw(spec: Tokens, count: int, rng: np.random.Generator) -> Samples:
    """`count` samples of the data model.

    A token is mu_j + z with mu_1 .. mu_M orthonormal and z uniform in the ball of radius tau, so |x - mu_j| <= tau as
    the paper assumes. The patterns are the first M axes: model and noise are rotation-invariant, so no basis is
    special. A sample has alpha_* L label-relevant and alpha_# L confusion tokens on average, rounded at random to a
    whole number either way, at random places; the label has the majority always (one confusion token fewer at least).
    """
    length, size = spec.count, spec.dim
    labels = rng.integers(0, 2, count, np.int8)
    relevant = np.maximum(_rounded(spec.relevant * length, count, rng), 1)
    confusion = np.minimum(_rounded(spec.confusion * length, count, rng), np.minimum(relevant - 1, length - relevant))
    place = rng.random((count, length), np.float32).argsort(1)
    kind = (place >= relevant[:, None]).view(np.int8) + (place >= (relevant + confusion)[:, None]).view(np.int8)
    pattern = rng.integers(2, spec.patterns, (count, length), np.int16)
    np.copyto(pattern, labels[:, None] ^ kind, where=kind != IRRELEVANT)
    radius: float | np.ndarray = spec.noise
    if spec.noisy_share:
        noisy = rng.random((count, length), np.float32) < spec.noisy_share
        radius = np.where(noisy, np.float32(spec.noisy), np.float32(spec.noise))
    # The first d coordinates of a uniform direction in d + 2 dimensions are uniform in the ball of d dimensions.
    # torch draws normal numbers twice as fast as numpy, and they are most of the work.
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    z = torch.randn(count, size + 2, length, generator=generator).numpy()
    square = np.einsum("ncl,ncl->nl", z[:, :size], z[:, :size])
    scale = radius / np.sqrt(square + np.einsum("ncl,ncl->nl", z[:, size:], z[:, size:]))
    tokens = z[:, :size] * scale[:, None].astype(np.float32)
    tokens[np.arange(count)[:, None], pattern, np.arange(length)] += 1
    position = np.broadcast_to(np.arange(length), (count, length))
    return Samples(tokens, 2 * labels.astype(np.float32) - 1, kind, scale * np.sqrt(square), position)


def _rounded(mean: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers next to `mean`, the upper one as often as it takes for their mean to be that."""
    low = int(np.floor(mean + 1e-9))
    return low + (rng.random(count) < mean - low)


# Order in which kinds are removed as label-irrelevant: label-relevant ones only when no others are left.
_ORDER = {IRRELEVANT: 0, CONFUSION: 1, RELEVANT: 2}


def remove(samples: Samples, removed: Removed, rng: np.random.Generator) -> Samples:
    """The samples without those tokens (Li et al., ICLR 2023, corollary on sparsification).

    irrelevant: tokens of patterns that are not discriminative, at random among them; where a sample has too few, then
    confusion tokens, then label-relevant ones. noisy: by the true norm of their noise, of any kind. random: any.
    Raises ValueError for `magnitude`, which the network does itself.
    """
    if removed.method == "magnitude":
        raise ValueError("magnitude removes tokens by a network's attention, not by properties of the samples")
    ties = rng.random(samples.kind.shape, np.float32)
    if removed.method == "random":
        order = ties
    elif removed.method == "noisy":
        order = -samples.noise
    else:
        order = ties + np.array([_ORDER[kind] for kind in (RELEVANT, CONFUSION, IRRELEVANT)])[samples.kind]
    rank = order.argsort(1).argsort(1)
    return samples.keep(rank >= removed.count)
