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

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokenprune.pruners import options
from tokenprune.pruners.base import ScorePruner, Shape, Signals, Taught, TokenState, precise, rows
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
        self._answers: list[Tensor] = []  # of a training step, a classifier each

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self._first = sites[0]
        deviation = shape.dim**-0.5
        self.query = nn.ParameterDict(
            {str(site): nn.Parameter(nn.init.trunc_normal_(torch.empty(shape.dim), std=deviation)) for site in sites}
        )
        self.teacher = nn.ModuleDict({str(site): _Classifier(shape.dim, shape.classes) for site in sites})

    def score(self, state: TokenState, signals: Signals) -> Tensor:
        return self._scored(state.patches, signals.site)

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if self.training:
            self._ask(state.patches.detach(), signals.site)
        if keep == state.count:
            return state
        with torch.no_grad():
            order = self.score(state, signals).argsort(dim=1, descending=True, stable=True)
        stay, gone = order[:, :keep].sort(dim=1).values, order[:, keep:]
        return _set_aside(state, stay, gone) if self.rejoin else state.take(stay)

    def _ask(self, x: Tensor, site: int) -> None:
        if site == self._first:
            self._answers = []
        self._answers.append(self.teacher[str(site)](x, self._scored(x, site)))

    def _scored(self, x: Tensor, site: int) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # in bf16 many would score alike
            return precise(x) @ self.query[str(site)]

    def loss(self, trace: "Trace", batch: "Batch", teacher: Taught | None) -> Tensor | None:
        answers, self._answers = self._answers, []
        if not answers:
            return None
        return torch.stack([batch.cross_entropy(precise(answer)) for answer in answers]).sum()

    def finish(self, state: TokenState) -> TokenState:
        return state if not isinstance(state, _Waiting) else state.rejoined()


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


@dataclass(frozen=True)
class _Waiting(TokenState):
    """A state with tokens set aside, [b m c], and the patch [b m] of each: `replace` carries both from site to site."""

    aside: Tensor | None = None
    patch: Tensor | None = None

    def rejoined(self) -> TokenState:
        """All tokens, in image order."""
        assert self.aside is not None
        assert self.patch is not None
        number = torch.arange(self.patch.shape[1], device=self.patch.device).expand_as(self.patch)
        together = TokenState(
            tokens=torch.cat([self.tokens, self.aside.to(self.tokens.dtype)], dim=1),
            prefix=self.prefix,
            owner=self.owner.scatter(1, self.patch, self.count + number),
            weight=None if self.weight is None else F.pad(self.weight, (0, number.shape[1]), value=1.0),
            embedded=self.embedded,
        )
        return together.take(together.position.argsort(dim=1, stable=True))


def _set_aside(state: TokenState, stay: Tensor, gone: Tensor) -> _Waiting:
    """The tokens that stay, with those that go, and those that went before."""
    aside, patch = rows(state.patches, gone), state.position.gather(1, gone)
    if isinstance(state, _Waiting) and state.aside is not None and state.patch is not None:
        aside, patch = torch.cat([state.aside, aside], dim=1), torch.cat([state.patch, patch], dim=1)
    kept = state.take(stay)
    if isinstance(kept, _Waiting):
        return replace(kept, aside=aside, patch=patch)
    return _Waiting(**{each.name: getattr(kept, each.name) for each in fields(kept)}, aside=aside, patch=patch)
