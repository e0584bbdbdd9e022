"""Test images with the patches that each method removed greyed out, and what the model then sees in them.

Shapes: h x w pixels.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from tokenprune.claims import RunData
from tokenprune.drawing import plots
from tokenprune.drawing.picture import greyed
from tokenprune.drawing.style import GREEN, RED, Drawing, render, slug
from tokenprune.drawing.table import thinned
from tokenprune.errors import TokenpruneError
from tokenprune.experiments.examples import examples_of
from tokenprune.experiments.series import Curves

_IMAGES, _RATIOS = 4, 6
#: Pixels of the drawing: side of an image, and its steps, which leave room for text.
_SIDE, _RIGHT, _DOWN = 32, 36, 44


def mosaic(curves: Curves, runs: Sequence[RunData]) -> Drawing:
    """Pruned images of the first run, by seed, whose examples can be read. Inside `style()`.

    runs: of one depth, with examples under the conditions of those curves. Raises TokenpruneError where none of them
    can be read.
    """
    problems: list[str] = []
    for run in sorted(runs, key=lambda run: run.result.seed):
        try:
            return replace(_mosaic(run, curves), problems=tuple(problems))
        except TokenpruneError as error:
            problems.append(str(error))
        except (ValueError, IndexError) as error:
            problems.append(f"{run.folder.path}: no mosaic: {error}")
    raise TokenpruneError("\n".join(problems))


def _mosaic(run: RunData, curves: Curves) -> Drawing:
    """A panel per image, methods down, ratios across. Raises ValueError if patches do not tile the images."""
    conditions, classes, depth = curves.conditions, run.result.data.classes, run.result.model.depth
    examples = examples_of(run, conditions)
    ratios = thinned(sorted(set.intersection(*(set(each.rows) for each in examples)), reverse=True), _RATIOS)
    truths = examples[0].labels[:_IMAGES].tolist()
    figure, (axes,) = plots.panels([classes[truth] for truth in truths], height=0.3 + 0.6 * len(examples))
    said = []
    for i, (ax, truth) in enumerate(zip(axes, truths, strict=True)):
        canvas = np.zeros((_DOWN * len(examples), _RIGHT * len(ratios), 4), dtype=np.uint8)
        for row, example in enumerate(examples):
            for column, ratio in enumerate(ratios):
                point, x, y = example.rows[ratio], column * _RIGHT, row * _DOWN
                canvas[y : y + _SIDE, x : x + _SIDE, :3] = _fit(greyed(example.images[i], example.kept[point, i]))
                canvas[y : y + _SIDE, x : x + _SIDE, 3] = 255
                predicted = int(example.predictions[point, i])
                text, color = classes[predicted][:12], GREEN
                if predicted != truth:
                    text, color = f"× {text[:11]}", RED
                ax.text(x + _SIDE / 2, y + _SIDE + 5, text, fontsize=6.5, color=color, ha="center", va="center")
            said.append(f"{classes[truth]}: {example.method} at keep {ratios[-1]:g} gives {classes[predicted]}")
        ax.imshow(canvas, interpolation="none")
        ax.set_xticks([column * _RIGHT + _SIDE / 2 for column in range(len(ratios))], [f"keep {r:g}" for r in ratios])
        ax.set_yticks([row * _DOWN + _SIDE / 2 for row in range(len(examples))], [each.method for each in examples])
        ax.tick_params(labelsize=7)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
    svg, png = render(figure)
    return Drawing(
        slug("mosaic", curves.suffix, f"depth-{depth}"),
        f"What is left of test images: {run.result.name}, depth {depth}",
        f"{len(truths)} test images, the patches that each method removed greyed out. The true class stands above, "
        "the predicted one below (green: right; red ×: wrong). One trained model, the first draw of a random method; "
        f"{conditions.describe()}.",
        f"Test images with removed patches greyed out, methods down and keep ratios across. {'; '.join(said)}.",
        svg,
        png,
        conditions.family,
        conditions.site,
    )


def _fit(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "side side 3"]:
    """The picture at the drawing's scale, by the nearest pixel."""
    rows, columns = (np.arange(_SIDE) * length // _SIDE for length in picture.shape[:2])
    return picture[rows[:, None], columns[None, :]]
