"""The claims' experiments as figures, a panel per depth: models trained and tested under one condition each."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenprune.claims.published import SPURIOUS
from tokenprune.report import captions
from tokenprune.report.arms import Arm, Experiment, alphas
from tokenprune.report.panels import (
    draw_legend,
    in_percent,
    in_row,
    label_outer,
    legend_columns,
    mark_alpha,
    panel_width,
    percent_kept,
)
from tokenprune.report.series import Interval
from tokenprune.report.style import BLUE, INK, MUTED, ORANGE, PAPER, RED, Drawing, grid, looks, render, slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vPX"
_EDGE: dict[str, Any] = {"markeredgecolor": PAPER, "markeredgewidth": 0.6}
_GROUPS = ((0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)), (0, (6, 1, 1, 1, 1, 1)))
_NEEDED = (
    " Triangles: N needed for the middle target accuracy; one at the edge of the N measured is clipped there, and the "
    "N needed lies at it or beyond."
)


def experiment_figure(experiment: Experiment) -> Callable[[], Drawing] | None:
    """What draws it; None for an experiment that has no figure of its own. Call it inside `style()`."""
    draw = _KINDS.get(experiment.number)
    return partial(draw, experiment) if draw else None


def figure_name(experiment: Experiment) -> str:
    """Of its files; what it shows, and of which family."""
    return slug(_NAMES[experiment.number], experiment.family, experiment.variant.removeprefix("site "))


def _samples(experiment: Experiment) -> Drawing:
    """I1: accuracy over training images, a line per alpha_*."""
    conditions = alphas(experiment.panels)
    look = {key: (_sequence(i, len(conditions)), _MARKERS[i % len(_MARKERS)]) for i, key in enumerate(conditions)}
    figure, axes = _panels(
        _depths(experiment),
        [
            (*look[key], "-", f"α* {alpha:.2f} ({'all tokens' if key[0] == 'none' else f'{key[0]}, keep {key[1]:g}'})")
            for key, alpha in conditions.items()
        ],
    )
    for ax, panel in zip(axes, experiment.panels, strict=False):
        ax.set_xscale("log")
        for key in conditions:
            arms = sorted((arm for arm in panel.arms if (arm.method, arm.keep) == key), key=lambda arm: arm.samples)
            _line(ax, [arm.samples for arm in arms], [arm.mean for arm in arms], *look[key])
        for alpha, samples in panel.needed.items():
            nearest = min(conditions, key=lambda key: abs(conditions[key] - alpha))
            ax.plot(
                [samples], [0.02], transform=ax.get_xaxis_transform(), color=look[nearest][0], marker="v",
                markersize=7, clip_on=False, zorder=4, linestyle="", **_EDGE,
            )  # fmt: skip
        sizes = sorted({arm.samples for arm in panel.arms if (arm.method, arm.keep) in conditions})
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
        ax.set_xticks([], minor=True)
        ax.margins(x=0.08)
    label_outer(axes, len(experiment.panels), "training images N", "test accuracy, %")
    extra = _NEEDED if any(p.needed for p in experiment.panels) else ""
    return _drawing(
        experiment,
        figure,
        "Accuracy over the number of training images",
        "Test accuracy over the number N of different training images (log axis), a line per label-relevant share α* "
        f"of the tokens kept in training and test.{extra}",
    )


def _ratios(experiment: Experiment) -> Drawing:
    """I2, I7: accuracy of models trained and tested at each ratio, a line per method."""
    methods = [method for method in experiment.methods if method != "none"]
    look = looks(methods)
    entries = [*((*look[method], "-", method) for method in methods), (INK, "", ":", "all tokens")]
    figure, axes = _panels(_depths(experiment), entries)
    for ax, panel in zip(axes, experiment.panels, strict=False):
        for method in methods:
            arms = panel.by(method)
            _line(ax, [100 * arm.keep for arm in arms], [arm.mean for arm in arms], *look[method])
        for arm in panel.by("none"):
            _level(ax, arm.mean)
            mark_alpha(ax, arm.alpha)
    label_outer(axes, len(experiment.panels), "patch tokens kept in training and test, %", "test accuracy, %")
    percent_kept(axes)
    return _drawing(
        experiment,
        figure,
        "Accuracy of models trained and tested with fewer tokens",
        "Test accuracy of models that are trained and tested at each share of patch tokens, a line per method. Dotted, "
        "with its interval in grey: all tokens. The thin vertical mark α* is the label-relevant share of all tokens.",
    )


def _spurious(experiment: Experiment) -> Drawing:
    """I5: accuracy over alpha_*: mean, worst group, groups; what the paper published in a panel of its own."""
    own = _depths(experiment)
    names = sorted({name for panel in experiment.panels for arm in panel.arms for name in arm.groups or {}})
    published = list(zip(SPURIOUS.values(), "sD", strict=True))
    figure, axes = _panels(
        [*own, f"paper ({published[0][0].mark})"],
        [
            (BLUE, "o", "-", "mean"),
            (RED, "v", "-", "worst group"),
            *((MUTED, "", dash, name) for name, dash in zip(names, _GROUPS, strict=False)),
            *((ORANGE, marker, "--", f"paper, {curve.name}") for curve, marker in published),
        ],
    )
    for ax, panel in zip(axes, experiment.panels, strict=False):
        arms = sorted(
            (arm for arm in panel.arms if arm.method in ("none", "oracle") and arm.alpha is not None),
            key=lambda arm: arm.alpha or 0,
        )
        xs = [arm.alpha or 0 for arm in arms]
        for name, dash in zip(names, _GROUPS, strict=False):
            _line(ax, xs, [arm.of_group(name) for arm in arms], MUTED, "", dash, width=0.9, bars=False)
        _line(ax, xs, [arm.worst for arm in arms], RED, "v")
        _line(ax, xs, [arm.mean for arm in arms], BLUE, "o")
    for curve, marker in published:
        axes[len(own)].plot(
            curve.x, [100 * y for y in curve.y], color=ORANGE, marker=marker, linestyle="--", **_EDGE, zorder=3
        )
    least = min(arm.alpha or 1 for panel in experiment.panels for arm in panel.arms)
    for ax in axes:
        ax.set_xlim(min(least, published[0][0].x[0]) - 0.03, 1.03)
    label_outer(axes, len(own) + 1, "label-relevant share α* of kept tokens", "test accuracy, %")
    return _drawing(
        experiment,
        figure,
        "Accuracy with spurious backgrounds",
        "Test accuracy over the label-relevant share α* of the tokens that the oracle keeps in training and test: over "
        "all test images, of each group, and of each seed's worst group. The last panel is not measured here: "
        + "; ".join(f"{curve.name} ({curve.mark}; {curve.source})" for curve in SPURIOUS.values())
        + ".",
    )


def _starts(experiment: Experiment) -> Drawing:
    """I6: accuracy by the weights that training starts from, every seed a point."""
    starts = sorted({arm.start for panel in experiment.panels for arm in panel.arms}, key=_start_order)
    known = [100 * value for panel in experiment.panels for arm in panel.arms for value in _span(arm)]
    room = 0.05 * (max(known) - min(known)) + 0.3
    left = 0.5 + 0.075 * max(map(len, starts))
    figure, axes = _panels(_depths(experiment), [], height=0.6 + 0.3 * len(starts), left=left)
    for ax, panel in zip(axes, experiment.panels, strict=False):
        for arm in panel.arms:
            y = starts.index(arm.start)
            seeds = [100 * value for value in arm.accuracy.values()]
            offsets = np.linspace(0.12, 0.3, len(seeds)) if len(seeds) > 1 else [0.2]
            ax.plot(seeds, [y + offset for offset in offsets], "o", color=MUTED, markersize=2.5, zorder=2.5)
            mean = arm.mean
            ax.plot([100 * mean.value], [y], "D", color=BLUE, zorder=3, markersize=5, **_EDGE)
            if mean.low is not None and mean.high is not None:
                ax.hlines(y, 100 * mean.low, 100 * mean.high, color=BLUE, linewidth=1.4, zorder=2.8)
        ax.set_yticks(range(len(starts)), starts)
        ax.set_ylim(len(starts) - 0.4, -0.6)
        ax.set_xlim(min(known) - room, max(known) + room)
    label_outer(axes, len(experiment.panels), "test accuracy, %", "")
    return _drawing(
        experiment,
        figure,
        "Accuracy by the start of training",
        "Test accuracy by the weights that training starts from: diamonds are means, small points single seeds.",
    )


_KINDS = {"I1": _samples, "I2": _ratios, "I5": _spurious, "I6": _starts, "I7": _ratios}
_NAMES = {"I1": "samples", "I2": "sparsified", "I5": "spurious", "I6": "starts", "I7": "noise"}


#: Colour, marker, dash, name.
_Entry = tuple[Any, str, Any, str]


def _panels(
    titles: Sequence[str], entries: Sequence[_Entry], height: float = 2.3, left: float = 0.62
) -> "tuple[Figure, list[Axes]]":
    """Axes that share y, with their titles, and a legend of the entries above them all."""
    from matplotlib.lines import Line2D

    columns = in_row(len(titles))
    rows = -(-len(titles) // columns)
    names = [name for *_, name in entries]
    width = left + columns * (panel_width(columns) + 0.22)
    lines = -(-len(names) // legend_columns(width, names)) if names else 0
    figure, found = grid(
        rows,
        columns,
        width=panel_width(columns),
        height=height,
        top=0.36 + 0.19 * lines,
        share_x=False,
        share_y="all",
        left=left,
    )
    if entries:
        handles = [
            Line2D([], [], color=color, marker=marker, linestyle=dash, **_EDGE) for color, marker, dash, _ in entries
        ]
        draw_legend(figure, handles, names)
    axes = [ax for row in found for ax in row]
    for ax, title in zip(axes, titles, strict=False):
        ax.set_title(title)
    for ax in axes[len(titles) :]:
        ax.set_visible(False)
    return figure, axes


def _depths(experiment: Experiment) -> list[str]:
    return [f"depth {panel.depth}" for panel in experiment.panels]


def _line(
    ax: "Axes",
    xs: Sequence[float],
    values: Sequence[Interval | None],
    color: Any,
    marker: str,
    dash: Any = "-",
    width: float = 1.6,
    bars: bool = True,
) -> None:
    """Means in percent with their intervals as bars."""
    known = [(x, value) for x, value in zip(xs, values, strict=True) if value is not None]
    if not known:
        return
    ax.plot(
        [x for x, _ in known], [100 * value.value for _, value in known], color=color, marker=marker, linestyle=dash,
        linewidth=width, zorder=3, **_EDGE,
    )  # fmt: skip
    limits = in_percent([x for x, _ in known], [value for _, value in known])
    if bars and limits:
        ax.vlines(*np.transpose(limits), color=color, linewidth=1.1, alpha=0.75, zorder=2.5)


def _level(ax: "Axes", value: Interval) -> None:
    ax.axhline(100 * value.value, color=INK, linestyle=":", linewidth=1.2, zorder=1.5)
    if value.low is not None and value.high is not None:
        ax.axhspan(100 * value.low, 100 * value.high, color=INK, alpha=0.07, linewidth=0, zorder=1)


def _sequence(place: int, most: int) -> Any:
    """Colour of an ordered line; it shows on white and on black."""
    import matplotlib

    return matplotlib.colormaps["viridis"](0.1 + 0.65 * place / max(1, most - 1))


def _span(arm: Arm) -> list[float]:
    """Everything that is drawn of it."""
    mean = arm.mean
    return [*arm.accuracy.values(), *(bound for bound in (mean.low, mean.high) if bound is not None)]


def _start_order(start: str) -> tuple[int, str]:
    """From scratch, from clean images, from noisier and noisier ones."""
    return (0 if start == "scratch" else 2 if start.startswith("noisy") else 1), start


def _drawing(experiment: Experiment, figure: "Figure", title: str, caption: str) -> Drawing:
    svg, png = render(figure)
    return Drawing(
        figure_name(experiment),
        f"{title}: {' + '.join(experiment.names)}{_size(experiment)}",
        f"{caption} {captions.experiment_conditions(experiment)}",
        f"{title}. {captions.say_experiment(experiment)}",
        svg,
        png,
    )


def _size(experiment: Experiment) -> str:
    return f", {experiment.samples[0]:,} training images" if len(experiment.samples) == 1 else ""
