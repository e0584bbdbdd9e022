"""The spatially structured data of Jelassi, Sander & Li (NeurIPS 2022).

Shapes: n samples, d patches, k dimensions of a patch. Patches are rows.
"""

import numpy as np
from jaxtyping import Float32, Int64

from tokenprune.theory.spatial import SpatialPatches


def partition(spec: SpatialPatches, rng: np.random.Generator) -> Int64[np.ndarray, " d"]:
    """The set of each patch, 0 .. L - 1: a uniformly random partition into L sets of C."""
    return rng.permutation(np.repeat(np.arange(spec.sets), spec.set_size))


def direction(spec: SpatialPatches, rng: np.random.Generator) -> Float32[np.ndarray, " k"]:
    """w*, uniform on the sphere."""
    normal = rng.standard_normal(spec.dim, np.float32)
    return normal / np.linalg.norm(normal)


def draw(
    spec: SpatialPatches,
    sets: Int64[np.ndarray, " d"],
    feature: Float32[np.ndarray, " k"],
    count: int,
    rng: np.random.Generator,
) -> tuple[Float32[np.ndarray, "n d k"], Float32[np.ndarray, " n"]]:
    """Samples and their labels y = -1 or 1.

    X_j = y w* + xi_j for j in S_l with l uniform; elsewhere X_j = delta_j w* + xi_j, delta_j = +-1 with probability q/2
    each and else 0; xi_j ~ N(0, sigma^2 (I - w* w*^T)).
    """
    labels = rng.choice(np.array([-1, 1], np.float32), count)
    chosen = rng.integers(0, spec.sets, count)
    u = rng.random((count, spec.patches), np.float32)
    sign = (u < spec.flips / 2).astype(np.float32) - (u >= 1 - spec.flips / 2)
    sign = np.where(sets == chosen[:, None], labels[:, None], sign)
    patches = rng.standard_normal((count, spec.patches, spec.dim), np.float32)
    patches *= np.float32(spec.noise)
    patches += (sign - patches @ feature)[..., None] * feature
    return patches, labels
