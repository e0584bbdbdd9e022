"""I6: the weights that training starts from."""

import numpy as np

from tokenprune.claims import Claim
from tokenprune.claims.published import PAPER, SPURIOUS, Published
from tokenprune.claims.starts import by_start, from_cifar100, least_against_most_noise
from tokenprune.drawing import plots
from tokenprune.drawing.style import BLUE, MUTED, Drawing
from tokenprune.experiments.arms import Compared, drawing, drawn, mean
from tokenprune.experiments.experiment import Experiment

_CURVES = (SPURIOUS["cifar100"], SPURIOUS["cifar10"])


def _starts(found: Compared) -> Drawing:
    """Accuracy by the weights that training starts from, every seed a point."""
    starts = sorted({arm.start for arm in found.arms}, key=_order)
    figure, (axes,) = plots.panels(found.titles, height=0.5 + 0.3 * len(starts))
    for ax, group in zip(axes, found.groups, strict=True):
        for arm in group.settings:
            y = starts.index(arm.start)
            seeds = [100 * value for value in arm.accuracy.values()]
            offsets = np.linspace(0.12, 0.3, len(seeds)) if len(seeds) > 1 else [0.2]
            ax.plot(seeds, [y + offset for offset in offsets], "o", color=MUTED, markersize=2.5, zorder=2.5)
            value = mean(arm)
            ax.plot([100 * value.value], [y], "D", color=BLUE, zorder=3, markersize=5, **plots.EDGE)
            if value.low is not None and value.high is not None:
                ax.hlines(y, 100 * value.low, 100 * value.high, color=BLUE, linewidth=1.4, zorder=2.8)
        ax.set_yticks(range(len(starts)), starts)
        ax.set_ylim(len(starts) - 0.4, -0.6)
    low, high = min(ax.get_xlim()[0] for ax in axes), max(ax.get_xlim()[1] for ax in axes)
    for ax in axes:
        ax.set_xlim(low, high)
    plots.label_outer(axes, "test accuracy, %", "")
    return drawing(
        "starts",
        found,
        figure,
        "Accuracy by the start of training",
        "Test accuracy by the weights that training starts from: diamonds are means, small points single seeds.",
    )


def _order(start: str) -> tuple[int, str]:
    """From scratch, from clean images, from noisier and noisier ones."""
    return (0 if start == "scratch" else 2 if start.startswith("noisy") else 1), start


EXPERIMENT = Experiment(
    "I6",
    "Where training starts",
    "starts",
    (
        Claim(
            id="start-from-cifar100-helps",
            statement="A model that starts from CIFAR-100 reaches more accuracy than one from scratch.",
            source=f"{PAPER}, Theorem 1: a smaller error sigma, delta of the start needs fewer samples",
            reads="runs from scratch and from a start on CIFAR-100",
            test="accuracy(start from CIFAR-100) - accuracy(from scratch) is above 0",
            unit="accuracy",
            find=from_cifar100,
            published=(
                Published(
                    f"at alpha_* {_CURVES[0].x[1]:g}: {_CURVES[0].y[1]:g} from CIFAR-100, "
                    f"{_CURVES[1].y[1]:g} from modified CIFAR-10",
                    "slides, read off axes",
                ),
            ),
        ),
        Claim(
            id="noisier-start-is-worse",
            statement="The noisier the images that a model starts from, the less accuracy it reaches.",
            source=f"{PAPER}, Theorem 1: a smaller error sigma, delta of the start needs fewer samples",
            reads="runs from starts on CIFAR-10 under noise",
            test="accuracy(start under least noise) - accuracy(start under most noise) is above 0",
            unit="accuracy",
            find=least_against_most_noise,
            published=(Published("Theorem 1: larger sigma, delta need more samples", "recalled"),),
        ),
    ),
    drawn(by_start, _starts),
)
