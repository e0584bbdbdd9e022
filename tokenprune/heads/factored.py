"""Burer-Monteiro: Z = U V with half the squared norms for the nuclear norm, all penalties as one batch of tensors.

At sufficient rank every local minimum is a global one (Burer & Monteiro 2005; Haeffele & Vidal 2015; Sahiner et al.
2022, section 3.4); whether one was found, `Problem.certify` says.

Shapes: as in problem.py; m numbers of all factors of a penalty.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tokenprune.heads.problem import NUMBERS, Problem, Solution, spectral

#: Pairs of steps and changes of slope that L-BFGS remembers.
MEMORY = 10
#: A penalty is done when so many steps as are remembered have lowered its objective by less than this share.
TOLERANCE = 1e-6
#: What directions have at the beginning that a first step leaves out, of the largest; and the noise of all.
SHARE = 0.01
#: A gradient's spectral norm so much above beta, as a share of it, is one of a saddle; how often it is left.
NEAR, ESCAPES = 0.01, 3


def solve(
    problem: Problem,
    beta: Float[Tensor, " p"],
    rank: int,
    *,
    steps: int,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Solution:
    """Factors of that rank a block that minimise F(U V) + beta / 2 (|U|^2 + |V|^2), by L-BFGS on all images.

    Where it ends at a saddle, that is left and it goes on. Deterministic. tolerance: 0 makes all steps.
    """
    form = problem.form
    j, a, z = form.blocks, form.rows, form.columns * problem.classes
    rank = min(rank, a, z)
    left, right = begin(problem, beta, rank, seed)
    start = torch.cat([left.flatten(1), right.flatten(1)], dim=1)

    def parts(x: Float[Tensor, "p m"]) -> tuple[Tensor, Tensor]:
        return x[:, : j * a * rank].view(-1, j, a, rank), x[:, j * a * rank :].view(-1, j, rank, z)

    def at(x: Float[Tensor, "k m"], rows: Int[Tensor, " k"]) -> tuple[Tensor, Tensor]:
        """Objective and gradient at these penalties."""
        value = beta[rows] / 2 * x.square().sum(1)
        slope = beta[rows, None] * x
        x = x.detach().requires_grad_()
        for kept, labels in problem.batches(_batch(problem, len(rows) * rank)):
            with torch.enable_grad():
                logits = problem.factored(*parts(x), kept)
                loss = -logits.log_softmax(2).gather(2, labels.expand(len(rows), -1)[..., None]).sum((1, 2))
                loss = loss / len(problem.labels)
                (part,) = torch.autograd.grad(loss.sum(), x)
            value, slope = value + loss.detach(), slope + part
        return value, slope

    def of_these(these: Int[Tensor, " q"], x: Float[Tensor, "k m"], rows: Int[Tensor, " k"]) -> tuple[Tensor, Tensor]:
        return at(x, these[rows])

    found, taken = minimise(at, start, steps, tolerance, progress)
    for _ in range(ESCAPES):
        again, better = escape(problem, Solution(*parts(found), taken), beta)
        rows = (again & (taken < steps)).nonzero().flatten()
        if not len(rows):
            break
        begun = torch.cat([better.left.flatten(1), better.right.flatten(1)], dim=1)[rows]
        left_steps = int(steps - taken[rows].max())
        new, more = minimise(partial(of_these, rows), begun, left_steps, tolerance)
        falls = at(new, rows)[0] < at(found[rows], rows)[0]
        found[rows] = torch.where(falls[:, None], new, found[rows])
        taken[rows] += more
    return problem.or_nothing(Solution(*parts(found), taken), beta)


def escape(problem: Problem, at: Solution, beta: Float[Tensor, " p"]) -> tuple[Bool[Tensor, " p"], Solution]:
    """Which penalties are next to a saddle, and their factors a little away from it.

    There the gradient's spectral norm is above beta, so that its leading singular vectors lower the objective; they
    take the place of a block's weakest pair of factors, where that counts for little or nothing.
    """
    _, gradient, _ = problem.slope(lambda kept: problem.factored(at.left, at.right, kept))
    left, right = at.left.clone(), at.right.clone()
    size = left.norm(dim=2) * right.norm(dim=3)  # [p, j, r]
    largest, (least, weakest) = size.amax(dim=(1, 2)), size.min(dim=2)
    moves = (spectral(gradient) > (1 + NEAR) * beta[:, None]) & (least < SHARE * largest[:, None])
    for p, j in moves.nonzero().tolist():
        first, _, second = torch.linalg.svd(gradient[p, j], full_matrices=False)
        root, place = (SHARE * largest[p]).sqrt(), weakest[p, j]
        left[p, j, :, place], right[p, j, place] = -root * first[:, 0], root * second[0]
    return moves.any(dim=1), Solution(left, right, at.steps)


def begin(
    problem: Problem, beta: Float[Tensor, " p"], rank: int, seed: int
) -> tuple[Float[Tensor, "p j a r"], Float[Tensor, "p j r zc"]]:
    """A proximal step from 0, where factors would be stuck: the gradient's singular values less beta, times a length.

    Along Z = t D the loss falls by t |D|^2 at first and curves by at most t^2 / 4 times the mean squared logits of D;
    t is where both balance. Directions that the step leaves out begin small, and all with a little noise.
    """
    left, values, right = problem.steepest(rank)
    weight = (values - beta[:, None, None]).clamp(min=0)
    weight = torch.maximum(weight, SHARE * weight.flatten(1).amax(dim=1).clamp(min=1e-3 * values.max())[:, None, None])
    step = Solution(-left * weight[..., None, :], right.expand(len(beta), -1, -1, -1), beta.new_zeros(0))
    squares = sum(problem.factored(step.left, step.right, kept).square().sum((1, 2)) for kept, _ in problem.batches())
    length = weight.square().sum((1, 2)) * 2 * len(problem.labels) / squares
    root = (length[:, None, None] * weight).sqrt()
    made = torch.Generator().manual_seed(seed)

    def noisy(factors: Tensor) -> Tensor:
        size = factors.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return factors + SHARE * size * torch.randn(factors[0].shape, generator=made).to(factors)

    return noisy(-left * root[..., None, :]), noisy(root[..., None] * right)


def _batch(problem: Problem, width: int) -> int:
    """Images a batch: what is kept of them, hidden numbers and logits are to fit beside one another."""
    form = problem.form
    own = form.size if form.name == "mixer" else sum(each[0].numel() for each in problem.kept)
    numbers = own + width * form.blocks * form.columns * 4 + width * problem.classes
    return max(1, min(len(problem.labels), NUMBERS // numbers))


@torch.no_grad()
def minimise(
    at: Callable[[Float[Tensor, "k m"], Int[Tensor, " k"]], tuple[Tensor, Tensor]],
    start: Float[Tensor, "p m"],
    steps: int,
    tolerance: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Float[Tensor, "p m"], Int[Tensor, " p"]]:
    """L-BFGS with backtracking (Nocedal & Wright 2006, algorithms 7.5 and 3.1), each row a problem of its own.

    at: values and gradients of rows, which are those at these places. Rows that are done are computed no more. Returns
    the rows and how many steps each has made.
    """
    found, taken = start.clone(), torch.zeros(len(start), dtype=torch.long, device=start.device)
    rows, x = torch.arange(len(start), device=start.device), start
    value, slope = at(x, rows)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    past = [value]
    for step in range(steps):
        direction = _direction(slope, pairs)
        down = (direction * slope).sum(1)
        wrong = down >= 0
        direction = torch.where(wrong[:, None], -slope, direction)
        down = torch.where(wrong, -slope.square().sum(1), down)
        length = torch.ones_like(value) if pairs else 1 / slope.norm(dim=1).clamp(min=1e-12)
        new, new_value, new_slope, good = _search(at, x, rows, value, direction, down, length)
        moved, turned = new - x, new_slope - slope
        curve = (moved * turned).sum(1)
        keeps = good & (curve > 1e-10 * moved.norm(dim=1) * turned.norm(dim=1))
        pairs.append((moved, turned, torch.where(keeps, 1 / curve.where(keeps, curve.new_ones(())), 0)))
        past.append(new_value)
        del pairs[:-MEMORY], past[: -MEMORY - 1]
        x, value, slope = new, new_value, new_slope
        found[rows], taken[rows] = x, step + 1
        if tolerance and len(past) > MEMORY:
            good &= past[0] - value > tolerance * value.abs()
        progress(step + 1, steps)
        if not good.any():
            break
        if not good.all():
            rows, x, value, slope = rows[good], x[good], value[good], slope[good]
            pairs, past = (
                [(one[good], two[good], three[good]) for one, two, three in pairs],
                [one[good] for one in past],
            )
    return found, taken


def _direction(slope: Float[Tensor, "p m"], pairs: list[tuple[Tensor, Tensor, Tensor]]) -> Float[Tensor, "p m"]:
    """The two-loop recursion; a pair of inverse curvature 0 is left out."""
    found, shares = -slope, []
    for moved, turned, inverse in reversed(pairs):
        share = inverse * (moved * found).sum(1)
        found = found - share[:, None] * turned
        shares.append(share)
    scale = torch.ones_like(slope[:, 0])
    for moved, turned, inverse in pairs:  # the latest that counts
        own = (moved * turned).sum(1) / turned.square().sum(1).clamp(min=1e-30)
        scale = torch.where(inverse > 0, own, scale)
    found = scale[:, None] * found
    for (moved, turned, inverse), share in zip(pairs, reversed(shares), strict=True):
        found = found + (share - inverse * (turned * found).sum(1))[:, None] * moved
    return found


def _search(
    at: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    x: Float[Tensor, "k m"],
    rows: Int[Tensor, " k"],
    value: Float[Tensor, " k"],
    direction: Float[Tensor, "k m"],
    down: Float[Tensor, " k"],
    length: Float[Tensor, " k"],
) -> tuple[Tensor, Tensor, Tensor, Bool[Tensor, " k"]]:
    """A step of weak Wolfe conditions, by bisection (Lewis & Overton 2013); longer steps are tried fourfold.

    Near 0, a saddle, the curvature is negative and steps must grow. Rows that do not even fall in 25 stay where they
    are.
    """
    low, high = torch.zeros_like(length), torch.full_like(length, float("inf"))
    for _ in range(25):
        new = x + length[:, None] * direction
        new_value, new_slope = at(new, rows)
        fell = new_value <= value + 1e-4 * length * down
        flat = (new_slope * direction).sum(1) >= 0.9 * down
        if (fell & flat).all():
            return new, new_value, new_slope, fell
        low, high = torch.where(fell & ~flat, length, low), torch.where(fell, high, length)
        between = torch.where(high.isinf(), 4 * low, (low + high) / 2)
        length = torch.where(fell & flat, length, between)
    length = torch.where(fell, length, low)  # the longest that fell
    new = x + length[:, None] * direction
    return new, *at(new, rows), length > 0
