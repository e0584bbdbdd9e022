"""Cut the least attended tokens, merge the next, in learned proportions (DiffRate) (learned)

Chen et al., DiffRate: differentiable compression rate for efficient vision transformers (ICCV 2023). Score: class
attention, mean over heads (received attention without a class token). Selection: the tokens are sorted; the tail is
cut, the next ones each merge into the most similar of those above them (cosine of the tokens). Site: after attention,
in every block. The rest: plain means of what merges, whose weights add up; what is cut is gone.

A site has two learned numbers of tokens, left after cutting and after merging: expectations, rounded up, of a softmax
over 1, 2, ..., all. In training no token leaves: a closed one weighs 1e-6, straight-through to the probability that
the number exceeds its rank, and the loss is CE + 5 (GFLOPs - target)^2. The target is what the counts of training
cost. FLOPs are scaled so that the unpruned model has `gflops`: 4.6, as the DeiT-S that the factor was chosen for has,
because the term would be next to nothing for a small model; null is the model's own, as in the paper. The model's
weights do not move: start from a trained one. `train.learning_rate` is that of the rates, .01 in the published code.

`counts: given` leaves as many tokens as the ratio asked for says, at each site; what is learned is which part of those
that go is cut, and which merged (all merged where the learned numbers remove nothing). `counts: learned`, the paper's,
leaves the learned numbers, whatever ratio is asked for: more than it at some sites, fewer at others.

The published code multiplies the weight of what merges by its similarity, stops the gradient of a number that removes
nothing at its site, and has every fourth number only; here weights add up, the gradient stays, and any number will do.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tokenprune.pruners import options
from tokenprune.pruners.base import Pruner, Shape, Signals, Taught, TokenState, averaged, parted, precise, rows
from tokenprune.pruners.gates import gate, straight_through
from tokenprune.pruners.matching import cosine, homes
from tokenprune.pruners.registry import register

if TYPE_CHECKING:
    from tokenprune.data import Batch
    from tokenprune.models import Trace


@register("diffrate")
class DiffRate(Pruner):
    """Learned numbers of tokens, one to cut at and one to merge at for each site.

    counts: `given` or `learned`. factor: of the FLOPs term. gflops: what the unpruned model counts for in it; None for
    what it costs.
    """

    uses_teacher = False
    model_rate = 0.0

    def __init__(self, counts: str = "given", factor: float = 5.0, gflops: float | None = 4.6) -> None:
        super().__init__()
        if options.one_of("diffrate", "counts", counts, ("given", "learned")) == "learned":
            self.fixed = True  # type: ignore[misc]
        self.factor = options.number("diffrate", "factor", factor, 0)
        self.gflops = None if gflops is None else options.number("diffrate", "gflops", gflops, 1e-6)

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self._shape, self._sites = shape, sites
        self.cut, self.merge = (
            nn.ParameterDict({str(site): nn.Parameter(torch.zeros(shape.patches)) for site in sites}) for _ in range(2)
        )

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        n = state.count
        if keep == n and (self.training or not self.fixed or n == self._shape.patches):
            return state
        score = signals.attention().detach()
        if self.training:
            return self._gated(state, score, signals.site)
        cut, merged = (number.clamp(max=n) for number in self.numbers(signals.site))
        merged = torch.minimum(cut, merged)
        if self.fixed:
            keep = int(merged)
            return state if keep == n else _reduced(state, score, keep, cut - merged)
        share = torch.where(merged < n, (cut - merged) / (n - merged).clamp(min=1), 1.0)
        return _reduced(state, score, keep, (share * (n - keep)).round())

    def numbers(self, site: int) -> tuple[Tensor, Tensor]:
        """Tokens that are left after cutting and after merging, if as many were there."""
        found = []
        for logits in (self.cut[str(site)], self.merge[str(site)]):
            mean = _exceeds(logits).sum()
            found.append(straight_through((mean - 1e-4).ceil().clamp(min=1), mean))  # no rounding error makes one more
        return found[0], found[1]

    def _gated(self, state: TokenState, score: Tensor, site: int) -> TokenState:
        """All tokens, those that are cut or merged closed."""
        n, place = state.count, self._sites.index(site)
        score = score - 2.0 * (state.weights < 0.5)  # attention is at most 1: those closed before come last
        rank = score.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        left = [number for site in self._sites[:place] for number in self.numbers(site)]
        first = torch.stack([*left, score.new_tensor(n)]).min().detach()
        cut, merged = (number.detach() for number in self.numbers(site))
        middle = torch.minimum(first, cut)
        last = torch.minimum(middle, merged)
        stays, goes = rank < last, (rank >= last) & (rank < middle)
        x = state.patches
        with torch.no_grad():
            home = cosine(x, x).masked_fill(~stays[:, None], -2.0).argmax(dim=2)
        into = home.where(goes, torch.arange(n, device=home.device).expand_as(home))
        mean = averaged(x, torch.ones_like(state.weights), into, n)
        tokens = torch.cat([state.tokens[:, : state.prefix], x.where(goes[:, :, None], mean)], dim=1)
        weight = precise(state.weights)
        weight = weight.where(goes, torch.zeros_like(weight).scatter_add(1, into, weight))
        weight = weight * gate((rank < middle) | (rank >= first), _exceeds(self.cut[str(site)])[rank])
        weight = weight * gate(~goes, _exceeds(self.merge[str(site)])[rank])
        return replace(state, tokens=tokens, weight=weight, entered=None)

    def loss(self, trace: "Trace", batch: "Batch", teacher: Taught | None) -> Tensor:
        whole = torch.tensor(float(self._shape.patches), device=trace.logits.device)
        n, left = whole, []
        for site in self._sites:
            n = torch.minimum(n, torch.minimum(*self.numbers(site)))
            left.append(n)
        given = whole.new_tensor(self._shape.counts)
        spent, target, whole = (
            self._shape.products(dict(zip(self._sites, counts, strict=True)))
            for counts in (left, given, whole.expand(len(left)))
        )
        unit = whole / 1e9 if self.gflops is None else self.gflops
        return self.factor * (unit * (spent - target) / whole).square()


def _exceeds(logits: Tensor) -> Tensor:
    """The probability that a number, 1 to all, exceeds 0, 1, ..."""
    return logits.softmax(dim=0).flip(0).cumsum(dim=0).flip(0)


def _reduced(state: TokenState, score: Tensor, keep: int, merged: Tensor) -> TokenState:
    """The `keep` tokens of highest score with the next `merged` ones merged into them; the rest is gone."""
    stay, gone = parted(score, keep)
    home = cosine(rows(state.patches, gone), rows(state.patches, stay)).argmax(dim=2)
    into = homes(stay, gone, home)
    joins = (torch.arange(gone.shape[1], device=gone.device) < merged).expand_as(gone)
    present = torch.ones_like(into, dtype=torch.bool).scatter(1, gone, joins)
    mean = averaged(state.patches, present, into, keep)
    weight = state.weights * present
    weight = weight.new_zeros(weight.shape[0], keep).scatter_add(1, into, weight)
    return state.holding(mean, into.where(present, -1), weight)
