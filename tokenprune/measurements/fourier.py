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
    the token it lives in, one that is gone the mean of those left. images: test images. Where maps are of several
    sizes, the frequencies are those that all have.
    """
    least = square(subject.model)
    models = before_and_after(subject, methods, keep, site)
    total: dict[tuple[int, int], np.ndarray] = {}
    count = 0
    for batch in images_of(subject, images):
        count += len(batch.labels)
        for i, pruned in enumerate(models.values()):
            for cursor, state in walk(pruned, batch):
                features = on_grid(state)
                side = round(features.shape[1] ** 0.5)
                found = diagonal(features, side).sum(dim=0).double().cpu().numpy()
                total[i, cursor], least = total.get((i, cursor), 0) + found, min(least, side)
    common = [each[:: max(1, (len(each) - 1) // max(1, least // 2))][: least // 2 + 1] for each in total.values()]
    amplitude = np.array(common).reshape(len(models), len(subject.model.parts), -1) / count
    axes = {
        "point": labels(list(models)),
        "half-block": half_blocks(subject.model),
        "frequency": {"frequency, pi": tuple(2 * k / least for k in range(least // 2 + 1))},
    }
    values = (amplitude - amplitude[:, :, :1]).tolist()
    return {"log amplitude": Values(unit="1", axes=tuple(axes), values=values, labels=axes)}


def diagonal(features: Float[Tensor, "b t c"], side: int) -> Float[Tensor, "b f"]:
    """log(|F| + LEAST) at (0, 0), (1, 1), .. of the transform over the grid, mean over channels."""
    maps = features.float().mT.unflatten(2, (side, side))
    k = torch.arange(side // 2 + 1, device=features.device)
    return (torch.fft.fft2(maps)[:, :, k, k].abs() + LEAST).log().mean(dim=1)
