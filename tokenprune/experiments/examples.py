"""Test images to look at, as a prune left them in examples.npz, and what each point of its curve makes of them.

Shapes: e images, p points (ratio by ratio), s sites, t patches in a square grid, h x h pixels.
"""

import math
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Examples:
    """One method's examples. rows: of the first draw of each keep ratio, among the prune's points.

    owner: the token that each patch lives in after each site, -1 where it is gone; of older files, that do not know of
    merging, after the last site alone, each patch its own. attention, probability: as of `evaluation.examples.Seen`,
    the latter of the answer; None of older files.
    """

    method: str
    prune: PruneResult
    rows: dict[float, int]
    images: UInt8[np.ndarray, "e h h 3"]
    labels: Int[np.ndarray, " e"]
    owner: Int[np.ndarray, "p e s t"]
    predictions: Int[np.ndarray, "p e"]
    attention: Float[np.ndarray, "p e t"] | None
    probability: Float[np.ndarray, "p e"] | None

    @property
    def kept(self) -> Bool[np.ndarray, "p e t"]:
        """Patches that live in some token after the last site."""
        return self.owner[:, :, -1] >= 0


def examples_of(run: RunData, conditions: Conditions) -> list[Examples]:
    """Of the methods that were measured under those conditions and show the same images. TokenpruneError: damaged."""
    found: list[Examples] = []
    for path, prune in run.prunes:
        if Conditions.of(run.result, prune) == conditions and (path / EXAMPLES).is_file():
            each = read_examples(path / EXAMPLES, prune, len(run.result.data.classes))
            if not found or np.array_equal(each.images, found[0].images):
                found.append(each)
    return sorted(found, key=lambda example: by_method(example.method))


def read_examples(path: Path, prune: PruneResult, classes: int) -> Examples:
    """Raises TokenpruneError if the file is damaged."""
    last_draw_first = sorted(enumerate(prune.points), key=lambda each: -(each[1].seed or 0))
    rows = {point.keep_ratio: row for row, point in last_draw_first if point.keep is None}
    rows = rows or {point.keep_ratio: row for row, point in last_draw_first}
    try:
        arrays = files.read_arrays(path)
        if "owner" in arrays:
            owner, attention, probability = (arrays[name] for name in ("owner", "attention", "probability"))
        else:
            kept = arrays["kept"]
            owner, attention, probability = np.where(kept, np.arange(kept.shape[-1]), -1)[:, :, None], None, None
        found = Examples(
            curve_name(prune.method, prune.options),
            prune,
            rows,
            arrays["images"],
            arrays["labels"],
            owner.astype(np.int64),
            arrays["predictions"],
            attention,
            probability,
        )
        _check(found, classes)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise TokenpruneError(f"{path}: damaged, nothing of it is drawn: {error}") from None
    return found


def _check(found: Examples, classes: int) -> None:
    """Raises ValueError for arrays of other shapes or values than are written."""
    p, e, _, t = found.owner.shape
    h, grid = found.images.shape[1], math.isqrt(t)
    shapes: list[tuple[Any, tuple[int, ...]]] = [
        (found.images, (e, h, h, 3)),
        (found.labels, (e,)),
        (found.predictions, (p, e)),
        (found.attention, (p, e, t)),
        (found.probability, (p, e)),
    ]
    if p != len(found.prune.points) or any(each is not None and each.shape != shape for each, shape in shapes):
        raise ValueError("arrays of other shapes")
    if found.images.dtype != np.uint8 or grid * grid != t or h % grid:
        raise ValueError(f"{t} patches do not tile an image of {h} x {h} pixels as a square grid")
    inside = [(found.owner, -1, t - 1), (found.labels, 0, classes - 1), (found.predictions, 0, classes - 1)]
    inside += [(each, 0, 1) for each in (found.attention, found.probability) if each is not None]
    if any(each.size and not (each.min() >= low and each.max() <= high) for each, low, high in inside):
        raise ValueError("values out of range")
