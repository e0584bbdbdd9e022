"""Attention on label-relevant tokens, as training records it after each epoch, for the finished model."""

from collections.abc import Iterator

from tokenprune.data import Batch
from tokenprune.errors import UsageError
from tokenprune.models import SparseViT
from tokenprune.runs import Values
from tokenprune.training import attention_on_relevant


def measure(model: SparseViT, batches: Iterator[Batch]) -> dict[str, Values]:
    """Share of attention over patch tokens on label-relevant area, per block (see training.observe)."""
    if not model.attends:
        raise UsageError("measurement 'attention': not for a convolutional network")
    shares = attention_on_relevant(model, batches)
    if shares is None:
        raise UsageError("measurement 'attention': this data set does not say what is label-relevant")
    return {"on relevant": Values(unit="share", axes=("block",), values=shares)}
