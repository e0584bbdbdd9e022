"""Let tokens leave as soon as the halting scores of a channel sum to 1 (A-ViT) (adaptive, learned)

Yin et al., A-ViT: adaptive tokens for efficient vision transformer (CVPR 2022). Score: h = sigmoid(scale x[0] - center)
of each token's first channel at each site. Selection: a token stops at the site where the sum of its scores reaches 1 -
epsilon (.01). Site: after every block, which is before the next: `before:1,2,...`. The rest: stopped patch tokens
leave. Class and other prefix tokens stop by the same rule, but what the model classifies is their mean over the sites:
each weighs with its h, the site where it stops (or the end) with what is left to 1. Needs a class token; with average
pooling the patch tokens that stay to the end are pooled, and only the losses below teach when to stop.

keep is an upper bound (adaptive): where more than that many have not stopped, those nearest to it stop too; one patch
token stays in any case. Stopping goes on where an image has fewer than keep tokens, from the first site that has a
bound below its number on. In training as in evaluation tokens really leave.

The loss adds `ponder` (5e-4) times the mean over tokens of the sites passed and the rest of the sum at the last, and
`prior` (1e-3) times the KL divergence of the mean scores, as shares over the sites, from a Gaussian over depth around
`target` (3/4 of the blocks, deviation a twelfth, as in the published code). A stopped token counts with score 0 there.
The paper fine-tunes a trained model for 100 epochs. Scale 10 and center 30 (75 from 384 channels on) are what the
published code sets for DeiT; there they are constants, here parameters that go on learning. On a model whose first
channel stays far below center / scale nothing stops by itself: start at smaller ones.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tokenprune.errors import UsageError
from tokenprune.pruners.base import Pruner, Shape, Signals, Taught, TokenState, precise
from tokenprune.pruners.gates import above, remaining
from tokenprune.pruners.options import number
from tokenprune.pruners.registry import register

if TYPE_CHECKING:
    from tokenprune.data import Batch
    from tokenprune.models import Trace


@register("avit")
class AViT(Pruner):
    """Adaptive computation time for each token."""

    adaptive = True
    uses_teacher = False
    log_prior: Tensor

    def __init__(
        self,
        scale: float = 10.0,
        center: float | None = None,
        epsilon: float = 0.01,
        ponder: float = 5e-4,
        prior: float = 1e-3,
        target: float = 0.75,
    ) -> None:
        super().__init__()
        self.start = (
            number("avit", "scale", scale),
            None if center is None else number("avit", "center", center, least=-1e6),
        )
        self.stop = 1 - number("avit", "epsilon", epsilon, 0, 0.5)
        self.ponder = number("avit", "ponder", ponder)
        self.prior = number("avit", "prior", prior)
        self.target = number("avit", "target", target, 0, 1)

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        if not shape.class_token:
            raise UsageError("pruner 'avit': averages the class token over depth, and the model has none")
        scale, center = self.start
        self.scale = nn.Parameter(torch.tensor(scale))
        self.center = nn.Parameter(torch.tensor((30.0 if shape.dim < 384 else 75.0) if center is None else center))
        away = (torch.tensor(sites) / (2 * shape.depth) - self.target) * 12
        self.register_buffer("log_prior", -away.square() / 2, persistent=False)

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        memory = dict(state.memory)
        if keep == state.count and not memory:
            return state
        score = (self.scale * precise(state.tokens[:, :, 0]) - self.center).sigmoid()
        score, prefix_score = score[:, state.prefix :], score[:, : state.prefix]
        present = state.weights > 0
        before = state.carried.get("sum", torch.zeros_like(score))
        total = before + score
        stay = above(-total, -self.stop, present, keep)
        passed = _passed(before, present) + _rest(before, present & ~stay)

        prefix_before = memory.get("sum", torch.zeros_like(prefix_score))
        goes_on = prefix_before < self.stop
        prefix_total = prefix_before + prefix_score * goes_on
        stops = goes_on & (prefix_total >= self.stop)
        share = torch.where(stops, 1 - prefix_before, prefix_score * goes_on)
        passed = passed + _passed(prefix_before, goes_on) + _rest(prefix_before, stops)
        output = share[:, :, None] * state.tokens[:, : state.prefix]
        mean = (score * present).sum(1, keepdim=True) + (prefix_score * goes_on).sum(1, keepdim=True)
        memory = {
            "sum": prefix_total,
            "output": memory.get("output", 0) + output,
            "passed": memory.get("passed", 0) + passed,
            "scores": torch.cat([*([memory["scores"]] if memory else []), mean], dim=1),
        }
        return remaining(replace(state, carried={"sum": total}, memory=memory), stay, keep if self.training else None)

    def finish(self, state: TokenState) -> TokenState:
        """The prefix tokens become their means over the sites and the end."""
        if not state.memory:
            return state
        total, now = state.memory["sum"], state.tokens[:, : state.prefix]
        rest = (1 - total) * (total < self.stop)
        prefix = (state.memory["output"] + rest[:, :, None] * now).to(state.tokens.dtype)
        return replace(state, tokens=torch.cat([prefix, state.patches], dim=1))

    def loss(self, trace: "Trace", batch: "Batch", teacher: Taught | None) -> Tensor | None:
        last = trace.states[-1]
        if not last.memory:
            return None
        passed, scores = last.memory["passed"], last.memory["scores"].mean(dim=0)
        for total, on in (
            (last.carried["sum"], last.weights > 0),
            (last.memory["sum"], last.memory["sum"] < self.stop),
        ):
            passed = passed + _passed(total, on) + _rest(total, on)  # to the end
        ponder = passed.mean() / (last.prefix + last.owner.shape[1])
        least = torch.finfo(scores.dtype).tiny
        scores = scores.clamp(min=least)
        prior = self.log_prior[-len(scores) :].log_softmax(dim=0)
        away = (prior.exp() * (prior - (scores / scores.sum()).clamp(min=least).log())).sum()
        return self.ponder * ponder + self.prior * away


def _passed(total: Float[Tensor, "b m"], on: Tensor) -> Float[Tensor, "b 1"]:
    """One more site for each token that has not stopped."""
    return on.to(total.dtype).sum(dim=1, keepdim=True)


def _rest(total: Float[Tensor, "b m"], stops: Tensor) -> Float[Tensor, "b 1"]:
    """What is left to a sum of 1 before tokens that stop."""
    return ((1 - total).clamp(min=0) * stops).sum(dim=1, keepdim=True)
