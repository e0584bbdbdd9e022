"""Merge and drop tokens beyond thresholds that each site learns (LTMP) (adaptive, learned)

Bonnaerens and Dambre, Learned thresholds token merging and pruning for vision transformers (TMLR 2023). Score: cosine
of keys, mean over heads, for merging; received attention for dropping. Selection: tokens alternate into two sides as in
ToMe, each of the first becomes part of its most similar one of the second if their cosine is above the site's merge
threshold (start .9); then tokens stay whose importance, the largest of those merged, is above the prune threshold
(start 0). Site: after attention, in every block. The rest: means by size, and dropped.

keep is an upper bound (adaptive): of more tokens than that above the threshold the most important stay; one stays in
any case. The thresholds go on where an image has fewer than keep tokens, from the first site that has a bound below its
number on.

Training runs at full length: a token that merges or drops is shut off by its weight, with the gradient of a sigmoid of
(score - threshold) / `temperature` (.1); means and sizes pass none to the thresholds. The loss adds `flops` (10) times
the squared difference between the FLOPs of the blocks, as a share of the unpruned model's, and what they are at the
counts the model is made for. As in the paper the model itself does not learn (`model_rate: 0`; 1 trains both). Both
thresholds have one learning rate where the published code has two (5e-3 and 5e-6), so the parameter of pruning counts
in means of received attention: 1 is a threshold of one over the tokens of an image.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tokenprune.pruners.base import Pruner, Shape, Signals, Taught, TokenState, precise
from tokenprune.pruners.gates import above, gate_weight, noted, opened, remaining
from tokenprune.pruners.matching import alternating, between, metric_of_keys
from tokenprune.pruners.options import number
from tokenprune.pruners.registry import register

if TYPE_CHECKING:
    from tokenprune.data import Batch
    from tokenprune.models import Trace


@register("ltmp")
class LTMP(Pruner):
    """Bipartite matching above one threshold, received attention above another."""

    adaptive = True
    uses_teacher = False
    target: Tensor

    def __init__(self, temperature: float = 0.1, flops: float = 10.0, model_rate: float = 0.0) -> None:
        super().__init__()
        self.temperature = number("ltmp", "temperature", temperature, least=1e-6)
        self.flops = number("ltmp", "flops", flops)
        self.model_rate = number("ltmp", "model_rate", model_rate)

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self.shape, self.sites = shape, sites
        self.merge = nn.Parameter(torch.full((len(sites),), 0.9))
        self.prune = nn.Parameter(torch.zeros(len(sites)))
        counts = torch.tensor(shape.counts or (shape.patches,) * len(sites))
        self.register_buffer("target", counts / shape.patches, persistent=False)

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count and not state.memory:
            return state
        site = self.sites.index(signals.site)
        least = self.prune[site] / (self.shape.prefix + self.shape.patches)
        gate = state.carried.get("gate", precise(torch.ones_like(state.weights)))
        present = (state.weights > 0) & (gate > 0.5)
        into, separate = self._matched(state, present, self.merge[site], signals)
        importance = precise(signals.received_attention())
        importance = importance.scatter_reduce(1, into, importance, "amax")
        merged = replace(state, weight=state.weights.detach()).merge(into, state.count)
        alone = separate > 0.5
        if not self.training:
            state = remaining(merged, above(importance, least, present & alone, keep))
            return noted(state, left=(state.weights > 0).sum(dim=1) / state.owner.shape[1])
        # Tokens that are merged or dropped stay where they are, as what their gates would let in.
        gate = gate * separate * opened((importance - least) / self.temperature)
        patches = torch.where(alone[:, :, None], merged.patches, state.patches)
        state = replace(
            merged,
            tokens=torch.cat([state.tokens[:, : state.prefix], patches], dim=1),
            weight=gate_weight(gate) * merged.weights.where(gate > 0.5, 1.0),
            carried={"gate": gate},
        )
        return noted(state, left=gate.sum(dim=1) / state.owner.shape[1])

    def _matched(
        self, state: TokenState, present: Bool[Tensor, "b n"], threshold: Tensor, signals: Signals
    ) -> tuple[Int[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Which token each becomes part of, and gates that are open for those that become part of none."""
        into = torch.arange(state.count, device=present.device).expand_as(present)
        gates = precise(torch.ones_like(state.weights))
        if state.count == 1:
            return into, gates
        first, second = sides = alternating(state)
        similarity = between(metric_of_keys(signals), sides)
        both = present.gather(1, first)[:, :, None] & present.gather(1, second)[:, None]
        most, partner = similarity.masked_fill(~both, -2.0).max(dim=2)
        merge = opened((most - threshold) / self.temperature) * (most > -2)
        home = torch.where(merge > 0.5, second.gather(1, partner), first)
        return into.scatter(1, first, home), gates.scatter(1, first, (1 - merge).to(gates.dtype))

    def loss(self, trace: "Trace", batch: "Batch", teacher: Taught | None) -> Tensor | None:
        memory = trace.states[-1].memory
        if not memory:
            return None
        left = memory["left"].mean(dim=0)
        every = left.new_ones(len(self.sites))  # before the first site that had a bound all are left
        left = torch.cat([every[: len(every) - len(left)], left])
        spent, target, whole = (
            self.shape.products(dict(zip(self.sites, share * self.shape.patches, strict=True)))
            for share in (left, self.target, every)
        )
        return self.flops * ((spent - target) / whole).square()
