"""I10: attention to positions alone, images whose tiles are moved, and what position codes know of neighbours."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tokenprune.claims import Claim, Verdict
from tokenprune.claims.measured import Missing, select
from tokenprune.claims.positional import (
    ASSOCIATION,
    above_chance,
    association,
    by_attention,
    kind_of,
    positional_against_content,
    shuffled_against_whole,
    tiles_of,
)
from tokenprune.claims.published import Published
from tokenprune.claims.readings import by_seed
from tokenprune.claims.study import TrainedStudy
from tokenprune.drawing import plots
from tokenprune.drawing.style import BLUE, GREEN, RED, Drawing
from tokenprune.experiments.arms import Compared, drawing, drawn, mean
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.measured import names, picture, shown
from tokenprune.runs import MeasureResult

_PAPER = "Jelassi, Sander & Li 2022 (arXiv 2210.09221)"
_LOOKS = {"content": (BLUE, "o", "-"), "positional": (RED, "D", (0, (4, 1.5))), "convolution": (GREEN, "s", "-")}


def _accuracies(found: Compared) -> Drawing:
    """Accuracy over tiles moved, a line for each kind of attention, a panel per depth."""
    sizes = sorted({tiles_of(arm) or 1 for arm in found.arms})
    looks = {kind: look for kind, look in _LOOKS.items() if any(kind_of(arm) == kind for arm in found.arms)}
    figure, (axes,) = plots.panels(found.titles, [(*look, kind) for kind, look in looks.items()], height=2.4)
    for ax, group in zip(axes, found.groups, strict=True):
        for kind, look in looks.items():
            arms = sorted((arm for arm in group.settings if kind_of(arm) == kind), key=_tiles)
            plots.line(ax, [sizes.index(_tiles(arm)) for arm in arms], [mean(arm) for arm in arms], look, spread="bars")
        ax.set_xticks(range(len(sizes)), ["as they are" if size == 1 else f"{size} x {size}" for size in sizes])
    plots.label_outer(axes, "tiles moved", "test accuracy, %")
    return drawing(
        "positional",
        found,
        figure,
        "Attention to content and to positions",
        "Test accuracy of models whose queries and keys are made of tokens (content) or of position codes alone "
        "(positional), or of a convolutional network, on images as they are and with tiles moved by one permutation of "
        "all images.",
    )


def _tiles(arm: TrainedStudy) -> int:
    return tiles_of(arm) or 1


def _figures(studies: Sequence[TrainedStudy], verdicts: Sequence[Verdict]) -> list[Figure]:
    figures = list(drawn(by_attention, _accuracies)(studies, verdicts))
    return figures + [partial(_association, group) for group in shown(studies, ASSOCIATION, _products)]


def _association(studies: Sequence[TrainedStudy]) -> Drawing:
    """Inner products of nine patches' codes with all others, each as a picture of the grid, a panel per setting."""
    figure, (axes,) = plots.panels(names(studies), height=2.9)
    said = []
    for ax, study, name in zip(axes, studies, names(studies), strict=True):
        found = list(by_seed(study, ASSOCIATION, _products).values())
        products = np.mean([each for each in found if each.shape == found[0].shape], axis=0)
        side = round(len(products) ** 0.5)
        at = sorted({round((side - 1) * share) for share in (0.2, 0.5, 0.8)})
        gap = np.full((side, 1), np.nan)
        rows = []
        for down in at:
            row = np.hstack([each for right in at for each in (_others(products, down * side + right), gap)][:-1])
            rows += [row, np.full((1, row.shape[1]), np.nan)]
        ax.imshow(np.vstack(rows[:-1]), cmap="viridis", interpolation="nearest")
        ax.set_axis_off()
        values = list(by_seed(study, ASSOCIATION, above_chance).values())
        said += [f"{name}: overlap {np.mean(values):+.3f} above chance."] if values else []
    return picture(
        "association",
        "What position codes know of neighbours",
        "Inner products of the position codes of nine patches with those of all others, each drawn as the grid, the "
        "larger the lighter, mean over seeds; the patch itself is left out. Where tiles are moved, patches stand where "
        "they were.",
        " ".join(said),
        figure,
        studies,
        ASSOCIATION,
        _products,
        bars=False,
    )


def _products(result: MeasureResult) -> np.ndarray:
    """[patch, other] of a square grid. Raises Missing."""
    found = select(result, "inner product").along("patch", "other")
    if found.shape[0] != found.shape[1] or round(len(found) ** 0.5) ** 2 != len(found):
        raise Missing("its patches are no square grid")
    return found


def _others(products: np.ndarray, patch: int) -> np.ndarray:
    """The products of one patch with all others, as the grid."""
    side = round(len(products) ** 0.5)
    row = products[patch].copy()
    row[patch] = np.nan
    return row.reshape(side, side)


EXPERIMENT = Experiment(
    "I10",
    "Content or position",
    "positional",
    (
        Claim(
            id="positional-attention-is-enough",
            statement="Attention that knows positions alone classifies as well as attention to content.",
            source=f"{_PAPER}, section 5",
            reads="runs with model.attention content and positional, without a pruner",
            test="accuracy(positional) - accuracy(content) is above -0.01, a point",
            unit="accuracy",
            find=positional_against_content,
            support=(-0.01, None),
            published=(
                Published(
                    "CIFAR-10 90.5 positional, 90.2 content; CIFAR-100 67.95 and 68.0; 300 epochs, 7 layers",
                    "read off axes",
                ),
            ),
        ),
        Claim(
            id="moved-tiles-cost-nothing",
            statement="A ViT learns as well from images whose tiles are moved, all alike.",
            source=f"{_PAPER}, section 5",
            reads="runs with and without data.shuffle, without a pruner",
            test="accuracy(tiles moved) - accuracy(images as they are) is above -0.01, for each number of tiles",
            unit="accuracy",
            find=shuffled_against_whole,
            support=(-0.01, None),
            published=(
                Published(
                    "CIFAR-100, grids of 2 to 32: ViT (patch 2) 63.7 throughout; ResNet 57.3 to 79.8", "read off axes"
                ),
            ),
        ),
        Claim(
            id="moved-tiles-cost-convolutions",
            statement="A convolutional network learns worse from images whose tiles are moved.",
            source=f"{_PAPER}, section 5",
            reads="runs of model.stages with and without data.shuffle",
            test="accuracy(tiles moved) - accuracy(images as they are) is at most -0.01, for each number of tiles",
            unit="accuracy",
            find=partial(shuffled_against_whole, kinds=("convolution",)),
            support=(None, -0.01),
            published=(
                Published(
                    "CIFAR-100, grids of 2, 4, 8, 16, 32 (as we read them, pixels a side of a tile): ResNet 57.3, 66, "
                    "73, 78.3, 79.8; VGG 46.7, 57, 66.5, 73, 76",
                    "read off axes",
                ),
            ),
        ),
        Claim(
            id="neighbours-have-like-codes",
            statement="A ViT learns position codes that are alike where patches lie side by side.",
            source=f"{_PAPER}, definition 2.2, neighbours in the grid standing for the sets",
            reads="measurement association of runs without a pruner",
            test="mean share of a patch's C neighbours (up to eight) that are among the C patches whose codes have the "
            "largest inner product with its own, less that share for random codes, is above 0",
            unit="share of neighbours",
            find=association,
            measurement=ASSOCIATION,
            published=(Published("rows of P^T P are localised on CIFAR-100 (figure, no numbers)", "read off axes"),),
        ),
    ),
    _figures,
)
