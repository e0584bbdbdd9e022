"""FISTA: accelerated proximal gradient on Z itself, where the proximal step thresholds singular values.

Beck & Teboulle 2009; restart where the step turns against the gradient: O'Donoghue & Candès 2015. Slower than factors
where Z is large, and sure to converge.

Shapes: as in problem.py.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tokenprune.heads.problem import Problem, Solution

#: The curvature that backtracking begins with, over a bound of it.
FIRST = 0.01


@torch.no_grad()
def solve(
    problem: Problem,
    beta: Float[Tensor, " p"],
    *,
    steps: int,
    tolerance: float = 1e-6,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Solution:
    """Z at every penalty, as factors. Step sizes by backtracking, each penalty its own.

    A penalty is done when its step is below `tolerance` of its Z, 0: never.
    """
    form = problem.form
    z = beta.new_zeros(len(beta), form.blocks, form.rows, form.columns * problem.classes)
    ahead, momentum = z, beta.new_ones(len(beta))
    kept, _ = next(problem.batches())
    most = form.terms(*kept).square().sum() / len(kept[0]) / 2  # no curvature of the loss is more
    curvature = FIRST * most.clamp(min=1e-12).expand(len(beta))
    taken = torch.zeros(len(beta), dtype=torch.long, device=beta.device)
    active = torch.ones(len(beta), dtype=torch.bool, device=beta.device)
    for step in range(steps):
        value, slope, _ = problem.slope(partial(problem.whole, ahead))
        while True:
            new = threshold(ahead - slope / _each(curvature), beta / curvature)
            moved = new - ahead
            bound = value + (slope * moved).sum((1, 2, 3)) + curvature / 2 * moved.square().sum((1, 2, 3))
            fits = _loss(problem, new) <= bound + 1e-10 * value
            if fits.all():
                break
            curvature = torch.where(fits, curvature, 2 * curvature)
        new = torch.where(_each(active), new, z)
        change = new - z
        restart = (moved * change).sum((1, 2, 3)) < 0
        following = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        push = torch.where(restart, 0, (momentum - 1) / following)
        momentum = torch.where(restart, 1, following)
        taken += active
        size = change.flatten(1).norm(dim=1)
        z, ahead = new, new + _each(push) * change
        if tolerance:
            active = active & (size > tolerance * new.flatten(1).norm(dim=1))
        progress(step + 1, steps)
        if not active.any():
            break
    left, values, right = torch.linalg.svd(z, full_matrices=False)
    root = values.sqrt()
    return problem.or_nothing(Solution(left * root[..., None, :], root[..., None] * right, taken), beta)


def threshold(z: Float[Tensor, "p j a zc"], by: Float[Tensor, " p"]) -> Float[Tensor, "p j a zc"]:
    """Singular values less `by`, none below 0: the proximal map of the nuclear norm (Cai, Candès & Shen 2010)."""
    left, values, right = torch.linalg.svd(z, full_matrices=False)
    return left * (values - by[:, None, None]).clamp(min=0)[..., None, :] @ right


def _loss(problem: Problem, z: Float[Tensor, "p j a zc"]) -> Float[Tensor, " p"]:
    found: Tensor | float = 0.0
    for kept, labels in problem.batches():
        logits = problem.whole(z, kept)
        loss = [F.cross_entropy(each, labels, reduction="sum") for each in logits]
        found = found + torch.stack(loss)
    assert isinstance(found, Tensor)
    return found / len(problem.labels)


def _each(values: Float[Tensor, " p"]) -> Float[Tensor, "p 1 1 1"]:
    return values[:, None, None, None]
