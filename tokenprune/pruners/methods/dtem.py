"""Merge tokens as ToMe does, by a learned projection of the block's input (DTEM) (learned)

Lee & Hong, Learning to merge tokens via decoupled embedding (NeurIPS 2024). Score: cosine of a linear projection to 64
numbers, one a site, of the tokens that entered the block, normalised as by a layer norm; they are detached, so that
the metric shapes merging alone. Selection, site and the rest: as `tome` (after attention, in every block, `r` a
block).

In training merging is soft, and no token leaves. Of the tokens of one side, each with its `partners` most similar ones
of the other, r edges are taken by a relaxed top-k: r times a softmax over all edges at `choice_temperature`, after
which the logarithm of what is left of each token is added to its logits. What a token gives to its partners is merged
into them by size; it stays with the rest of its weight, at least 1e-6. The tokens are then ordered by weight, and the
first of them, as many as would be left, take part in the next merging. The order matters to it, so it is kept. A patch
stays with its token. Evaluation merges as `tome`.

The sides are those of `tome` in training too (the published code swaps them there). That code projects the output of
the block's first norm; here its scale and shift are left to the projection. The paper trains either the projections
alone (`modular`) or the model with them.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokenprune.pruners import options
from tokenprune.pruners.base import Shape, Signals, TokenState, precise, rows
from tokenprune.pruners.gates import CLOSED, straight_through
from tokenprune.pruners.matching import alternating, between
from tokenprune.pruners.methods.tome import ToMe
from tokenprune.pruners.registry import register


@register("dtem")
class DTEM(ToMe):
    """ToMe by a metric that is learned.

    features: numbers a token is compared by. partners: most similar tokens of the other side that soft merging knows.
    similarity_temperature, choice_temperature: of the cosines, and of each softmax over edges. modular: only the metric
    is trained.
    """

    def __init__(
        self,
        features: int = 64,
        partners: int = 3,
        similarity_temperature: float = 0.1,
        choice_temperature: float = 0.1,
        modular: bool = False,
    ) -> None:
        super().__init__()
        self.features = options.whole("dtem", "features", features, 1)
        self.partners = options.whole("dtem", "partners", partners, 1)
        self.similarity_temperature = options.number("dtem", "similarity_temperature", similarity_temperature, 1e-3)
        self.choice_temperature = options.number("dtem", "choice_temperature", choice_temperature, 1e-3)
        self.model_rate = 0.0 if options.flag("dtem", "modular", modular) else 1.0

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self._first, self._part = sites[0], shape.patches
        self.projection = nn.ModuleDict({str(site): nn.Linear(shape.dim, self.features) for site in sites})

    def metric(self, state: TokenState, signals: Signals) -> Tensor:
        tokens = state.tokens if state.entered is None else state.entered
        x = tokens[:, state.prefix :].detach()
        return precise(self.projection[str(signals.site)](F.layer_norm(x, x.shape[2:])))

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if not self.training:
            return super().reduce(state, keep, signals)
        part = state.count if signals.site == self._first else self._part  # tokens that take part in merging
        self._part = min(part, keep)
        if part <= keep:
            return state
        metric = self.metric(state, signals)
        with torch.autocast(metric.device.type, enabled=False):
            while part > keep:
                r = min(part - keep, (part + 1 - state.prefix % 2) // 2)
                state, metric = self._softly(state, metric, part, r)
                part -= r
        return state

    def _softly(self, state: TokenState, metric: Tensor, part: int, r: int) -> tuple[TokenState, Tensor]:
        """The state with r of its first `part` tokens merged, softly, and its metric: the heaviest of these first."""
        first, second = sides = alternating(state, part)
        share = self.edges(between(metric, sides), r)
        given, own = (state.weights.to(share.dtype).gather(1, side) for side in (first, second))
        mass = share * given[:, :, None]
        total = own + mass.sum(dim=1)
        rest = given * (1 - share.sum(dim=2))
        rest = straight_through(torch.minimum(rest.clamp(min=CLOSED), given), rest)
        weight = torch.cat([rest, total], dim=1)
        heavy = weight.argsort(dim=1, descending=True, stable=True)

        def merged(x: Tensor) -> Tensor:
            """What the first side gives merged into the second by weight; the heaviest first, then the others."""
            a, b = rows(x, first), rows(x, second)
            b = (own[:, :, None] * b + mass.transpose(1, 2) @ a.to(mass.dtype)) / total[:, :, None]
            return torch.cat([rows(torch.cat([a, b.to(x.dtype)], dim=1), heavy), x[:, part:]], dim=1)

        place = torch.cat([first, second], dim=1).gather(1, heavy)
        others = torch.arange(part, state.count, device=metric.device).expand(metric.shape[0], -1)
        moved = state.take(torch.cat([place, others], dim=1))
        tokens = torch.cat([state.tokens[:, : state.prefix], merged(state.patches)], dim=1)
        weight = torch.cat([weight.gather(1, heavy), state.weights[:, part:].to(weight.dtype)], dim=1)
        return replace(moved, tokens=tokens, weight=weight), merged(metric)

    def edges(self, similarity: Tensor, r: int) -> Tensor:
        """Which share of each token of the first side goes to which of the second, [b a m]: a relaxed top-r."""
        best, partner = similarity.topk(min(self.partners, similarity.shape[2]), dim=2)
        logits = best / self.similarity_temperature
        chosen = torch.zeros_like(best)
        for _ in range(r):
            one = (logits.flatten(1) / self.choice_temperature).softmax(dim=1).view_as(logits)
            chosen = chosen + one
            left = 1 - one.sum(dim=2, keepdim=True)
            logits = logits + left.clamp(min=torch.finfo(left.dtype).eps).log()
        chosen = chosen / chosen.detach().sum(dim=2, keepdim=True).clamp(min=1)  # no token gives more than it has
        return torch.zeros_like(similarity).scatter(2, partner, chosen)
