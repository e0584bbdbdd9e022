"""I13: how flat the loss is, and how convex."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tokenprune.claims import Claim, Verdict
from tokenprune.claims.flatness import HESSIAN, flatter_than_cnn, more_data, more_negative_than_cnn, smoothed
from tokenprune.claims.measured import Missing, select
from tokenprune.claims.published import PARK, Published
from tokenprune.claims.readings import by_seed
from tokenprune.claims.study import TrainedStudy
from tokenprune.drawing import plots
from tokenprune.drawing.style import BLUE, INK, RED, Drawing
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.measured import names, picture, shown
from tokenprune.runs import MeasureResult

LANDSCAPE = "landscape"
_CONTOURS = 12


def _figures(studies: Sequence[TrainedStudy], verdicts: Sequence[Verdict]) -> list[Figure]:
    figures: list[Figure] = [partial(spectra, group) for group in shown(studies, HESSIAN, spectrum)]
    return figures + [partial(_planes, group) for group in shown(studies, LANDSCAPE, _plane)]


def spectra(studies: Sequence[TrainedStudy], titles: Sequence[str] | None = None, name: str = "eigenvalues") -> Drawing:
    """Eigenvalues of all mini-batches and seeds of each setting, pooled; the negative ones shaded."""
    pools = [np.concatenate([each.ravel() for each in by_seed(study, HESSIAN, spectrum).values()]) for study in studies]
    titles = titles or names(studies)
    batches = {words for study in studies for words in by_seed(study, HESSIAN, _batches).values()}
    figure, (axes,) = plots.panels(titles, height=1.8)
    low, high = np.quantile(np.concatenate(pools), [0.005, 0.995])
    edges = np.linspace(min(low, 0.0), max(high, 0.0), 41)
    edges = np.sort(np.append(edges, 0.0)) if edges[0] < 0 < edges[-1] else edges  # no bar on both sides of 0
    said = []
    for ax, pool, title in zip(axes, pools, titles, strict=True):
        density, _ = np.histogram(pool, edges, weights=np.full(len(pool), 1 / len(pool)))
        widths = np.maximum(np.diff(edges), 1e-300)
        colors = [RED if edge < 0 else BLUE for edge in edges[:-1]]
        ax.bar(edges[:-1], 100 * density, widths, align="edge", color=colors, linewidth=0)
        ax.axvline(0, color=INK, linewidth=0.8)
        below, above = float((pool < 0).mean()), pool[pool > 0]
        words = f"{below:.0%} below 0"
        words += f"\nmean above 0: {above.mean():.3g}" if len(above) else ""
        ax.text(0.97, 0.94, words, transform=ax.transAxes, ha="right", va="top", fontsize=8)
        said.append(f"{title}: {words.replace(chr(10), ', ')}.")
    axes[0].set_ylim(0, 1.35 * axes[0].get_ylim()[1])  # room for the words
    plots.label_outer(axes, "eigenvalue", "share of eigenvalues, %")
    return picture(
        name,
        "Largest eigenvalues of the Hessian",
        "The largest eigenvalues by size of every mini-batch of training images, all batches and seeds pooled, of the "
        "cross-entropy alone (an L2 penalty adds its factor to each); negative ones red. The outermost hundredth is "
        f"not shown. Of each seed: {' or '.join(sorted(batches)) or 'of unknown size'}.",
        " ".join(said),
        figure,
        studies,
        HESSIAN,
        spectrum,
        bars=False,
    )


def spectrum(result: MeasureResult) -> np.ndarray:
    """[batch, rank] of the unpruned model. Raises Missing."""
    return select(result, "eigenvalues", method="none").values


def _batches(result: MeasureResult) -> str:
    """How many mini-batches, of how many images. Raises Missing."""
    size = select(result, "images a batch").number
    return f"{len(spectrum(result))} mini-batches of {size:g} images"


def _planes(studies: Sequence[TrainedStudy]) -> Drawing:
    """Cross-entropy above, L2 penalty below, on a plane through the weights of one seed of each setting."""
    figure, stack = plots.panels(names(studies), stacked=2, height=2.3)
    said = []
    found = [next(iter(by_seed(study, LANDSCAPE, _plane).items())) for study in studies]
    losses = np.concatenate([loss.ravel() for _, (_, loss, _) in found])
    levels = np.geomspace(max(losses.min(), 1e-6), max(np.quantile(losses, 0.95), 1e-6), _CONTOURS)
    for above, below, (seed, (steps, loss, penalty)), name in zip(*stack, found, names(studies), strict=True):
        _contours(above, steps, loss, levels)
        _contours(below, steps, penalty, np.linspace(penalty.min(), penalty.max(), _CONTOURS))
        middle = loss[len(steps) // 2, len(steps) // 2]
        said.append(f"{name}, seed {seed}: cross-entropy {middle:.3g} in the middle, {loss.mean():.3g} on average.")
    plots.label_outer(stack[0], "", "cross-entropy")
    plots.label_outer(stack[1], "first direction", "L2 penalty")
    return picture(
        "landscape",
        "The loss around the trained weights",
        "Above the cross-entropy in nats, below the L2 penalty, on a plane through the weights along two "
        "filter-normalised random directions, from -1 to 1; of each setting's first seed. Contours "
        "have their values, those of the cross-entropy the same in all panels; its highest twentieth has none.",
        " ".join(said),
        figure,
        studies,
        LANDSCAPE,
        _plane,
        bars=False,
    )


def _contours(ax: Any, steps: np.ndarray, heights: np.ndarray, levels: np.ndarray) -> None:
    ax.set_aspect("equal")
    inside = levels[(levels > heights.min()) & (levels < heights.max())]
    if len(inside):
        limits = {"vmin": levels[0], "vmax": levels[-1]}
        lines = ax.contour(steps, steps, heights, levels=inside, cmap="viridis", linewidths=0.9, **limits)
        ax.clabel(lines, lines.levels[::3], fontsize=6.5, fmt="%.3g")
    ax.plot([0], [0], marker="+", color=INK)


def _plane(result: MeasureResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, cross-entropy [b, a] of the unpruned model, and L2 penalty [b, a]. Raises Missing."""
    loss, penalty = select(result, "cross-entropy", method="none"), select(result, "L2")
    steps, shape = loss.places("a", "a"), loss.along("b", "a").shape
    if shape != penalty.along("b", "a").shape or shape != 2 * steps.shape or len(steps) < 2:
        raise Missing("it is not one number for each point of a square")
    return steps, loss.values, penalty.values


EXPERIMENT = Experiment(
    "I13",
    "How flat the loss is",
    "how",
    (
        Claim(
            id="attention-flattens-the-loss",
            statement="Attention flattens the loss: its Hessian has smaller eigenvalues than a CNN's.",
            source=f"{PARK}, figure 4",
            reads="measurement hessian of a network with attention and a CNN trained alike, without a pruner",
            test="log(mean positive eigenvalue with attention / that of the CNN) is below 0; for ViTs, and for the CNN "
            "itself with attention in it",
            unit="log ratio",
            support=(None, 0.0),
            find=flatter_than_cnn,
            measurement=HESSIAN,
            across=True,
            published=(Published("positive ones are small in ViTs, few and large in CNNs (figure)", "recalled"),),
        ),
        Claim(
            id="attention-makes-the-loss-less-convex",
            statement="The Hessian of a network with attention has more negative eigenvalues than a CNN's.",
            source=f"{PARK}, figure 4",
            reads="measurement hessian of a network with attention and a CNN trained alike, without a pruner",
            test="share of negative eigenvalues with attention less that of the CNN is above 0; as before",
            unit="share of eigenvalues",
            find=more_negative_than_cnn,
            measurement=HESSIAN,
            across=True,
            published=(Published("ViTs have many negative eigenvalues, CNNs few (figure)", "recalled"),),
        ),
        Claim(
            id="data-removes-negative-eigenvalues",
            statement="With more training data a ViT's Hessian has fewer negative eigenvalues.",
            source=f"{PARK}, figure 4",
            reads="measurement hessian of ViTs that differ in train size, without a pruner",
            test="share of negative eigenvalues, trained on the most images less on the fewest, is below 0",
            unit="share of eigenvalues",
            support=(None, 0.0),
            find=more_data,
            measurement=HESSIAN,
            published=(Published("large data sets remove negative eigenvalues (figure)", "recalled"),),
        ),
        Claim(
            id="smoothing-removes-negative-eigenvalues",
            statement="With a smoother loss a ViT's Hessian has fewer negative eigenvalues.",
            source=f"{PARK}; there by average pooling instead of a class token, here also by label smoothing",
            reads="measurement hessian of ViTs that differ in train.label_smoothing, or in model.class_token",
            test="share of negative eigenvalues, with the most label smoothing less with the least, or with average "
            "pooling less with a class token, is below 0; each of the loss that it was trained with",
            unit="share of eigenvalues",
            support=(None, 0.0),
            find=smoothed,
            measurement=HESSIAN,
            published=(Published("average pooling removes negative eigenvalues (figure)", "recalled"),),
        ),
    ),
    _figures,
)
