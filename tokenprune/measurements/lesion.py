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

    Of a convolutional network, without one block; what its shortcut changes is still changed.

    methods, keep, site: prunings beside the unpruned model, as in `Subject.prunings`. images: test images.
    """
    models = before_and_after(subject, methods, keep, site)
    parts, per_block = subject.model.parts, subject.model.per_block
    right, count = np.zeros((len(models), len(parts)), int), 0
    for batch in images_of(subject, images):
        count += len(batch.labels)
        for i, pruned in enumerate(models.values()):
            for cursor, state in walk(pruned, batch):
                out = {cursor} if cursor < len(parts) - 1 else set()
                found = logits(pruned, batch, start=cursor, state=state, skip=out)
                place = cursor + 1 if out else 0
                right[i, place] += int((found.argmax(dim=1) == batch.labels).sum())
    names = tuple(f"{part} of block {i // per_block}" for i, part in enumerate(parts[1:]))
    axes = {"point": labels(list(models)), "lesion": {"without": ("nothing", *names)}}
    return {"accuracy": Values(unit="share", axes=tuple(axes), values=(right / count).tolist(), labels=axes)}
