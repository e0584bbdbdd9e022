"""Accuracy on test images with noise of one frequency added.

Park & Kim 2022 (arXiv 2202.06709), figure 3: random signs, in a square ring of the Fourier transform. Theirs ViTs fail
under noise of low frequency, CNNs under that of high frequency. Here the noise has the same power in every ring, so
that rings of different size can be compared.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tokenprune.errors import UsageError
from tokenprune.measurements.subject import Subject, labels
from tokenprune.measurements.through import before_and_after, images_of
from tokenprune.runs import Values

#: Centres of the rings, in pi, and half their width, in radians.
CENTRES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
HALF_WIDTH = 0.2


def measure_run(
    subject: Subject,
    *,
    methods: object = None,
    keep: object = None,
    site: object = None,
    images: object = 10000,
    strength: object = 0.1,
) -> dict[str, Values]:
    """Accuracy [point, noise]: first of images as they are, then with noise at .1 to .9 pi.

    methods, keep, site: prunings beside the unpruned model, as in `Subject.prunings`. images: test images. strength:
    standard deviation of the noise, in shares of a pixel's range; pixels are not cut off. Raises UsageError for other
    strengths than above 0 and at most 1.
    """
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 < strength <= 1:
        raise UsageError(f"option strength: found {strength!r}, must be above 0, at most 1")
    models = before_and_after(subject, methods, keep, site)
    right, count = np.zeros((len(models), 1 + len(CENTRES)), int), 0
    for number, batch in enumerate(images_of(subject, images)):
        count += len(batch.labels)
        std = batch.images.new_tensor(subject.dataset.std)[:, None, None]
        for place, centre in enumerate((None, *CENTRES)):
            changed = batch
            if centre is not None:
                noise = strength * ring_noise(batch.images, centre * math.pi, number) / std
                changed = type(batch)(batch.images + noise, batch.labels, batch.relevance, batch.index)
            for i, pruned in enumerate(models.values()):
                right[i, place] += int((pruned(changed).logits.argmax(dim=1) == batch.labels).sum())
    axes = {"point": labels(list(models)), "noise": {"frequency, pi": (0.0, *CENTRES)}}
    return {"accuracy": Values(unit="share", axes=tuple(axes), values=(right / count).tolist(), labels=axes)}


def ring_noise(like: Float[Tensor, "b c h h"], centre: float, seed: int) -> Float[Tensor, "b c h h"]:
    """Noise of unit variance whose frequencies lie in a square ring about `centre` radians per pixel.

    Raises UsageError where the images are so small that none does.
    """
    signs = (
        torch.randint(0, 2, like.shape, generator=torch.Generator().manual_seed(seed)).to(like.device).float() * 2 - 1
    )
    frequency = 2 * math.pi * torch.fft.fftfreq(like.shape[-1], device=like.device).abs()
    largest = torch.maximum(frequency[:, None], frequency[None, :])
    ring = (largest - centre).abs() <= HALF_WIDTH
    if not ring.any():
        raise UsageError(f"images of {like.shape[-1]} pixels have no such frequency")
    noise = torch.fft.ifft2(torch.fft.fft2(signs) * ring).real
    return noise / noise.flatten(1).std(dim=1, correction=0)[:, None, None, None]
