"""Test images to look at, as a prune left them in examples.npz, and what each point of its curve makes of them.

Shapes: e images, p points (ratio by ratio), s sites, t patches in a square grid, h x h pixels.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from tokenprune import files
from tokenprune.claims import RunData
from tokenprune.claims.accuracy import curve_name
from tokenprune.errors import TokenpruneError
from tokenprune.experiments.series import Conditions, by_method
from tokenprune.runs import PruneResult

EXAMPLES = "examples.npz"  # in a prune's folder
_MOST = 50_000_000  # places of patches, a hundred times what is written


@dataclass(frozen=True, eq=False)
class Examples:
    """One method's examples.

    owner: the token that each patch lives in after each site, -1 where it is gone; of older files, that do not know of
    merging, after the last site alone, each patch its own. count, attention, probability: as of
    `evaluation.examples.ExampleStates`, the last of the answer; None of older files.
    """

    method: str
    prune: PruneResult
    images: UInt8[np.ndarray, "e h h 3"]
    labels: Int[np.ndarray, " e"]
    owner: Int[np.ndarray, "p e s t"]
    predictions: Int[np.ndarray, "p e"]
    count: Int[np.ndarray, "p e s"] | None
    attention: Float[np.ndarray, "p e t"] | None
    probability: Float[np.ndarray, "p e"] | None

    @cached_property
    def points(self) -> dict[str, int]:
        """The first draw of each point, by what was asked to stay, from the most tokens to the fewest."""
        order = sorted(enumerate(self.prune.points), key=lambda each: (-each[1].realised[-1], each[1].seed or 0))
        found: dict[str, int] = {}
        for row, point in order:
            found.setdefault(point.keep or f"{point.keep_ratio:g}", row)
        return found

    @cached_property
    def rows(self) -> dict[float, int]:
        """The first draw of each keep ratio; of ratios as they came about where none was asked for."""
        first = sorted(enumerate(self.prune.points), key=lambda each: -(each[1].seed or 0))
        plain = {point.keep_ratio: row for row, point in first if point.keep is None}
        return plain if len(plain) > 1 else {point.keep_ratio: row for row, point in first}

    @property
    def kept(self) -> Bool[np.ndarray, "p e t"]:
        """Patches that live in some token after the last site."""
        return self.owner[:, :, -1] >= 0


def examples_of(run: RunData, conditions: Conditions) -> list[Examples]:
    """Examples of the methods measured under those conditions, of the same images. TokenpruneError: damaged."""
    found: list[Examples] = []
    for path, prune in run.prunes:
        if Conditions.of(run.result, prune) == conditions and (path / EXAMPLES).is_file():
            each = read_examples(path / EXAMPLES, prune, len(run.result.data.classes))
            if not found or np.array_equal(each.images, found[0].images):
                found.append(each)
    return sorted(found, key=lambda example: by_method(example.method))


def read_examples(path: Path, prune: PruneResult, classes: int) -> Examples:
    """Raises TokenpruneError if the file is damaged."""
    count = attention = probability = None
    try:
        arrays = files.read_arrays(path)
        if "owner" in arrays:
            owner, count, attention, probability = (
                arrays[name] for name in ("owner", "count", "attention", "probability")
            )
        else:
            kept = arrays["kept"]
            if kept.ndim != 3 or kept.size > _MOST:
                raise ValueError("arrays of other shapes")
            owner = np.where(kept, np.arange(kept.shape[-1]), -1)[:, :, None]
        found = Examples(
            curve_name(prune.method, prune.options),
            prune,
            arrays["images"],
            arrays["labels"],
            owner,
            arrays["predictions"],
            count,
            attention,
            probability,
        )
        _check(found, classes)
    except (OSError, ValueError, KeyError, TypeError, IndexError, ArithmeticError) as error:
        raise TokenpruneError(f"{path}: damaged, nothing of it is drawn: {error}") from None
    return found


def _check(found: Examples, classes: int) -> None:
    """Raises ValueError for arrays of other kinds, shapes or values than are written."""
    p, e, sites, t = found.owner.shape
    h, grid = found.images.shape[1], math.isqrt(t)
    arrays: list[tuple[Any, str, tuple[int, ...], int, int]] = [
        (found.images, "u", (e, h, h, 3), 0, 255),
        (found.owner, "i", (p, e, sites, t), -1, t - 1),
        (found.labels, "iu", (e,), 0, classes - 1),
        (found.predictions, "iu", (p, e), 0, classes - 1),
        (found.count, "iu", (p, e, sites), 0, t),
        (found.attention, "f", (p, e, t), 0, 1),
        (found.probability, "f", (p, e), 0, 1),
    ]
    if p != len(found.prune.points) or not e or not sites or not h or found.owner.size > _MOST:
        raise ValueError("arrays of other shapes")
    for array, kinds, shape, low, high in arrays:
        if array is None:
            continue
        if array.dtype.kind not in kinds or array.shape != shape:
            raise ValueError("arrays of other shapes or kinds")
        if not (array.min() >= low and array.max() <= high):
            raise ValueError("values out of range")
    if grid * grid != t or h % grid:
        raise ValueError(f"{t} patches do not tile an image of {h} x {h} pixels as a square grid")
