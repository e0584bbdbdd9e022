"""The loss on a plane through the trained weights.

Li et al. 2018 (arXiv 1712.09913): two random directions, each filter of the norm of the model's own; as Park & Kim 2022
(arXiv 2202.06709), figure 1, with one-dimensional tensors and position codes left as they are. The L2 penalty, which
dominates such pictures, stands apart from the cross-entropy.
"""

import numpy as np
import torch
from torch import Tensor

from tokenprune.measurements.hessian import training_batches
from tokenprune.measurements.subject import Subject, labels, whole
from tokenprune.measurements.through import before_and_after
from tokenprune.runs import Values


def measure_run(
    subject: Subject,
    *,
    methods: object = None,
    keep: object = None,
    site: object = None,
    images: object = 500,
    size: object = 21,
) -> dict[str, Values]:
    """Cross-entropy [point, b, a] and half the squared weights times the decay [b, a], a and b from -1 to 1.

    At weights w + a u + b v. The cross-entropy is the mean over training images, augmented as in training; where it is
    not finite, the largest float32, which is noted. methods, keep, site: prunings beside the unpruned model, as in
    `Subject.prunings`. size: points a side.
    """
    images, size = whole("images", images), whole("size", size)
    models, vit = before_and_after(subject, methods, keep, site), subject.model.vit
    weights = dict(vit.named_parameters())
    own = {name: value.detach().clone() for name, value in weights.items()}
    first, second = directions(own, 0), directions(own, 1)
    steps = np.linspace(-1, 1, size) if size > 1 else np.zeros(1)
    losses, penalty = np.zeros((len(models), size, size)), np.zeros((size, size))
    smoothing, decay = subject.recipe.train.label_smoothing, subject.recipe.train.weight_decay
    batches = list(training_batches(subject, images, subject.recipe.evaluate.batch_size))
    count = sum(len(batch.labels) for batch in batches)
    try:
        for row, b in enumerate(steps):
            for column, a in enumerate(steps):
                for name, value in weights.items():
                    value.data = own[name] + a * first[name] + b * second[name]
                penalty[row, column] = decay / 2 * sum(float(each.double().square().sum()) for each in weights.values())
                for batch in batches:
                    for i, pruned in enumerate(models.values()):
                        loss = batch.cross_entropy(pruned(batch).logits.float(), smoothing)
                        losses[i, row, column] += float(loss) * len(batch.labels) / count
            subject.progress(row + 1, size)
    finally:
        for name, value in weights.items():
            value.data = own[name]
    finite = np.isfinite(losses)
    if not finite.all():
        subject.notes.append(f"the cross-entropy is not finite at {(~finite).sum()} points")
    places = tuple(steps.round(6).tolist())
    plane = {"b": {"b": places}, "a": {"a": places}}
    return {
        "cross-entropy": Values(
            unit="nats",
            axes=("point", "b", "a"),
            values=np.where(finite, losses, np.finfo(np.float32).max).tolist(),
            labels={"point": labels(list(models)), **plane},
        ),
        "L2": Values(unit="1", axes=("b", "a"), values=penalty.tolist(), labels=plane),
    }


def directions(weights: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Gaussian, filter by filter (rows of dimension 0) of the weights' norm; 0 for vectors and position codes."""
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for name, value in weights.items():
        random = torch.randn(value.shape, generator=draw).to(value)
        if value.ndim < 2 or "pos_embed" in name:
            random = torch.zeros_like(value)
        else:
            norms = [each.flatten(1).norm(dim=1) for each in (value, random)]
            random = random * (norms[0] / norms[1].clamp(min=1e-12)).view(-1, *[1] * (value.ndim - 1))
        found[name] = random
    return found
