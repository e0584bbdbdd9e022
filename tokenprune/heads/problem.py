"""One convex head's training problem, at several penalties at once, and how far from its optimum a solution can be.

    f(Z) = F(Z) + beta sum_j |Z_j|_*,    F(Z) = mean over images of the cross-entropy of logits that are linear in Z

Shapes: n images, b of them at a time, j blocks, a rows, z columns of Z without its classes, c classes, r rank,
p penalties.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tokenprune.errors import TokenpruneError
from tokenprune.hardware import available_memory
from tokenprune.heads.forms import Form, Prepared

#: Numbers that one batch of images may take.
NUMBERS = 2**22
#: Singular values below this share of a head's largest do not count to its rank.
SMALL = 1e-3


class NoRoom(TokenpruneError):
    """Memory has no room for a head, or for the one that it is compared with."""


@dataclass(frozen=True)
class Solution:
    """Factors of Z = U V at every penalty. steps: of the solver, at each."""

    left: Float[Tensor, "p j a r"]
    right: Float[Tensor, "p j r zc"]
    steps: Int[Tensor, " p"]


@dataclass(frozen=True)
class Certificate:
    """At every penalty. gap: an upper bound of (f(Z) - f*) / f*; infinite where nothing is known of f*.

    dual_norm: the largest spectral norm of the blocks of F's gradient, over beta: at most 1 at an optimum. rank: all
    blocks' together; block_rank: of the one of most.
    """

    objective: Float[Tensor, " p"]
    gap: Float[Tensor, " p"]
    dual_norm: Float[Tensor, " p"]
    rank: Int[Tensor, " p"]
    block_rank: Int[Tensor, " p"]


class Problem:
    """A head on these tokens. Raises NoRoom where memory has none for what is kept of the images.

    tokens [n, s, d], labels [n], classes c.
    """

    def __init__(self, form: Form, tokens: Float[Tensor, "n s d"], labels: Int[Tensor, " n"], classes: int) -> None:
        self.form, self.labels, self.classes = form, labels, classes
        self.batch = max(1, min(len(tokens), NUMBERS // max(form.size, form.columns * classes, tokens[0].numel())))
        first = form.prepare(tokens[:1])
        self._room(sum(each.nbytes for each in first) * len(tokens), "its tokens")
        parts = [form.prepare(part) for part in tokens.split(self.batch)]
        self._slope: Tensor | None = None
        self.kept: Prepared = tuple(torch.cat(each) for each in zip(*parts, strict=True))

    def _room(self, needed: int, what: str) -> None:
        if self.labels.device.type == "cpu" and needed > available_memory():
            raise NoRoom(
                f"{self.form.name} ({self.form.kind}): {what} take {needed / 2**20:,.0f} MiB, "
                f"{available_memory() / 2**20:,.0f} MiB are free"
            )

    def batches(self, size: int | None = None) -> Iterator[tuple[Prepared, Int[Tensor, " b"]]]:
        """What is kept of so many images at a time, and their labels."""
        size = size or self.batch
        for start in range(0, len(self.labels), size):
            rows = slice(start, start + size)
            yield tuple(each[rows] for each in self.kept), self.labels[rows]

    def factored(
        self, left: Float[Tensor, "p j a r"], right: Float[Tensor, "p j r zc"], kept: Prepared
    ) -> Float[Tensor, "p b c"]:
        """Logits of Z = U V, without Z."""
        hidden = self.form.hidden(left, *kept)
        second = right.unflatten(3, (self.form.columns, self.classes)).transpose(2, 3)  # [p, j, z, r, c]
        return hidden.flatten(2) @ second.flatten(1, 3)

    def whole(self, z: Float[Tensor, "p j a zc"], kept: Prepared) -> Float[Tensor, "p b c"]:
        """Logits of Z itself."""
        rows = self.form.terms(*kept).flatten(1)
        return rows @ z.unflatten(3, (self.form.columns, self.classes)).flatten(1, 3)

    def slope(
        self, logits: Callable[[Prepared], Float[Tensor, "p b c"]]
    ) -> tuple[Float[Tensor, " p"], Float[Tensor, "p j a zc"], Float[Tensor, " p"]]:
        """F, its gradient in Z, and the gradient's share of the dual objective (see `dual`), at given logits."""
        form, logs = self.form, []
        loss: Tensor | float = 0.0
        found: Tensor | None = None
        for kept, labels in self.batches():
            at = logits(kept)
            log = at.log_softmax(dim=2)
            truth = F.one_hot(labels, self.classes).to(log.dtype)
            loss = loss - (log * truth).sum(dim=(1, 2))
            residual = (log.exp() - truth) / len(self.labels)
            p = len(residual)
            if found is None:
                self._room(3 * form.size * self.classes * p * residual.element_size(), "its gradients")
                found = residual.new_zeros(form.size, p * self.classes)
            found.addmm_(form.terms(*kept).flatten(1).mT, residual.transpose(0, 1).flatten(1))
            logs.append(log)
        assert found is not None
        assert isinstance(loss, Tensor)
        gradient = found.view(form.blocks, form.rows, form.columns, -1, self.classes).permute(3, 0, 1, 2, 4).flatten(3)
        return loss / len(self.labels), gradient, torch.cat(logs, dim=1)

    def largest_penalty(self) -> float:
        """The smallest beta at which Z = 0 is optimal: the largest spectral norm of F's gradient at 0.

        0 minimises F + beta |.|_* where -grad F(0) is in beta times the unit ball of the dual norm, the spectral one.
        """
        return float(spectral(self.slope_at_0())[0].max())

    def slope_at_0(self) -> Float[Tensor, "1 j a zc"]:
        if self._slope is None:
            zero = self.labels.new_zeros(1, 1, self.classes, dtype=self.kept[-1].dtype)
            _, self._slope, _ = self.slope(lambda kept: zero.expand(1, len(kept[0]), -1))
        return self._slope

    def steepest(self, rank: int) -> tuple[Float[Tensor, "j a r"], Float[Tensor, "j r"], Float[Tensor, "j r zc"]]:
        """The largest singular values of F's gradient at 0, block by block, with their vectors."""
        left, values, right = torch.linalg.svd(self.slope_at_0()[0], full_matrices=False)
        return left[..., :rank], values[:, :rank], right[:, :rank]

    def or_nothing(self, solution: Solution, beta: Float[Tensor, " p"]) -> Solution:
        """Z = 0 at the penalties that leave nothing, where solvers end next to it."""
        left = (beta < self.largest_penalty())[:, None, None, None]
        return Solution(solution.left * left, solution.right * left, solution.steps)

    def certify(self, solution: Solution, beta: Float[Tensor, " p"]) -> Certificate:
        """How far from optimal factors can be, whatever made them.

        Let g = grad F(Z) and s = |g|_2, the largest over blocks. F is convex, so for every optimum Z*

            f(Z) - f* <= <g, Z - Z*> + beta |Z|_* - beta |Z*|_* <= (s - beta)_+ |Z*|_* + (beta |Z|_* + <g, Z>),

        and beta |Z*|_* <= f*, since F >= 0: the relative gap is at most (s / beta - 1)_+ + (beta |Z|_* + <g, Z>) / f*.
        The first is the paper's; the second is 0 where the factors are stationary (then g V^T = -beta U and
        U^T g = -beta V^T, so that <g, Z> = -beta |Z|_*). f* is at least f(Z) less the gap.

        A second bound, often tighter, is the dual objective of g shrunk until it is feasible: with probabilities P,
        labels Y and k = min(1, beta / s), mean entropy of Y + k (P - Y) <= f*. The smaller of both is given.
        """
        loss, gradient, logs = self.slope(lambda kept: self.factored(solution.left, solution.right, kept))
        values = singular_values(solution)
        nuclear = values.flatten(1).sum(1)
        objective = loss + beta * nuclear
        norm = spectral(gradient).amax(dim=1)
        product = torch.einsum("pjar,pjaz->pjrz", solution.left, gradient)
        inner = (product * solution.right).sum(dim=(1, 2, 3))
        over = (norm / beta - 1).clamp(min=0)
        rest = (beta * nuclear + inner).clamp(min=0)
        # f* (1 + over) >= f - rest, by the first bound with beta |Z*|_* <= f*
        least = torch.maximum((objective - rest) / (1 + over), self._dual(logs, (beta / norm).clamp(max=1)))
        gap = torch.where(least > 0, (objective - least).clamp(min=0) / least, float("inf"))
        largest = values.flatten(1).amax(dim=1)[:, None, None]
        rank = ((values > SMALL * largest) & (values > 0)).sum(dim=2)
        return Certificate(objective, gap, norm / beta, rank.sum(dim=1), rank.amax(dim=1))

    def _dual(self, logs: Float[Tensor, "p n c"], shrink: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """Mean entropy of the probabilities moved towards the labels: Fenchel's dual of the cross-entropy."""
        truth = F.one_hot(self.labels, self.classes).to(logs.dtype)
        mixed = truth + shrink[:, None, None] * (logs.exp() - truth)
        return torch.special.entr(mixed).sum(dim=2).mean(dim=1)

    def correct(self, solution: Solution) -> Float[Tensor, " p"]:
        """Share of the images that are classified as labelled."""
        right: Tensor | float = 0.0
        for kept, labels in self.batches():
            right = right + (self.factored(solution.left, solution.right, kept).argmax(dim=2) == labels).sum(dim=1)
        assert isinstance(right, Tensor)
        return right / len(self.labels)


def spectral(matrices: Float[Tensor, "p j a zc"]) -> Float[Tensor, "p j"]:
    """Largest singular values, of the smaller Gram matrix: exact, and much faster than all of them."""
    wide = matrices if matrices.shape[2] <= matrices.shape[3] else matrices.mT
    squares = [torch.linalg.eigvalsh(each @ each.mT)[-1] for each in wide.flatten(0, 1)]
    return torch.stack(squares).clamp(min=0).sqrt().view(matrices.shape[:2])


def singular_values(solution: Solution) -> Float[Tensor, "p j r"]:
    """Singular values of Z = U V, without Z; falling."""
    first, second = (torch.linalg.qr(each, mode="r").R for each in (solution.left, solution.right.mT))
    return torch.linalg.svdvals(first @ second.mT)
