"""Keep the tokens that a learned query scores highest, as classifiers taught it (Cropr) (learned)

Bergner, Lippert & Mahendran, Token Cropr: faster ViTs for quite a few tasks (CVPR 2025). Score: q.x_j with one learned
query a site; no softmax, no norm, no projection (the published code's defaults). Selection: the largest. Site: after
whole blocks, that is `before:1,2,...` up to the last; the paper removes as many tokens at each (`r: 8`). The rest is
dropped.

What teaches the query is gone in evaluation: softmax(q.x / sqrt(dim)) mixes the tokens, x += MLP(LN(x)), and LN and a
linear layer classify the result; its cross-entropy is added to the loss, once for each site, without label smoothing.
The tokens are detached there, so the model itself is not moved by it. Evaluation computes the score alone.

`rejoin`: dropped tokens come back as they were when they left. In the paper they do so before the last block, for
dense tasks (last layer fusion); here a site may only remove tokens, so that they come back after the last block,
before the final norm. They are then in the average that a model without class token pools, and in the tokens a
teacher's are compared with, but go through no block any more: the fusion itself is missing. A class token's prediction
does not change.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokenprune.pruners import options
from tokenprune.pruners.base import ScorePruner, Shape, Signals, Taught, TokenState, parted, precise, rows
from tokenprune.pruners.gates import noted
from tokenprune.pruners.registry import register

if TYPE_CHECKING:
    from tokenprune.data import Batch
    from tokenprune.models import Trace


@register("cropr")
class Cropr(ScorePruner):
    """A query a site, and the classifier that teaches it."""

    uses_teacher = False

    def __init__(self, rejoin: bool = False) -> None:
        super().__init__()
        self.rejoin = options.flag("cropr", "rejoin", rejoin)

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        deviation = shape.dim**-0.5
        self.query = nn.ParameterDict(
            {str(site): nn.Parameter(nn.init.trunc_normal_(torch.empty(shape.dim), std=deviation)) for site in sites}
        )
        self.teacher = nn.ModuleDict({str(site): _Classifier(shape.dim, shape.classes) for site in sites})

    def score(self, state: TokenState, signals: Signals) -> Tensor:
        return self._scored(state.patches, signals.site)

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if self.training:
            x = state.patches.detach()
            state = noted(state, answers=self.teacher[str(signals.site)](x, self._scored(x, signals.site)))
        if keep == state.count:
            return state
        with torch.no_grad():
            stay, gone = parted(self.score(state, signals), keep)
        kept = state.take(stay)
        return replace(kept, memory=_set_aside(state, gone)) if self.rejoin else kept

    def _scored(self, x: Tensor, site: int) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # in bf16 many would score alike
            return precise(x) @ precise(self.query[str(site)])

    def loss(self, trace: "Trace", batch: "Batch", teacher: Taught | None) -> Tensor | None:
        answers = trace.states[-1].memory["answers"]
        return torch.stack([batch.cross_entropy(precise(answer)) for answer in answers.unbind(1)]).sum()

    def finish(self, state: TokenState) -> TokenState:
        """All tokens, in image order."""
        if "aside" not in state.memory:
            return state
        aside, patch = state.memory["aside"], state.memory["patch"]
        number = torch.arange(patch.shape[1], device=patch.device).expand_as(patch)
        together = replace(
            state,
            tokens=torch.cat([state.tokens, aside.to(state.tokens.dtype)], dim=1),
            owner=state.owner.scatter(1, patch, state.count + number),
            weight=None if state.weight is None else F.pad(state.weight, (0, number.shape[1]), value=1.0),
            entered=None,
            carried={},
        )
        return together.take(together.position.argsort(dim=1, stable=True))


class _Classifier(nn.Module):
    """Cross-attention of one query without projections, an MLP, and a linear classifier."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, classes))

    def forward(self, x: Tensor, score: Tensor) -> Tensor:
        share = (score * x.shape[2] ** -0.5).softmax(dim=1)
        mixed = (share[:, None].to(x.dtype) @ x)[:, 0]
        return self.head(mixed + self.mlp(mixed))


def _set_aside(state: TokenState, gone: Tensor) -> dict[str, Tensor]:
    """The memory with the tokens that go, [b m c], and the patch [b m] of each, after those that went before."""
    found = {"aside": rows(state.patches, gone), "patch": state.position.gather(1, gone)}
    before = state.memory
    return {**before, **{name: torch.cat([before[name], x], 1) if name in before else x for name, x in found.items()}}
