"""Keep tokens that a multi-head interpreter finds informative (IA-RED2) (adaptive, learned)

Pan et al., IA-RED2: interpretability-aware redundancy reduction for vision transformers (NeurIPS 2021), restated from
its description; no code is published. Score: an interpreter per site compares each token with a learned policy token:
linear, LayerNorm and GELU of both, a sigmoid of their scaled product in each head, the mean over heads. Selection:
tokens above .5. Site: before each of a few groups of blocks, say `before:0,4,8` of twelve. The rest: dropped.

keep is an upper bound (adaptive): of more tokens than that above .5 those of highest score stay; one stays in any case.
The interpreters go on where an image has fewer than keep tokens, from the first site that has a bound below its number
on.

Training draws each token's stay with its score as probability, at full length, and teaches the interpreters by
REINFORCE: the reward of a site is 1 - (share of the image's tokens kept)^2 if the answer is right, else -`penalty`
(.5), less its mean over the other images of the batch. The paper's baseline is the reward of its greedy choice, which
takes a second pass; it trains one group after another and the model in turns, here all learn at once, the model from
its own loss alone. There is no target: a larger penalty keeps more.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tokenprune.pruners.base import Pruner, Shape, Signals, Taught, TokenState, precise
from tokenprune.pruners.gates import above, noted, remaining
from tokenprune.pruners.options import number
from tokenprune.pruners.registry import register

if TYPE_CHECKING:
    from tokenprune.data import Batch
    from tokenprune.models import Trace


class Interpreter(nn.Module):
    """The probability that each token is informative."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.policy = nn.Parameter(torch.randn(dim))
        self.query = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim), nn.GELU())
        self.key = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim), nn.GELU())

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n"]:
        query = precise(self.query(self.policy)).unflatten(0, (self.heads, -1))
        key = precise(self.key(tokens)).unflatten(2, (self.heads, -1))
        return ((key * query).sum(dim=3) * query.shape[1] ** -0.5).sigmoid().mean(dim=2)


@register("ia_red2")
class IARED2(Pruner):
    """Tokens that an interpreter gives more than one half."""

    adaptive = True
    uses_teacher = False

    def __init__(self, penalty: float = 0.5, policy: float = 1.0) -> None:
        super().__init__()
        self.penalty = number("ia_red2", "penalty", penalty)
        self.policy = number("ia_red2", "policy", policy)

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self.interpreters = nn.ModuleDict({str(site): Interpreter(shape.dim, shape.heads) for site in sites})

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count and not state.memory:
            return state
        present = state.weights > 0
        chance = self.interpreters[str(signals.site)](state.patches.detach())
        if not self.training:
            state = remaining(state, above(chance, 0.5, present, keep))
            return noted(state, left=(state.weights > 0).sum(dim=1) / state.owner.shape[1])
        drawn = present & (signals.uniform() < chance)
        likely = torch.where(drawn, chance, 1 - chance).clamp(min=1e-6).log() * present
        stay = above(chance + 2.0 * drawn - 1, 0.5, present, state.count)
        state = noted(state, log=likely.sum(dim=1) / state.owner.shape[1], left=stay.sum(dim=1) / state.owner.shape[1])
        return remaining(state, stay, state.count)

    def loss(self, trace: "Trace", batch: "Batch", teacher: Taught | None) -> Tensor | None:
        memory = trace.states[-1].memory
        if not memory:
            return None
        answer = trace.logits.argmax(dim=1)
        right = (answer == batch.labels).to(memory["log"].dtype)
        if batch.other is not None and batch.weight is not None:  # images are mixed: right as far as either label is
            right = batch.weight * right + (1 - batch.weight) * (answer == batch.other).to(right.dtype)
        reward = right[:, None] * (1 - memory["left"].square()) - (1 - right[:, None]) * self.penalty
        advantage = reward
        if len(reward) > 1:
            advantage = (reward - reward.mean(dim=0)) * len(reward) / (len(reward) - 1)
        return -self.policy * (advantage.detach() * memory["log"]).sum(dim=1).mean()
