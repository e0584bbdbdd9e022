"""Measurements during training: test loss and accuracy, and attention on label-relevant tokens.

Shapes: b images, l blocks, n patch tokens, t patches.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from tokenprune import hardware
from tokenprune.data import Batch
from tokenprune.models import BatchInfo, SparseViT, Trace
from tokenprune.recipe import Keep

#: Images whose attention is recorded: the share's standard error is then below 0.005.
WATCHED = 1000


@dataclass(frozen=True)
class Scores:
    """Scores on a whole set: mean cross-entropy, correct images, the predicted class of each image.

    kept_relevance: label-relevant share of the patches that the model's own pruner leaves; None without a pruner and
    where relevance is not known.
    attention: share of attention on label-relevant tokens per block, of the model without its pruner, on the first
    WATCHED images; None where relevance is not known.
    """

    loss: float
    correct: int
    predictions: Int[Tensor, " images"]
    kept_relevance: float | None = None
    attention: tuple[float, ...] | None = None

    @property
    def accuracy(self) -> float:
        return self.correct / len(self.predictions)


@torch.no_grad()
def score(model: SparseViT, batches: Iterable[Batch], keep: Keep, seed: int) -> Scores:
    """Loss and accuracy of the model as it trains: with its own pruner at ratio `keep`, if it has one.

    One pass, unless there is a pruner: attention is that of the unpruned model, which is then run on its own.
    """
    losses, predictions, correct, relevance = [], [], [], []
    focus = _Focus(model)
    for batch in batches:
        info = BatchInfo(relevance=batch.relevance, labels=batch.labels, index=batch.index, seed=seed)
        if focus.wants(batch) and model.pruner is None:
            rows, logits = model.watch(batch.images)
            focus.add(rows, batch)
        else:
            trace = model.run(batch.images, keep, info)
            logits = trace.logits
            relevance.append(_kept_relevance(trace, batch))
            if focus.wants(batch):
                focus.add(model.attention_by_block(batch.images), batch)
        losses.append(F.cross_entropy(logits.float(), batch.labels, reduction="none"))
        predictions.append(logits.argmax(1))
        correct.append(predictions[-1] == batch.labels)
    loss = torch.cat(losses).cpu().double().mean().item()
    known = [share for share in relevance if share is not None]
    kept = torch.cat(known).cpu().double().mean().item() if known and len(known) == len(relevance) else None
    return Scores(loss, int(torch.cat(correct).sum()), torch.cat(predictions).cpu(), kept, focus.shares())


@torch.no_grad()
def attention_on_relevant(model: SparseViT, batches: Iterable[Batch]) -> tuple[float, ...] | None:
    """Share of class (or received) attention over patch tokens that falls on label-relevant area, per block.

    A token of which a part is relevant counts by that part, so uniform attention scores the mean relevance alpha_*.
    Mean over the first WATCHED images (Li et al., ICLR 2023, Proposition 2, whose sum is over label-relevant tokens).
    None where no image's relevance is known.
    """
    focus = _Focus(model)
    for batch in batches:
        if not focus.wants(batch):
            break
        focus.add(model.attention_by_block(batch.images), batch)
    return focus.shares()


class _Focus:
    """Attention on label-relevant area: the sum over images, up to WATCHED of them; of none without attention."""

    def __init__(self, model: SparseViT) -> None:
        self.attends = model.attends
        self.total: Float[Tensor, " l"] | None = None
        self.count = 0

    def wants(self, batch: Batch) -> bool:
        return self.attends and batch.relevance is not None and self.count < WATCHED

    def add(self, attention: Float[Tensor, "l b n"], batch: Batch) -> None:
        assert batch.relevance is not None
        few = min(len(batch.labels), WATCHED - self.count)
        shares = share_on(attention[:, :few].float(), batch.relevance[:few])
        shares = shares.to(hardware.widest(shares.device)).sum(1)
        self.total = shares if self.total is None else self.total + shares
        self.count += few

    def shares(self) -> tuple[float, ...] | None:
        return None if self.total is None else tuple((self.total / self.count).tolist())


def share_on(attention: Float[Tensor, "l b n"], relevance: Float[Tensor, "b n"]) -> Float[Tensor, "l b"]:
    """Attention-weighted mean relevance of each image at each block."""
    return (attention * relevance).sum(2) / attention.sum(2)


def _kept_relevance(trace: Trace, batch: Batch) -> Float[Tensor, " b"] | None:
    """Mean relevance of each image's patches that are left after the last pruning site."""
    if not trace.states or batch.relevance is None:
        return None
    alive = trace.states[-1].alive
    return (batch.relevance * alive).sum(1) / alive.sum(1).clamp(min=1)
