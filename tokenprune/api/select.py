"""Selectors on their own: which tokens of any encoder to keep, by the tokens alone."""

import math
from numbers import Integral
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tokenprune import pruners
from tokenprune.errors import UsageError
from tokenprune.models.attention import uniform
from tokenprune.pruners.base import Shape, Signals, TokenState
from tokenprune.pruners.grid import CentralPruner
from tokenprune.pruners.registry import is_learned
from tokenprune.recipe.site import kept


def select(
    tokens: Float[Tensor, "b n c"],
    method: str,
    keep: float | int,
    *,
    grid: tuple[int, int] | None = None,
    seed: int = 0,
    **options: Any,
) -> Int[Tensor, "b k"]:
    """The tokens to keep, by their place (0 to n - 1), rising: for encoders that tokenprune does not run.

    method: a pruner that keeps some of the tokens and asks for no attention: `divprune`, `norm`, `random`, `l1`, `l2`,
    `linf`. keep: a share (a float, at most 1) or a number (an int). grid: rows and columns of the tokens, for `l1`,
    `l2`, `linf`; None is a square. seed: of random draws, which differ by place in the batch.

    Raises UsageError for an unknown method, one that needs attention or parameters, or merges, `keep` out of range, and
    tokens that are no finite floating-point tensor of images, tokens and channels.
    """
    if not isinstance(tokens, Tensor) or tokens.ndim != 3 or not tokens.is_floating_point() or 0 in tokens.shape:
        what = (
            f"a tensor of {list(tokens.shape)}, {tokens.dtype}" if isinstance(tokens, Tensor) else type(tokens).__name__
        )
        raise UsageError(f"select: takes a floating-point tensor [images, tokens, channels], found {what}")
    if not tokens.isfinite().all():
        raise UsageError("select: tokens hold NaN or infinite values")
    images, n, width = tokens.shape
    pruner = pruners.create(method, **options)
    if is_learned(method):
        raise UsageError(f"select: pruner {method!r} has parameters to learn")
    side = math.isqrt(n)
    placed = isinstance(pruner, CentralPruner)  # which others do not look at
    rows, columns = grid or ((side, side) if placed or side * side == n else (1, n))
    if rows * columns != n:
        raise UsageError(f"select: {n} tokens are no grid of {rows} x {columns}: give `grid`")
    whole = isinstance(keep, Integral) and not isinstance(keep, bool)
    count = int(keep) if whole else kept(float(keep), n) if 0 < keep <= 1 and keep is not True else 0
    if not 1 <= count <= n:
        raise UsageError(
            f"select: keep {keep!r}: must be a share above 0 and at most 1, or a number of 1 to {n} tokens"
        )
    shape = Shape(1, width, 1, (rows, columns), prefix=0, class_token=False, classes=0, mlp=0, counts=(count,))
    pruner.setup(shape, (0,))
    place = torch.arange(n, device=tokens.device).expand(images, n)
    state = TokenState(tokens, 0, place, embedded=tokens)
    left = pruner.eval().reduce(state, count, cast(Signals, _TokensAlone(method, images, seed, place)))
    if int(left.alive.sum()) != images * left.count:
        raise UsageError(f"select: pruner {method!r} merges tokens: which to keep is not all it does")
    return left.position


class _TokensAlone:
    """Signals where there is no model: draws, and a line that says so for all others."""

    site = 0

    def __init__(self, method: str, images: int, seed: int, place: Int[Tensor, "b n"]) -> None:
        self._method, self._seed, self._place = method, seed, place
        self._index = torch.arange(images, device=place.device)

    def uniform(self) -> Float[Tensor, "b n"]:
        return uniform(self._seed, self._index, self.site, self._place)

    def __getattr__(self, name: str) -> Any:
        raise UsageError(
            f"select: pruner {self._method!r} asks for {name.replace('_', ' ')}, and there is no model here"
        )
