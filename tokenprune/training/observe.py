"""What is measured while training: test loss and accuracy, and where attention falls.

Shapes: b images, l blocks, n patch tokens, t patches.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from tokenprune.data import Batch
from tokenprune.models import Hints, SparseViT, Trace


@dataclass(frozen=True)
class Scores:
    """Of a whole set: mean cross-entropy, how many are right, the predicted class of each image.

    kept_relevance: label-relevant share of the tokens that the model's own pruner leaves; None without a pruner, where
    relevance is not known, and where tokens are fused.
    """

    loss: float
    correct: int
    predictions: Int[Tensor, " images"]
    kept_relevance: float | None = None

    @property
    def accuracy(self) -> float:
        return self.correct / len(self.predictions)


@torch.no_grad()
def score(
    model: SparseViT, batches: Iterable[Batch], keep: float, seed: int, autocast: torch.autocast | None = None
) -> Scores:
    """Loss and accuracy of the model as it trains: with its own pruner at ratio `keep`, if it has one."""
    losses, predictions, correct, relevance = [], [], [], []
    for batch in batches:
        hints = Hints(relevance=batch.relevance, labels=batch.labels, index=batch.index, seed=seed)
        with autocast or contextlib.nullcontext():
            trace = model.run(batch.images, keep, hints)
        logits = trace.logits
        losses.append(F.cross_entropy(logits.float(), batch.labels, reduction="none"))
        predictions.append(logits.argmax(1))
        correct.append(predictions[-1] == batch.labels)
        relevance.append(_kept_relevance(trace, batch))
    loss = torch.cat(losses).double().mean().item()
    known = [share for share in relevance if share is not None]
    kept = torch.cat(known).double().mean().item() if known and len(known) == len(relevance) else None
    return Scores(loss, int(torch.cat(correct).sum()), torch.cat(predictions).cpu(), kept)


def _kept_relevance(trace: Trace, batch: Batch) -> Float[Tensor, " b"] | None:
    """Mean relevance of each image's patch tokens after the last pruning site."""
    if not trace.states or batch.relevance is None or bool((trace.states[-1].position < 0).any()):
        return None
    return batch.relevance.gather(1, trace.states[-1].position).mean(1)


@torch.no_grad()
def attention_on_relevant(model: SparseViT, batches: Iterable[Batch]) -> tuple[float, ...] | None:
    """Share of class (or received) attention over patch tokens that falls on label-relevant area, per block.

    A token of which a part is relevant counts by that part, so uniform attention scores the mean relevance alpha_*.
    Mean over images (Li et al., ICLR 2023, Proposition 2, whose sum is over label-relevant tokens). None where no
    image's relevance is known.
    """
    total: Tensor | None = None
    count = 0
    for batch in batches:
        if batch.relevance is None:
            return None
        shares = share_on(model.attention_by_block(batch.images), batch.relevance).double().sum(1)
        total = shares if total is None else total + shares
        count += len(batch.labels)
    return None if total is None else tuple((total / count).tolist())


def share_on(attention: Float[Tensor, "l b n"], relevance: Float[Tensor, "b n"]) -> Float[Tensor, "l b"]:
    """Attention-weighted mean relevance of each image at each block."""
    return (attention * relevance).sum(2) / attention.sum(2)
