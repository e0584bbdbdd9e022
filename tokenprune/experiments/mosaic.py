"""Test images with the patches that each method removed greyed out, and what the model then sees in them.

Shapes: e images, p points (ratio by ratio), t patches, h x w pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, UInt8

from tokenprune import files
from tokenprune.claims import RunData
from tokenprune.drawing.style import GREEN, RED, Drawing, blank, render, slug
from tokenprune.drawing.table import thinned
from tokenprune.errors import TokenpruneError
from tokenprune.experiments.series import Conditions, by_method, curve_name

EXAMPLES = "examples.npz"  # in a prune's folder
_IMAGES, _RATIOS = 4, 6
_GREY = np.array([190.0, 190.0, 190.0])


@dataclass(frozen=True)
class Examples:
    """One method's examples.npz. keep_ratio: of each point that is shown, from the highest down."""

    method: str
    keep_ratio: tuple[float, ...]
    images: UInt8[np.ndarray, "e h w 3"]
    labels: Int[np.ndarray, " e"]
    kept: Bool[np.ndarray, "p e t"]
    predictions: Int[np.ndarray, "p e"]

    def same_images(self, other: "Examples") -> bool:
        return np.array_equal(self.images, other.images)


def read_examples(folder: Path, method: str, ratios: Sequence[float], seeds: Sequence[int | None]) -> Examples | None:
    """A prune's examples, the first draw of each ratio; None where none were kept.

    ratios, seeds: of the prune's points, in their order. Raises TokenpruneError if the file is damaged.
    """
    path = folder / EXAMPLES
    if not path.is_file():
        return None
    first: dict[float, int] = {}
    for row, ratio in enumerate(ratios):
        if ratio not in first or (seeds[row] or 0) < (seeds[first[ratio]] or 0):
            first[ratio] = row
    chosen = sorted(first, reverse=True)
    rows = [first[ratio] for ratio in chosen]
    try:
        arrays = files.read_arrays(path)
        if [arrays[name].ndim for name in ("images", "labels", "kept", "predictions")] != [4, 1, 3, 2]:
            raise ValueError("arrays of other shapes")
        return Examples(
            method,
            tuple(chosen),
            arrays["images"],
            arrays["labels"],
            arrays["kept"][rows].astype(bool),
            arrays["predictions"][rows],
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise TokenpruneError(f"{path}: damaged, no mosaic of it: {error}") from None


def greyed(image: UInt8[np.ndarray, "h w 3"], kept: Bool[np.ndarray, " t"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image with every patch that is not kept blended to light grey; patches are a square grid, row by row.

    Raises ValueError if so many patches do not tile the image.
    """
    side = math.isqrt(len(kept))
    height, width = image.shape[:2]
    if side * side != len(kept) or height % side or width % side:
        raise ValueError(f"{len(kept)} patches do not tile an image of {height} x {width} pixels as a square grid")
    mask = kept.reshape(side, side).repeat(height // side, axis=0).repeat(width // side, axis=1)
    faded = 0.12 * image.mean(axis=2, keepdims=True) + 0.88 * _GREY
    return np.where(mask[:, :, None], image, faded.round()).astype(np.uint8)


def mosaic(conditions: Conditions, suffix: str, runs: Sequence[RunData]) -> Drawing:
    """Pruned images of the first run, by seed, whose examples can be read. Inside `style()`.

    runs: of one depth, with examples under those conditions. Raises TokenpruneError where none of them can be read.
    """
    problems: list[str] = []
    for run in sorted(runs, key=lambda run: run.result.seed):
        try:
            examples = _examples(run, conditions)
            return replace(_mosaic(run, conditions, suffix, examples), problems=tuple(problems))
        except TokenpruneError as error:
            problems.append(str(error))
        except (ValueError, IndexError) as error:
            problems.append(f"{run.folder.path}: no mosaic: {error}")
    raise TokenpruneError("\n".join(problems))


def _examples(run: RunData, conditions: Conditions) -> list[Examples]:
    """Examples of the methods that were measured under those conditions and show the same images."""
    found: list[Examples] = []
    for path, prune in run.prunes:
        if Conditions.of(run.result, prune) == conditions:
            ratios, draws = [point.keep_ratio for point in prune.points], [point.seed for point in prune.points]
            each = read_examples(path, curve_name(prune), ratios, draws)
            if each is not None and (not found or each.same_images(found[0])):
                found.append(each)
    return sorted(found, key=lambda example: by_method(example.method))


def _mosaic(run: RunData, conditions: Conditions, suffix: str, examples: Sequence[Examples]) -> Drawing:
    """Methods down, ratios across, a block per image. Raises ValueError if patches do not tile the images."""
    classes, depth = run.result.data.classes, run.result.model.depth
    shared = sorted(set.intersection(*(set(example.keep_ratio) for example in examples)), reverse=True)
    layout = _Layout(thinned(shared, _RATIOS), len(examples), min(_IMAGES, len(examples[0].images)))
    figure = blank(layout.width * _DOTS / 160, layout.height * _DOTS / 160)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    canvas = np.zeros((layout.height, layout.width, 4), dtype=np.uint8)
    for i in range(layout.count):
        left, top = layout.corner(i)
        truth = int(examples[0].labels[i])
        ax.text(left, top + 6, classes[truth], fontsize=8.5, fontweight="bold", va="center")
        for column, ratio in enumerate(layout.ratios):
            text = f"keep {ratio:g}" if column == 0 else f"{ratio:g}"
            ax.text(left + column * _RIGHT + _SIDE / 2, top + 15, text, fontsize=7, ha="center", va="center")
        for row, example in enumerate(examples):
            y = top + _HEAD + row * _DOWN
            if left == _LABEL:
                ax.text(_LABEL - 4, y + _SIDE / 2, example.method, fontsize=8.5, ha="right", va="center")
            for column, ratio in enumerate(layout.ratios):
                point = example.keep_ratio.index(ratio)
                x = left + column * _RIGHT
                canvas[y : y + _SIDE, x : x + _SIDE, :3] = _fit(greyed(example.images[i], example.kept[point, i]))
                canvas[y : y + _SIDE, x : x + _SIDE, 3] = 255
                predicted = int(example.predictions[point, i])
                right = predicted == truth
                text = classes[predicted][:12] if right else f"× {classes[predicted][:11]}"
                color = GREEN if right else RED
                ax.text(x + _SIDE / 2, y + _SIDE + 5, text, fontsize=6.5, color=color, ha="center", va="center")
    ax.imshow(canvas, extent=(0, layout.width, layout.height, 0), interpolation="none", aspect="auto")
    ax.set_xlim(0, layout.width)
    ax.set_ylim(layout.height, 0)
    svg, png = render(figure)
    return Drawing(
        slug("mosaic", suffix, f"depth-{depth}"),
        f"What is left of test images: {run.result.name}, depth {depth}",
        f"{layout.count} test images, the patches that each method removed greyed out. The true class stands above, "
        "the predicted one below (green: right; red ×: wrong). One trained model, the first draw of a random method; "
        f"{conditions.describe()}.",
        "Test images with removed patches greyed out, methods down and keep ratios across. "
        + _say(examples, classes, layout.count),
        svg,
        png,
        conditions.family,
        conditions.site,
    )


#: Pixels of the drawing, each _DOTS dots of the PNG wide: side of an image, its steps, room for text.
_SIDE, _RIGHT, _DOWN, _HEAD, _LABEL, _GAP, _DOTS = 32, 36, 44, 22, 58, 14, 3


@dataclass(frozen=True)
class _Layout:
    """Where blocks of images stand, in pixels of the drawing."""

    ratios: Sequence[float]
    rows: int
    count: int

    @property
    def _block(self) -> tuple[int, int]:
        return _RIGHT * len(self.ratios), _HEAD + _DOWN * self.rows + 4

    @property
    def width(self) -> int:
        return _LABEL + min(self.count, 2) * (self._block[0] + _GAP)

    @property
    def height(self) -> int:
        return -(-self.count // 2) * self._block[1]

    def corner(self, image: int) -> tuple[int, int]:
        return _LABEL + image % 2 * (self._block[0] + _GAP), image // 2 * self._block[1]


def _fit(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "side side 3"]:
    """The picture at the drawing's scale, by the nearest pixel."""
    rows, columns = (np.arange(_SIDE) * length // _SIDE for length in picture.shape[:2])
    return picture[rows[:, None], columns[None, :]]


def _say(examples: Sequence[Examples], classes: Sequence[str], count: int) -> str:
    return "; ".join(
        f"{classes[int(examples[0].labels[i])]}: "
        + ", ".join(
            f"{example.method} at keep {example.keep_ratio[-1]:g} gives {classes[int(example.predictions[-1, i])]}"
            for example in examples
        )
        for i in range(count)
    )
