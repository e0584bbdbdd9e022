"""A model before and after pruning, half-block by half-block: what several measurements walk through.

Shapes: b images, n patch tokens present, t patches of an image, c channels.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tokenprune.data import Batch
from tokenprune.errors import UsageError
from tokenprune.measurements.subject import Pruned, Pruning, Subject, labels, whole
from tokenprune.models import BatchInfo, SparseViT
from tokenprune.pruners.base import TokenState
from tokenprune.runs import Values


def before_and_after(subject: Subject, methods: object, keep: object, site: object) -> dict[Pruning | None, Pruned]:
    """The unpruned model (None) and, where any of the options is given, the prunings of `Subject.prunings`."""
    asked = subject.prunings(methods, keep, site) if (methods, keep, site) != (None, None, None) else []
    found: dict[Pruning | None, Pruned] = {None: subject.unpruned()}
    return found | {each: subject.pruned(each) for each in asked}


def walk(
    pruned: Pruned, batch: Batch, start: int = 0, state: TokenState | None = None, skip: Collection[int] = ()
) -> Iterator[tuple[int, TokenState]]:
    """(cursor, state) at every half-block from `start` to the end: what enters it, tokens of its site removed.

    Cursors are those of `SparseViT.advance`. state: at `start`, its site already passed; None: of the images at 0.
    skip: half-blocks that add nothing.
    """
    model = pruned.model
    left = dict(zip(model.schedule.cursors, model.counts(pruned.keep), strict=True)) if model.pruner else {}
    info = BatchInfo(batch.relevance, batch.labels, batch.index, pruned.seed)
    fresh = state is None
    state = model.embed(batch.images) if state is None else state
    end = len(model.parts) - 1
    for cursor in range(start, end + 1):
        if cursor in left and (fresh or cursor > start):
            state = model.reduce_at(state, cursor, min(left[cursor], state.count), info)
        yield cursor, state
        if cursor < end:
            state = model.advance(state, cursor, cursor + 1, skip)


def logits(pruned: Pruned, batch: Batch, **options: Any) -> Float[Tensor, "b classes"]:
    """As the walk ends. options: of `walk`."""
    *_, (_, state) = walk(pruned, batch, **options)
    model = pruned.model
    return model.head(state if model.pruner is None else model.pruner.finish(state))


def by_half_block(
    subject: Subject,
    quantity: Callable[[TokenState], float],
    *,
    unit: str,
    methods: object,
    keep: object,
    site: object,
    images: object,
) -> Values:
    """A number per image and half-block, mean over images: [point, half-block].

    quantity: its sum over the images of a state. The others are options of the measurement.
    """
    models = before_and_after(subject, methods, keep, site)
    total, count = np.zeros((len(models), len(subject.model.parts))), 0
    for batch in images_of(subject, images):
        count += len(batch.labels)
        for i, pruned in enumerate(models.values()):
            for cursor, state in walk(pruned, batch):
                total[i, cursor] += quantity(state)
    axes = {"point": labels(list(models)), "half-block": half_blocks(subject.model)}
    return Values(unit=unit, axes=tuple(axes), values=(total / count).tolist(), labels=axes)


def on_grid(state: TokenState) -> Float[Tensor, "b t c"]:
    """A feature for every patch of an image: that of the token it lives in.

    A patch that is gone has the mean of those that are left, so that its absence adds nothing but its border.
    """
    index = state.owner.clamp(min=0)[:, :, None].expand(-1, -1, state.tokens.shape[2])
    found, alive = state.patches.float().gather(1, index), state.alive[:, :, None]
    mean = (found * alive).sum(dim=1, keepdim=True) / alive.sum(dim=1, keepdim=True).clamp(min=1)
    return found.where(alive, mean)


def square(model: SparseViT) -> int:
    """Side of the patch grid, or of the first maps. Raises UsageError where it is no square."""
    height, width = model.vit.patch_embed.grid_size
    if height != width:
        raise UsageError(f"this measurement is for a square grid of patches, not {height} x {width}")
    return height


def half_blocks(model: SparseViT) -> dict[str, tuple[str | int | float, ...]]:
    """Labels of an axis of cursors: in blocks, x.5 between attention and MLP, and what made the features there.

    A convolutional network's blocks are not halved.
    """
    return {"block": tuple(i / model.per_block for i in range(len(model.parts))), "after": model.parts}


def images_of(subject: Subject, count: object) -> Iterator[Batch]:
    """The first `count` test images, in the order of a fixed draw; all where there are fewer."""
    wanted = whole("images", count)
    total = len(subject.dataset.test)
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))[:wanted]
    return subject.batches_at(order.split(subject.recipe.evaluate.batch_size))
