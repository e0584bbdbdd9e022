"""Fourier analysis of feature maps: how much of them is of high frequency, half-block by half-block.

Park & Kim 2022 (arXiv 2202.06709), figure 2 and 8: log amplitude of the two-dimensional transform, along its diagonal,
relative to frequency 0, mean over images and channels. Theirs attention lowers high frequencies, MLPs raise them.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tokenprune.measurements.subject import Subject, labels
from tokenprune.measurements.through import before_and_after, half_blocks, images_of, on_grid, square, walk
from tokenprune.runs import Values

#: Added to amplitudes before their logarithm.
LEAST = 1e-6


def measure_run(
    subject: Subject, *, methods: object = None, keep: object = None, site: object = None, images: object = 1000
) -> dict[str, Values]:
    """Log amplitude [point, half-block, frequency], frequencies from 0 to pi, less that at 0; prefix tokens left out.

    methods, keep, site: prunings beside the unpruned model, as in `Subject.prunings`. A pruned patch has the feature of
    the token it lives in, one that is gone the mean of those left. images: test images.
    """
    side = square(subject.model)
    models = before_and_after(subject, methods, keep, site)
    total = np.zeros((len(models), 2 * subject.model.depth + 1, side // 2 + 1))
    count = 0
    for batch in images_of(subject, images):
        count += len(batch.labels)
        for i, pruned in enumerate(models.values()):
            for cursor, state in walk(pruned, batch):
                total[i, cursor] += diagonal(on_grid(state), side).sum(dim=0).double().cpu().numpy()
    axes = {
        "point": labels(list(models)),
        "half-block": half_blocks(subject.model.depth),
        "frequency": {"frequency, pi": tuple(2 * k / side for k in range(side // 2 + 1))},
    }
    found = (total - total[:, :, :1]) / count
    return {"log amplitude": Values(unit="1", axes=tuple(axes), values=found.tolist(), labels=axes)}


def diagonal(features: Float[Tensor, "b t c"], side: int) -> Float[Tensor, "b f"]:
    """log(|F| + LEAST) at (0, 0), (1, 1), .. of the transform over the grid, mean over channels."""
    maps = features.float().mT.unflatten(2, (side, side))
    k = torch.arange(side // 2 + 1, device=features.device)
    return (torch.fft.fft2(maps)[:, :, k, k].abs() + LEAST).log().mean(dim=1)
