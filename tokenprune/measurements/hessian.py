"""The largest eigenvalues of the Hessian of the loss, mini-batch by mini-batch.

Park & Kim 2022 (arXiv 2202.06709), figure 4 and appendix: the top eigenvalues of many mini-batches of augmented
training images, pooled. Theirs ViTs have many negative ones, and small positive ones; convolutions few and large. Their
code for it was not released; this is Lanczos' method on Hessian-vector products (Pearlmutter 1994), fully
orthogonalised.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tokenprune.data import Batch, train_batches
from tokenprune.errors import TokenpruneError, out_of_memory
from tokenprune.measurements.subject import Pruned, Subject, labels, whole
from tokenprune.measurements.through import before_and_after
from tokenprune.models import set_attention
from tokenprune.models.attention import fused_in
from tokenprune.runs import Values

#: A Ritz value is an eigenvalue once its residual is below this share of the largest.
TOLERANCE = 1e-3


def measure_run(
    subject: Subject,
    *,
    methods: object = None,
    keep: object = None,
    site: object = None,
    images: object = None,
    batch: object = 16,
    top: object = 5,
    steps: object = 100,
) -> dict[str, Values]:
    """Eigenvalues of largest size [point, batch, rank] of the Hessian of the training loss, in the model's parameters.

    The loss is the mean cross-entropy of a mini-batch of training images, augmented and with labels smoothed as in
    training, of the model in eval mode. An L2 penalty d |w|^2 / 2 adds d to every eigenvalue, and nothing else: `decay`
    is the recipe's. Over mini-batches [point]: `below 0` the share of negative ones, `positive` the mean of the rest.

    methods, keep, site: prunings beside the unpruned model, as in `Subject.prunings`; which tokens leave is not
    differentiated. images: training images, a tenth of them by default. steps: products per mini-batch, at most; those
    that are not enough are counted in the notes. Mini-batches that memory has no room for are halved, which is noted.

    Raises UsageError for options of the wrong kind, TokenpruneError where not even one image fits.
    """
    count = len(subject.dataset.train)
    images = whole("images", max(1, count // 10) if images is None else images)
    size, top, steps = (whole(*each) for each in (("batch", batch), ("top", top), ("steps", steps)))
    models = before_and_after(subject, methods, keep, site)
    found: dict[int, list[np.ndarray]] = {}
    with exact(subject):
        while not found:
            try:
                taken = list(training_batches(subject, images, size))
                found = {i: [] for i in range(len(models))}
                short = 0
                for done, each in enumerate(taken):
                    for i, pruned in enumerate(models.values()):
                        values, enough = largest(pruned, each, subject.recipe.train.label_smoothing, top, steps)
                        found[i].append(values)
                        short += not enough
                    subject.progress(done + 1, len(taken))
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise TokenpruneError("out of memory with one image") from None
                found, size = {}, size // 2
                subject.notes.append(f"out of memory: mini-batches of {size} images")
    if short:
        subject.notes.append(
            f"{short} of {len(taken) * len(models)} spectra are not exact to {TOLERANCE:g}: more steps="
        )
    values = np.array(list(found.values()))
    axes = {"point": labels(list(models))}
    negative = (values < 0).mean(axis=(1, 2))
    positive = np.where(values > 0, values, 0).sum(axis=(1, 2)) / np.maximum(1, (values > 0).sum(axis=(1, 2)))
    return {
        "eigenvalues": Values(unit="1", axes=("point", "batch", "rank"), values=values.tolist(), labels=axes),
        "below 0": Values(unit="share", axes=("point",), values=negative.tolist(), labels=axes),
        "positive": Values(unit="1", axes=("point",), values=positive.tolist(), labels=axes),
        "decay": Values(unit="1", axes=(), values=subject.recipe.train.weight_decay),
        "images a batch": Values(unit="1", axes=(), values=size),
    }


def training_batches(subject: Subject, images: int, size: int) -> Iterator[Batch]:
    """The first mini-batches of an epoch, as training has them: whole ones, of so many images in all."""
    recipe, count = subject.recipe, min(images, len(subject.dataset.train))
    size = min(size, count)
    found = train_batches(subject.dataset, recipe.train.augment, size, subject.model.patch_size, recipe.run.seed, 0)
    return islice(found, max(1, count // size))


@contextmanager
def exact(subject: Subject) -> Iterator[None]:
    """Gradients of any order: plain attention in full precision."""
    vit, where = subject.model.vit, subject.device.type
    fused = fused_in(vit)
    set_attention(vit, fused=False)
    try:
        with torch.enable_grad(), torch.autocast(where, enabled=False):
            yield
    finally:
        set_attention(vit, fused=fused)


def largest(pruned: Pruned, batch: Batch, smoothing: float, top: int, steps: int) -> tuple[np.ndarray, bool]:
    """The `top` eigenvalues of largest size, falling by size, and whether all are exact to TOLERANCE."""
    weights = [each for each in pruned.model.vit.parameters() if each.requires_grad]
    loss = batch.cross_entropy(pruned(batch).logits, smoothing)
    slopes = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)

    def product(vector: Tensor) -> Tensor:
        pieces = vector.split([each.numel() for each in weights])
        along = sum((slope.flatten() * piece).sum() for slope, piece in zip(slopes, pieces, strict=True))
        found = torch.autograd.grad(along, weights, retain_graph=True, materialize_grads=True)
        return torch.cat([each.flatten() for each in found])

    size = sum(each.numel() for each in weights)
    start = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(weights[0].device)
    return lanczos(product, start, min(top, size), min(steps, size))


@torch.no_grad()
def lanczos(
    product: Callable[[Tensor], Tensor], start: Float[Tensor, " n"], top: int, steps: int
) -> tuple[np.ndarray, bool]:
    """Eigenvalues of largest size of a symmetric operator, falling by size, and whether all are exact to TOLERANCE.

    Golub & Van Loan 2013, section 10.1; each new vector is made orthogonal to all before it, twice.
    """
    basis: list[Tensor] = []
    diagonal: list[float] = []
    beside: list[float] = []
    vector = start / start.norm()
    values, enough = np.zeros(0), False
    for step in range(steps):
        basis.append(vector)
        with torch.enable_grad():
            new = product(vector)
        diagonal.append(float(new @ vector))
        known = torch.stack(basis)
        for _ in range(2):
            new = new - known.T @ (known @ new)
        length = float(new.norm())
        last = step + 1 == steps or length < 1e-7 * max(map(abs, diagonal))
        if last or (step + 1 >= 2 * top and (step + 1) % 5 == 0):
            values, enough = _ritz(diagonal, beside, length, top)
            if last or enough:
                break
        beside.append(length)
        vector = new / length
    return np.pad(values, (0, max(0, top - len(values)))), enough


def _ritz(diagonal: Sequence[float], beside: Sequence[float], length: float, top: int) -> tuple[np.ndarray, bool]:
    """Ritz values of the tridiagonal matrix; the residual of one is `length` times its vector's last entry."""
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    order = np.argsort(-np.abs(values), kind="stable")[:top]
    residuals = length * np.abs(vectors[-1, order])
    return values[order], len(order) == top and bool((residuals <= TOLERANCE * np.abs(values[order[0]])).all())
