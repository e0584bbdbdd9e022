"""Variance of feature maps over the picture, half-block by half-block.

Park & Kim 2022 (arXiv 2202.06709), figure 9: over patches, mean over images and channels. Theirs attention lowers it,
convolutions and MLPs raise it.
"""

import numpy as np

from tokenprune.measurements.subject import Subject, labels
from tokenprune.measurements.through import before_and_after, half_blocks, images_of, walk
from tokenprune.pruners.base import TokenState
from tokenprune.runs import Values


def measure_run(
    subject: Subject, *, methods: object = None, keep: object = None, site: object = None, images: object = 1000
) -> dict[str, Values]:
    """Variance over the patch tokens present [point, half-block], in squared units of the features; prefix left out.

    methods, keep, site: prunings beside the unpruned model, as in `Subject.prunings`. images: test images.
    """
    models = before_and_after(subject, methods, keep, site)
    total, count = np.zeros((len(models), 2 * subject.model.depth + 1)), 0
    for batch in images_of(subject, images, "variance"):
        count += len(batch.labels)
        for i, pruned in enumerate(models.values()):
            for cursor, state in walk(pruned, batch):
                total[i, cursor] += spread(state)
    axes = {"point": labels(list(models)), "half-block": half_blocks(subject.model.depth)}
    return {"variance": Values(unit="1", axes=tuple(axes), values=(total / count).tolist(), labels=axes)}


def spread(state: TokenState) -> float:
    """Variance over the patch tokens of each image, padding left out: mean over channels, sum over images."""
    tokens, there = state.patches.float(), (state.weights > 0).float()[:, :, None]
    count = there.sum(dim=1, keepdim=True)
    mean = (tokens * there).sum(dim=1, keepdim=True) / count
    return float(((tokens - mean).square() * there / count).sum(dim=1).mean(dim=1).sum())
