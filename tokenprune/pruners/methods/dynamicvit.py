"""Keep the tokens that a small network at each site predicts to matter (DynamicViT) (learned)

Rao et al., DynamicViT: efficient vision transformers with dynamic token sparsification (NeurIPS 2021). Score: a
predictor per site (LayerNorm, linear, GELU; half of the channels stay local, of the other half all tokens kept so far
share the mean; an MLP of two more hidden layers) gives a logit for keeping and one for dropping. Selection: the largest
keep probability. Site: before blocks, the paper's are `before:3,6,9` of twelve at keep .7. The rest: dropped.

Training runs at full length. A token's gate at a site is a Gumbel softmax of the two logits (logistic noise on their
difference), hard with a straight-through gradient, and gates multiply over sites. The loss adds `ratio` (2) times the
mean over sites of the squared difference between an image's share of open gates and the ratio of tokens that are to
stay, `distill` (.5) times the KL divergence from the teacher's prediction, and `tokens` (.5) times the mean squared
difference from its final features over the tokens kept; both of these only with `train.teacher`. The model learns at
`model_rate` (.01) times the rate; the paper also holds it still in the first five epochs. The published code compares
final features by a KL divergence over channels unless it is told to use the paper's squared difference.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tokenprune.pruners.base import ScorePruner, Shape, Signals, Taught, TokenState, precise, rows
from tokenprune.pruners.gates import gate_weight, logistic, opened
from tokenprune.pruners.options import number
from tokenprune.pruners.registry import register

if TYPE_CHECKING:
    from tokenprune.data import Batch
    from tokenprune.models import Trace


class Predictor(nn.Module):
    """The logit of keeping each token, from the token and the mean of those kept so far."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        half, quarter = max(1, dim // 2), max(1, dim // 4)
        self.embed = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU())
        self.decide = nn.Sequential(
            nn.Linear(dim, half), nn.GELU(), nn.Linear(half, quarter), nn.GELU(), nn.Linear(quarter, 2)
        )

    def forward(self, tokens: Float[Tensor, "b n c"], kept: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        local, shared = self.embed(tokens).tensor_split(2, dim=2)
        share = (kept / kept.sum(dim=1, keepdim=True).clamp(min=1))[:, :, None].to(shared.dtype)
        mean = (shared * share).sum(dim=1, keepdim=True).expand_as(shared)
        keep, drop = precise(self.decide(torch.cat([local, mean], dim=2))).unbind(2)
        return keep - drop


@register("dynamicvit")
class DynamicViT(ScorePruner):
    """The tokens that a predictor gives the largest keep probability."""

    def __init__(self, ratio: float = 2.0, distill: float = 0.5, tokens: float = 0.5, model_rate: float = 0.01) -> None:
        super().__init__()
        self.ratio = number("dynamicvit", "ratio", ratio)
        self.distill = number("dynamicvit", "distill", distill)
        self.tokens = number("dynamicvit", "tokens", tokens)
        self.model_rate = number("dynamicvit", "model_rate", model_rate)

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self.predictors = nn.ModuleDict({str(site): Predictor(shape.dim) for site in sites})

    def score(self, state: TokenState, signals: Signals) -> Tensor:
        return self.predictors[str(signals.site)](state.patches, torch.ones_like(state.weights))

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count or not self.training:
            return super().reduce(state, keep, signals)
        before = state.carried.get("kept", precise(torch.ones_like(state.weights)))
        logit = self.predictors[str(signals.site)](state.patches, before)
        kept = before * opened(logit + logistic(signals.uniform()).to(logit.dtype))
        target = torch.full_like(kept, keep / state.count)
        return replace(state, weight=gate_weight(kept), entered=None, carried={"kept": kept, "target": target})

    def loss(self, trace: "Trace", batch: "Batch", teacher: Taught | None) -> Tensor | None:
        gated = [state.carried for state in trace.states if "kept" in state.carried]
        missed = [(each["kept"].mean(dim=1) - each["target"][:, 0]).square().mean() for each in gated]
        total = self.ratio * torch.stack(missed).mean() if missed else None
        if teacher is None:
            return total
        ours, theirs = (precise(logits).log_softmax(dim=1) for logits in (trace.logits, teacher.logits))
        taught = self.distill * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        taught = taught + self.tokens * _difference(trace, teacher)
        return taught if total is None else total + taught


def _difference(trace: "Trace", teacher: Taught) -> Float[Tensor, ""]:
    """Mean squared difference between final features, over the tokens whose gates are all open."""
    last = trace.states[-1]
    kept = last.carried.get("kept", torch.ones_like(last.weights)).detach()
    ours = precise(trace.features[:, last.prefix :])
    theirs = rows(precise(teacher.features[:, last.prefix :]), last.position.clamp(min=0))
    return ((ours - theirs).square().mean(dim=2) * kept).sum() / kept.sum().clamp(min=1)
