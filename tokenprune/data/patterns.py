"""The theory's data model as images (Li et al., ICLR 2023, arXiv 2302.06015, section 3).

Every patch shows one of M orthonormal patterns plus Gaussian noise. One discriminative pattern belongs to each class;
an image's label is the class whose pattern most of its tokens show.

Shapes: n images, t tokens, p pixels of a patch (3 channels), M patterns.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from tokenprune.data.imageset import ImageSet
from tokenprune.errors import UsageError
from tokenprune.recipe import Patterns

PATTERNS, TRAIN, TEST = 10, 11, 12  # random streams of data.seed
GREY = 127.5
CLIPPED_AT = 4.0  # standard deviations of a pixel; beyond lie 0.006 % of a Gaussian's
CHUNK = 1 << 23  # pixels rendered at a time


def make(spec: Patterns, seed: int) -> tuple[ImageSet, ImageSet, tuple[str, ...]]:
    """Training and test images of the same patterns, their mask the tokens that show the label's; the classes' names.

    Raises UsageError if the shares admit no strict majority, or leave tokens without a pattern to show.
    """
    counts = Counts.of(spec)
    basis = orthonormal(spec, seed)
    train = _draw(spec, counts, basis, spec.train_size, [TRAIN, seed])
    test = _draw(spec, counts, basis, spec.test_size, [TEST, seed])
    return train, test, tuple(f"pattern {label}" for label in range(spec.classes))


def orthonormal(spec: Patterns, seed: int) -> Float[np.ndarray, "M p"]:
    """M orthonormal patterns, rows; the first `classes` are discriminative. A pattern is a patch [3, side, side]."""
    gaussian = np.random.default_rng([PATTERNS, seed]).standard_normal((3 * spec.patch_size**2, spec.count))
    return np.linalg.qr(gaussian)[0].T.astype(np.float32)


@dataclass(frozen=True)
class Counts:
    """Mean number of an image's tokens that show the label's pattern and those of other classes.

    spread: the mean of the former varies from image to image, uniformly, by this much either way.
    """

    tokens: int
    relevant: float
    confusion: float
    spread: float

    @classmethod
    def of(cls, spec: Patterns) -> "Counts":
        """Raises UsageError where no strict majority is possible or a token would have no pattern to show."""
        tokens = (spec.image_size // spec.patch_size) ** 2
        # Nine digits, so that shares which add up to one leave no token over.
        relevant, confusion = round(spec.relevant * tokens, 9), round(spec.confusion * tokens, 9)
        rest = round(tokens - relevant - confusion, 9)
        if rest > 0 and spec.count == spec.classes:
            raise UsageError(
                f"data.patterns: {rest:g} of {tokens} tokens show neither the label's pattern nor another class's, "
                f"and count = classes = {spec.count} leaves no further pattern: raise count or let relevant + "
                "confusion be 1"
            )
        # Spread over the other classes, the confusion tokens must stay below the label's in every one of them.
        least = 1 + -(-int(np.ceil(confusion)) // (spec.classes - 1))
        if relevant < least:
            raise UsageError(
                f"data.patterns: relevant {spec.relevant:g} is {relevant:g} of {tokens} tokens, and confusion "
                f"{spec.confusion:g} needs at least {least} for a strict majority: raise relevant or lower confusion"
            )
        return cls(tokens, relevant, confusion, max(0.0, min(relevant / 4, relevant - least, rest)))


def _draw(spec: Patterns, counts: Counts, basis: np.ndarray, size: int, seed: list[int]) -> ImageSet:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(size) % spec.classes)
    shown, relevant = _assign(spec, counts, labels, rng)
    grid, side = spec.image_size // spec.patch_size, spec.patch_size
    images = np.empty((size, 3, spec.image_size, spec.image_size), np.uint8)
    step = max(1, CHUNK // (counts.tokens * basis.shape[1]))
    for start in range(0, size, step):
        pixels = _render(basis, shown[start : start + step], spec.noise, rng)
        tiles = pixels.reshape(-1, grid, grid, 3, side, side).transpose(0, 3, 1, 4, 2, 5)
        images[start : start + step] = tiles.reshape(-1, 3, spec.image_size, spec.image_size)
    mask = relevant.reshape(size, grid, grid).repeat(side, axis=1).repeat(side, axis=2)
    return ImageSet(torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(mask.astype(np.uint8)))


def _assign(
    spec: Patterns, counts: Counts, labels: Int[np.ndarray, " n"], rng: np.random.Generator
) -> tuple[Int[np.ndarray, "n t"], Bool[np.ndarray, "n t"]]:
    """The pattern that each token shows, and whether it is the label's.

    Both counts are rounded with the same uniform draw, so that their means are exact and, where relevant and confusion
    tokens fill an image, they fill it in every draw.
    """
    n, others = len(labels), spec.classes - 1
    rounding = rng.random(n)
    wanted = counts.relevant + counts.spread * (2 * rng.random(n) - 1)
    own = np.floor(wanted + rounding).astype(np.int64)
    ends = [own]  # where, in a random order of an image's tokens, each pattern's run of tokens ends
    left = np.floor(wanted + counts.confusion + rounding).astype(np.int64) - own
    for other in range(others):
        # Confusion tokens fill own - 1 places per other class, drawn without replacement: a strict majority remains.
        here = rng.hypergeometric(own - 1, (own - 1) * (others - 1 - other), left)
        left = left - here
        ends.append(ends[-1] + here)
    rank = rng.permuted(np.broadcast_to(np.arange(counts.tokens), (n, counts.tokens)), axis=1)
    run = np.zeros_like(rank)
    for end in ends:
        run += rank >= end[:, None]
    # Run 0 is the label's, runs 1 to classes - 1 the other classes in cyclic order, the last the irrelevant patterns.
    irrelevant = rng.integers(spec.classes, max(spec.count, spec.classes + 1), size=rank.shape)
    shown = np.where(run <= others, (labels[:, None] + run) % spec.classes, irrelevant)
    return shown, run == 0


def _render(
    basis: Float[np.ndarray, "M p"], shown: Int[np.ndarray, "n t"], noise: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "n t p"]:
    """Patterns plus noise about mid-grey; the scale depends on the recipe alone and clips next to nothing."""
    scale = GREY / (CLIPPED_AT * np.sqrt(1 + noise**2))
    pixels = rng.standard_normal((*shown.shape, basis.shape[1]), dtype=np.float32)
    pixels *= scale * noise
    pixels += (basis * (scale * np.sqrt(basis.shape[1])) + GREY).astype(np.float32)[shown]
    return np.rint(pixels, out=pixels).clip(0, 255, out=pixels).astype(np.uint8)
