"""Lesions: accuracy with one half-block taken out, without training again.

Park & Kim 2022 (arXiv 2202.06709), figure 10: theirs attention at the end of a stage matters most.
"""

import numpy as np

from tokenprune.measurements.subject import Subject, labels
from tokenprune.measurements.through import before_and_after, images_of, logits, walk
from tokenprune.runs import Values


def measure_run(
    subject: Subject, *, methods: object = None, keep: object = None, site: object = None, images: object = 10000
) -> dict[str, Values]:
    """Accuracy [point, lesion]: first of the whole model, then without the attention or the MLP of each block.

    methods, keep, site: prunings beside the unpruned model, as in `Subject.prunings`. images: test images.
    """
    models = before_and_after(subject, methods, keep, site)
    depth = subject.model.depth
    right, count = np.zeros((len(models), 2 * depth + 1), int), 0
    for batch in images_of(subject, images):
        count += len(batch.labels)
        for i, pruned in enumerate(models.values()):
            for cursor, state in walk(pruned, batch):
                out = {cursor} if cursor < 2 * depth else set()
                found = logits(pruned, batch, start=cursor, state=state, skip=out)
                place = cursor + 1 if out else 0
                right[i, place] += int((found.argmax(dim=1) == batch.labels).sum())
    parts = tuple(f"{part} of block {i}" for i in range(depth) for part in ("attention", "MLP"))
    axes = {"point": labels(list(models)), "lesion": {"without": ("nothing", *parts)}}
    return {"accuracy": Values(unit="share", axes=tuple(axes), values=(right / count).tolist(), labels=axes)}
