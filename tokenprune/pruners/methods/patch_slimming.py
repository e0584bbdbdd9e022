"""Keep the same patches of every image, those that the output depends on (Patch Slimming) (learned)

Tang et al., Patch Slimming for efficient vision transformers (CVPR 2022), restated from a reproduction (METU CENG502,
2023) and simplified to what a site can see. Selection: one mask a site, the same for all images; the rest is dropped.

Score of patch j at a site in block B, averaged over the images of the first `gather` batches of training, in which no
token leaves: with A_h the attention of head h in block B, Z the tokens that entered it,

    s_j = sum over h of (|column j of U A_h| x |row j of A_h |Z||)^2, over its sum over j,

where U starts with the rows that the classifier reads after the last site's block (the class token's; all without one)
and is multiplied, from the last site up, by that site's attention (mean over heads) and by its mask so far. Masks are
made top down: a site has the patches of the next deeper one, and those of highest score to fill its number; the deeper
mask is a subset. After those batches the masks stay and the model is trained with them, which takes the place of the
paper's fine-tuning block by block.

What differs from the paper: blocks that are no site do not count, nor residual paths; heads are averaged in deeper
blocks, where the paper takes every path through heads; numbers come from the keep ratio, where the paper adds patches
until the reconstruction error falls below a bound. Masks nest for the counts of training, and at any smaller ones.
Before any batch was gathered the first patches of the image stay.
"""

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tokenprune.pruners import options
from tokenprune.pruners.base import ScorePruner, Shape, Signals, Taught, TokenState
from tokenprune.pruners.gates import noted
from tokenprune.pruners.registry import register

if TYPE_CHECKING:
    from tokenprune.data import Batch
    from tokenprune.models import Trace


@register("patch_slimming")
class PatchSlimming(ScorePruner):
    """A static mask a site, of scores that are gathered in training.

    gather: batches of training that scores are gathered in.
    """

    uses_teacher = False
    total: Tensor
    seen: Tensor
    rank: Tensor
    batches: Tensor

    def __init__(self, gather: int = 100) -> None:
        super().__init__()
        self.gather = options.whole("patch_slimming", "gather", gather, 1)
        self._batches = 0  # as the buffer says, where asking for it would wait for the device

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self._shape, self._sites = shape, sites
        for name in ("total", "seen"):  # of the scores of every patch at every site
            self.register_buffer(name, torch.zeros(len(sites), shape.patches))
        self.register_buffer("rank", torch.arange(shape.patches).repeat(len(sites), 1))  # the patch of rank 0 goes last
        self.register_buffer("batches", torch.tensor(0))

    def score(self, state: TokenState, signals: Signals) -> Tensor:
        return -self.rank[self._sites.index(signals.site)][state.position].float()  # whole numbers that bf16 has not

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if not self.training or self._batches >= self.gather:
            return super().reduce(state, keep, signals)
        entered = state.tokens if state.entered is None else state.entered
        with torch.no_grad():
            return noted(state, maps=signals.attention_maps(), entered=entered.abs(), place=state.position)

    @torch.no_grad()
    def loss(self, trace: "Trace", batch: "Batch", teacher: Taught | None) -> None:
        """No term of its own: what the step has shown is added to the scores."""
        seen = trace.states[-1].memory
        if not seen:
            return
        self._batches += 1
        self.batches += 1
        maps, prefix = seen["maps"], trace.states[-1].prefix
        path = torch.eye(maps.shape[-1], device=maps.device, dtype=maps.dtype)[None]
        path = path[:, :1] if self._shape.class_token else path
        for i in reversed(range(maps.shape[1])):
            attention, entered, place = maps[:, i], seen["entered"][:, i], seen["place"][:, i]
            mixed = (attention @ entered[:, None].to(attention.dtype)).norm(dim=3)
            score = ((path[:, None] @ attention).norm(dim=2) * mixed).square().sum(dim=1)[:, prefix:]
            score = score / score.sum(dim=1, keepdim=True)
            self.total[i].scatter_add_(0, place.flatten(), score.flatten().to(self.total.dtype))
            self.seen[i].scatter_add_(0, place.flatten(), torch.ones_like(score).flatten().to(self.seen.dtype))
            self._rank(i)
            kept = F.pad((self.rank[i] < self._shape.counts[i])[place], (prefix, 0), value=True)
            path = (path @ attention.mean(dim=1)) * kept[:, None]

    def _rank(self, i: int) -> None:
        """Ranks the patches of a site, 0 first: those of the next deeper mask as there, then the others by score."""
        score = self.total[i] / self.seen[i].clamp(min=1)
        rank = score.argsort(descending=True, stable=True).argsort()
        if i + 1 < len(self.rank):
            deeper = self.rank[i + 1]
            rank = deeper.where(deeper < self._shape.counts[i + 1], rank + len(rank)).argsort().argsort()
        self.rank[i] = rank

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._batches = int(self.batches)
