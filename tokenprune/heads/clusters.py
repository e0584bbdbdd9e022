"""Which tokens an attention head takes together, and whether merging takes the same.

An attention head without softmax mixes tokens by X W1 X^T. Of the solution Z = sum over k of s_k u_k v_k^T the leading
u_1, a d x d matrix, is the W1 that counts most.

Shapes: b images, t patch tokens, d channels.
"""

import warnings

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.cluster.vq import kmeans2
from torch import Tensor

from tokenprune.heads.problem import Solution


def leading(solution: Solution, place: int) -> Float[Tensor, "d d"]:
    """W1 of the largest singular value of a head of one block, at the penalty in that place."""
    first, square = torch.linalg.qr(solution.left[place, 0])
    other = torch.linalg.qr(solution.right[place, 0].mT, mode="r").R
    vector = first @ torch.linalg.svd(square @ other.mT).U[:, 0]
    dim = round(len(vector) ** 0.5)
    return vector.view(dim, dim)


def effective_rank(maps: Float[Tensor, "b t t"]) -> Float[Tensor, " b"]:
    """exp of the entropy of the singular values over their sum (Roy & Vetterli 2007): 1 to t."""
    values = torch.linalg.svdvals(maps)
    return torch.special.entr(values / values.sum(1, keepdim=True).clamp(min=1e-30)).sum(1).exp()


def energy(maps: Float[Tensor, "b t t"]) -> Float[Tensor, " b"]:
    """The largest singular value's share of the sum of squares."""
    values = torch.linalg.svdvals(maps).square()
    return values[:, 0] / values.sum(1).clamp(min=1e-30)


def clusters(maps: Float[Tensor, "b t t"], count: int) -> Int[np.ndarray, "b t"]:
    """So many groups of tokens, at most, that mix alike: k-means of their rows and columns, each image on its own."""
    rows = torch.cat([maps, maps.mT], dim=2).double().cpu().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster is left empty
        return np.stack([kmeans2(each, count, iter=20, minit="++", rng=np.random.default_rng(0))[1] for each in rows])


def adjusted_rand_index(one: Int[np.ndarray, " t"], other: Int[np.ndarray, " t"]) -> float:
    """Hubert & Arabie 1985: 1 for the same groups, 0 on average for random ones of the same sizes."""
    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one, other), 1)

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both, first, second, all_ = pairs(table), pairs(table.sum(1)), pairs(table.sum(0)), pairs(np.array([len(one)]))
    expected = first * second / all_ if all_ else 0.0
    most = (first + second) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)
