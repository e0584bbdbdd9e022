"""Batches of a data set: a pure function of seed, epoch and step.

Shapes: b images, h x h pixels, t patch tokens.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from tokenprune.data import augment as augmentation
from tokenprune.data.imageset import Dataset, relevance
from tokenprune.recipe import Augment

ORDER, AUGMENT = 1, 2  # random streams of run.seed


@dataclass(frozen=True)
class Batch:
    """Normalised images with their labels and relevance.

    relevance: label-relevant share of each patch token's area, of the images as augmented; None if not known.
    index: each image's place in its set.
    other, weight: where images are mixed, the target is weight * onehot(labels) + (1 - weight) * onehot(other).
    """

    images: Float[Tensor, "b 3 h h"]
    labels: Int[Tensor, " b"]
    relevance: Float[Tensor, "b t"] | None
    index: Int[Tensor, " b"]
    other: Int[Tensor, " b"] | None = None
    weight: Float[Tensor, " b"] | None = None

    def cross_entropy(self, logits: Float[Tensor, "b classes"], smoothing: float = 0.0) -> Float[Tensor, ""]:
        """Mean over images; of mixed ones the mean of both labels' by weight (Zhang et al. 2018; Yun et al. 2019)."""
        if self.other is None or self.weight is None:
            return F.cross_entropy(logits, self.labels, label_smoothing=smoothing)
        first = F.cross_entropy(logits, self.labels, reduction="none", label_smoothing=smoothing)
        second = F.cross_entropy(logits, self.other, reduction="none", label_smoothing=smoothing)
        return (self.weight * first + (1 - self.weight) * second).mean()


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Whole batches in `count` images; a single smaller one if there are too few for any."""
    return max(1, count // batch_size)


def train_batches(
    dataset: Dataset, augment: Augment, batch_size: int, patch_size: int, seed: int, epoch: int, start: int = 0
) -> Iterator[Batch]:
    """The epoch's batches from step `start` on, shuffled and augmented, on the data set's device.

    A last batch that is not full is dropped, unless it is the only one. Step s of an epoch is the same whatever
    `start` was.
    """
    train = dataset.train
    device = train.device
    normalise = Normalise(dataset)
    order = torch.from_numpy(np.random.default_rng([ORDER, seed, epoch]).permutation(len(train)))
    order, places = order.to(device), order.to(train.images.device)
    for step in range(start, steps_per_epoch(len(train), batch_size)):
        rows = slice(step * batch_size, (step + 1) * batch_size)
        index, drawn = order[rows], train.take(places[rows])
        rng = np.random.default_rng([AUGMENT, seed, epoch, step])
        draws = augmentation.draw(augment, len(index), dataset.side, rng, device)
        pixels, mask = augmentation.apply(augment, drawn.images, drawn.mask, draws)
        pixels, mask = dataset.presented(pixels, mask)
        images = augmentation.cutout(normalise(pixels), augment, draws)
        images, mask = augmentation.mix(images, mask, draws)
        labels = drawn.labels
        yield Batch(
            images,
            labels,
            None if mask is None else relevance(mask, patch_size),
            index,
            None if draws.partner is None else labels[draws.partner],
            draws.weight,
        )


def test_batches(dataset: Dataset, batch_size: int, patch_size: int) -> Iterator[Batch]:
    """The test images in their order, as they are; the last batch may be smaller."""
    test = dataset.test
    return test_batches_at(dataset, torch.arange(len(test), device=test.images.device).split(batch_size), patch_size)


def test_batches_at(dataset: Dataset, places: Iterable[Int[Tensor, " b"]], patch_size: int) -> Iterator[Batch]:
    """The test images at each of these places, as they are."""
    normalise = Normalise(dataset)
    for index in places:
        part = dataset.test.take(index)
        pixels, mask = dataset.presented(part.images, part.mask)
        shares = None if mask is None else relevance(mask, patch_size)
        yield Batch(normalise(pixels), part.labels, shares, index.to(dataset.test.device))


class Normalise:
    """uint8 pixels to float32, less the data set's mean and over its standard deviation in each channel."""

    def __init__(self, dataset: Dataset) -> None:
        device = dataset.train.device
        mean = torch.tensor(dataset.mean, dtype=torch.float64)
        std = torch.tensor(dataset.std, dtype=torch.float64)
        self.scale = (1 / (255 * std)).float().view(3, 1, 1).to(device)
        self.shift = (-mean / std).float().view(3, 1, 1).to(device)

    def __call__(self, images: UInt8[Tensor, "b 3 h h"]) -> Float[Tensor, "b 3 h h"]:
        return (images * self.scale).add_(self.shift)
