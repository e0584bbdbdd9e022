"""Tokens of a frozen backbone for the heads: computed once, few and narrow, kept in a file where one is named.

Shapes: n images, t patches, c channels of the model, s tokens, d channels.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from timm.models import VisionTransformer
from torch import Tensor

from tokenprune.data import Batch, Dataset, test_batches
from tokenprune.errors import TokenpruneError
from tokenprune.models import SparseViT
from tokenprune.runs import atomic


@dataclass(frozen=True)
class Features:
    """Pooled tokens of both sets with their labels, and the map that they were projected by.

    mean [c], basis [c, d]: of `project`, which is for any patch tokens of the same model at that cursor.
    """

    train: Float[Tensor, "n s d"]
    train_labels: Int[Tensor, " n"]
    test: Float[Tensor, "m s d"]
    test_labels: Int[Tensor, " m"]
    mean: Float[Tensor, " c"]
    basis: Float[Tensor, "c d"]

    def project(self, tokens: Float[Tensor, "b t c"]) -> Float[Tensor, "b t d"]:
        """Patch tokens as the heads see them, none of them pooled."""
        with torch.autocast(tokens.device.type, enabled=False):
            return (tokens - self.mean) @ self.basis


def patch_tokens(model: SparseViT, batch: Batch, cursor: int) -> Float[Tensor, "b t c"]:
    """All patch tokens at a cursor; at the end after the final norm. No prefix tokens."""
    found = model.features(batch.images, cursor)
    if cursor == 2 * model.depth:
        found = cast(Any, model.vit.norm)(found)
    return found[:, model.prefix :].float()


def pooled(tokens: Float[Tensor, "b t c"], grid: tuple[int, int], side: int) -> Float[Tensor, "b s c"]:
    """Means of the patch tokens over a grid of `side` x `side`."""
    plane = tokens.mT.unflatten(2, grid)
    return F.adaptive_avg_pool2d(plane, side).flatten(2).mT


def compute(
    model: SparseViT,
    dataset: Dataset,
    *,
    cursor: int,
    side: int,
    dim: int,
    batch_size: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Features:
    """Features of all training and test images, as they are.

    The principal components of the pooled training tokens, as many as `dim`, scaled by one number so that a token's
    mean squared norm is 1.
    """
    total, done, parts = len(dataset.train) + len(dataset.test), 0, []
    for images in (dataset.train, dataset.test):
        tokens, labels = [], []
        for batch in test_batches(replace(dataset, test=images), batch_size, model.patch_size):
            tokens.append(pooled(patch_tokens(model, batch, cursor), model.shape.grid, side))
            labels.append(batch.labels)
            done += len(batch.labels)
            progress(done, total)
        parts.append((torch.cat(tokens), torch.cat(labels)))
    (train, train_labels), (test, test_labels) = parts
    mean, basis = principal(train.flatten(0, 1), dim)
    found = Features(train, train_labels, test, test_labels, mean, basis)
    return replace(found, train=found.project(train), test=found.project(test))


def principal(rows: Float[Tensor, "n c"], dim: int) -> tuple[Float[Tensor, " c"], Float[Tensor, "c d"]]:
    """Mean and principal components, by falling variance, over the root of the variance that these have in all.

    In float64, on the CPU.
    """
    mean = rows.mean(dim=0)
    covariance = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for part in rows.split(2**16):
        away = (part - mean).double().cpu()
        covariance += away.mT @ away
    values, vectors = torch.linalg.eigh(covariance / len(rows))
    taken = vectors.flip(1)[:, :dim] * vectors.flip(1)[:, :dim].sum(0).sign()  # eigenvectors have no sign of their own
    return mean, (taken / values.flip(0)[:dim].sum().clamp(min=1e-30).sqrt()).to(rows)


def identity(vit: VisionTransformer, dataset: Dataset, **sizes: Any) -> dict[str, Any]:
    """What features depend on: the weights, the images, and how they were made."""
    made = hashlib.sha256()
    for name, value in sorted(vit.state_dict().items()):
        made.update(name.encode())
        made.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return {
        "model": made.hexdigest(),
        "images": dataset.provenance.get("sha256"),
        "count": [len(dataset.train), len(dataset.test)],
        **sizes,
    }


def write(path: Path, found: Features, known: dict[str, Any]) -> None:
    """Raises OSError."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in vars(found).items()}
    atomic.write_bytes(path, save(tensors, {"features": json.dumps(known)}))


def read(path: Path, known: dict[str, Any], device: torch.device) -> Features:
    """Raises TokenpruneError for a file that is damaged, or of another model, other images or sizes."""
    try:
        with safe_open(path, "pt") as file:
            written = json.loads((file.metadata() or {})["features"])
            tensors = {name: file.get_tensor(name) for name in Features.__dataclass_fields__}
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise TokenpruneError(f"{path}: cannot be read as features ({type(error).__name__}); remove it") from None
    wrong = [key for key in known if not isinstance(written, dict) or written.get(key) != known[key]]
    if wrong:
        raise TokenpruneError(f"{path}: features of another {wrong[0]}; remove it, or name another file")
    (n, m), s, d = known["count"], known["side"] ** 2, tensors["basis"].shape[-1]
    shapes = {"train": (n, s, d), "train_labels": (n,), "test": (m, s, d), "test_labels": (m,)}
    if any(tuple(tensors[name].shape) != shape or not tensors[name].isfinite().all() for name, shape in shapes.items()):
        raise TokenpruneError(f"{path}: damaged features; remove it")
    return Features(**{name: value.to(device) for name, value in tensors.items()})


def side_of(tokens: int) -> int | None:
    """Side of a square grid of so many; None where there is none."""
    side = math.isqrt(tokens)
    return side if side * side == tokens else None
