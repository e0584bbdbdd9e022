"""I10: attention to positions alone, and images whose tiles are moved."""

from tokenprune.claims import Claim
from tokenprune.claims.positional import (
    attention_of,
    by_attention,
    positional_against_content,
    shuffled_against_whole,
    tiles_of,
)
from tokenprune.claims.published import Published
from tokenprune.claims.study import TrainedStudy
from tokenprune.drawing import plots
from tokenprune.drawing.style import BLUE, RED, Drawing
from tokenprune.experiments.arms import Compared, drawing, drawn, mean
from tokenprune.experiments.experiment import Experiment

_PAPER = "Jelassi, Sander & Li 2022 (arXiv 2210.09221)"
_LOOKS = {"content": (BLUE, "o", "-"), "positional": (RED, "D", (0, (4, 1.5)))}


def _accuracies(found: Compared) -> Drawing:
    """Accuracy over tiles moved, a line for each kind of attention, a panel per depth."""
    sizes = sorted({tiles_of(arm) or 1 for arm in found.arms})
    figure, (axes,) = plots.panels(found.titles, [(*look, kind) for kind, look in _LOOKS.items()], height=2.4)
    for ax, group in zip(axes, found.groups, strict=True):
        for kind, look in _LOOKS.items():
            arms = sorted((arm for arm in group.settings if attention_of(arm) == kind), key=_tiles)
            plots.line(ax, [sizes.index(_tiles(arm)) for arm in arms], [mean(arm) for arm in arms], look, spread="bars")
        ax.set_xticks(range(len(sizes)), ["as they are" if size == 1 else f"{size} x {size}" for size in sizes])
    plots.label_outer(axes, "tiles moved", "test accuracy, %")
    return drawing(
        "positional",
        found,
        figure,
        "Attention to content and to positions",
        "Test accuracy of models whose queries and keys are made of tokens (content) or of position codes alone "
        "(positional), on images as they are and with tiles moved by one permutation of all images.",
    )


def _tiles(arm: TrainedStudy) -> int:
    return tiles_of(arm) or 1


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
    ),
    drawn(by_attention, _accuracies),
)
