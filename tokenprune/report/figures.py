"""Curves as figures: accuracy against tokens, FLOPs and images/s; attention over training; what the kept tokens are."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenprune.report import captions
from tokenprune.report.panels import (
    draw_band,
    draw_legend,
    in_percent,
    in_row,
    label_outer,
    mark_alpha,
    panel_width,
    percent_kept,
)
from tokenprune.report.series import AttentionPanel, Curves, Interval, Line, Mark, Panel
from tokenprune.report.style import INK, PAPER, Drawing, grid, looks, render, slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))  # a method's second and third set of options


#: (colour, marker, dashes) by name of curve: one such table for a whole report.
Styles = dict[str, tuple[str, str, Any]]


def styles_of(lines: Iterable[Line]) -> Styles:
    """A look for every curve; those of one method differ in their dashes only."""
    methods = {line.name: line.method for line in lines}
    look = looks(methods.values())
    seen: dict[str, int] = {}
    styles = {}
    for name, method in sorted(methods.items()):
        styles[name] = (*look[method], _DASHES[seen.get(method, 0) % len(_DASHES)])
        seen[method] = seen.get(method, 0) + 1
    return styles


def suffixes(found: Sequence[Curves]) -> list[str]:
    """What the file names of each group end in: family and site, and a number where that is not unique."""
    names: list[str] = []
    for curves in found:
        base = slug(curves.group.family, curves.group.site)
        same = sum(suffix == base or suffix.startswith(f"{base}-variant-") for suffix in names)
        names.append(f"{base}-variant-{same + 1}" if same else base)
    return names


def curve_figures(curves: Curves, suffix: str, styles: Styles) -> list[Callable[[], Drawing]]:
    """What draws the figures of one group of curves; `suffix` ends their file names. Call each inside `style()`."""
    kinds = [_accuracy, _compute]
    if any(mark.kept_relevance for panel in curves.panels for line in panel.lines for mark in line.marks):
        kinds.append(_relevance)
    return [partial(kind, curves, suffix, styles) for kind in kinds]


def _accuracy(curves: Curves, suffix: str, styles: Styles) -> Drawing:
    figure, axes = _panels(curves, styles)
    for ax, panel in zip(axes, curves.panels, strict=False):
        _curve_lines(ax, panel, styles, lambda mark: 100 * mark.kept, lambda mark: mark.accuracy)
        ax.axhline(100 * panel.unpruned.value, color=INK, linestyle=":", linewidth=1.2, zorder=1.5)
        mark_alpha(ax, panel.relevant_share)
    label_outer(axes, len(curves.panels), "patch tokens kept, %", "test accuracy, %")
    _accuracy_limits(axes, curves.panels)
    percent_kept(axes[: in_row(len(curves.panels))])
    svg, png = render(figure)
    extra = (
        " The thin vertical mark α* is the label-relevant share of the image." if captions.shows_alpha(curves) else ""
    )
    return Drawing(
        slug("accuracy", suffix),
        f"Accuracy against kept tokens: {curves.title}, site {curves.group.site}",
        f"Test accuracy against the share of patch tokens left after the last site. {captions.spread(curves)} "
        f"Dotted: the unpruned model.{extra} {captions.conditions(curves)}",
        "Accuracy against the share of patch tokens kept. " + captions.say_accuracy(curves),
        svg,
        png,
    )


def _compute(curves: Curves, suffix: str, styles: Styles) -> Drawing:
    """Accuracy against the FLOPs of an image and, where it was measured, against images/s."""
    marks = [mark for panel in curves.panels for line in panel.lines for mark in line.marks]
    measured = any(mark.images_per_second is not None for mark in marks)
    figure, axes = _panels(curves, styles, rows=2 if measured else 1)
    columns = len(curves.panels)
    wide = in_row(columns)
    for i, panel in enumerate(curves.panels):
        row, column = divmod(i, wide)
        ax = axes[row * wide * (2 if measured else 1) + column]
        _curve_lines(ax, panel, styles, lambda mark: mark.flops / 1e6, lambda mark: mark.accuracy)
        _star(ax, panel.unpruned_flops / 1e6, panel.unpruned.value)
        ax.set_xlabel("MFLOPs per image")
        if measured:
            below = axes[(row * 2 + 1) * wide + column]
            _curve_lines(
                below, panel, styles, lambda mark: mark.images_per_second, lambda mark: mark.accuracy, bars=True
            )
            _star(below, panel.unpruned_images_per_second, panel.unpruned.value)
            below.set_xlabel("measured images/s")
            below.set_title("")
    for i, ax in enumerate(axes):
        ax.set_xlim(left=0)
        ax.margins(x=0.08)
        if i % wide == 0:
            ax.set_ylabel("test accuracy, %")
    _accuracy_limits(axes, curves.panels)
    svg, png = render(figure)
    return Drawing(
        slug("compute", suffix),
        f"Accuracy against computation: {curves.title}, site {curves.group.site}",
        "Test accuracy against FLOPs per image (2 per multiply-add, scores included)"
        + (" and against measured images/s" if measured else "; images/s were not measured")
        + f". The star is the unpruned model. {captions.spread(curves)}"
        + (" Against images/s the same intervals are bars; images/s are means over seeds." if measured else "")
        + f" {captions.conditions(curves)}",
        "Accuracy against FLOPs per image and measured images per second. " + captions.say_compute(curves),
        svg,
        png,
    )


def _relevance(curves: Curves, suffix: str, styles: Styles) -> Drawing:
    figure, axes = _panels(curves, styles)
    for ax, panel in zip(axes, curves.panels, strict=False):
        _curve_lines(ax, panel, styles, lambda mark: 100 * mark.kept, lambda mark: mark.kept_relevance)
        if panel.relevant_share is not None:
            ax.axhline(100 * panel.relevant_share, color=INK, linestyle="--", linewidth=1)
    label_outer(axes, len(curves.panels), "patch tokens kept, %", "label-relevant area of kept, %")
    percent_kept(axes[: in_row(len(curves.panels))])
    axes[0].set_ylim(top=min(103, axes[0].get_ylim()[1]))
    svg, png = render(figure)
    return Drawing(
        slug("kept-relevance", suffix),
        f"What the kept tokens are: {curves.title}, site {curves.group.site}",
        "Share of the kept patch tokens' area that is label-relevant. Dashed: the share among all tokens (α*), which "
        f"is what a blind choice keeps. {captions.spread(curves, wilson=False)} {captions.conditions(curves)}",
        "Label-relevant share of the kept tokens against the share of tokens kept. " + captions.say_relevance(curves),
        svg,
        png,
    )


def attention_figure(family: str, names: Sequence[str], panels: Sequence[AttentionPanel]) -> Drawing:
    """Share of attention on relevant tokens over training, a line per block. Call inside `style()`."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    columns = in_row(len(panels))
    rows = -(-len(panels) // columns)
    figure, grid_axes = grid(rows, columns, width=panel_width(columns), height=2.3, top=0.56, share_x=False)
    axes = [ax for row in grid_axes for ax in row]
    for ax, panel in zip(axes, panels, strict=False):
        depth = len(panel.blocks)
        for block, shares in enumerate(panel.blocks):
            color = _block_color(block / max(1, depth - 1))
            ax.plot(panel.epochs, [100 * share.value for share in shares], color=color)
            if len(limits := in_percent(panel.epochs, shares)) > 1:
                draw_band(ax, limits, color, 0.13)
        if panel.relevant_share is not None:
            ax.axhline(100 * panel.relevant_share, color=INK, linestyle="--", linewidth=1)
        ax.set_title(f"depth {panel.depth}")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.margins(x=0.02)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for ax in axes[: len(panels)]:
        low, high = ax.get_ylim()
        if high - low < 1:  # a point: less is not worth a scale of its own, nor labels of many digits
            ax.set_ylim((low + high - 1) / 2, (low + high + 1) / 2)
    label_outer(axes, len(panels), "epochs trained", "attention on relevant tokens, %")
    if max(len(panel.blocks) for panel in panels) > 1:
        handles = [Line2D([], [], color=_block_color(share)) for share in (0.0, 0.5, 1.0)]
        draw_legend(figure, handles, ["first block", "middle", "last"])
    svg, png = render(figure)
    return Drawing(
        slug("attention", family),
        f"Attention on relevant tokens over training: {' + '.join(names)}",
        "Share of class (or received) attention that falls on label-relevant tokens, on test images, a line per block "
        "from the first (dark) to the last (light). Dashed: the share that uniform attention would have. "
        f"{captions.seeds(panels)} Bands are 95 % t intervals of the mean where there are two or more.",
        "Share of attention on label-relevant tokens by epoch. " + captions.say_attention(panels),
        svg,
        png,
    )


def _panels(curves: Curves, styles: Styles, rows: int = 1) -> tuple["Figure", "list[Axes]"]:
    """Axes per depth (below one another `rows` times), with titles and one legend above them all."""
    columns = in_row(len(curves.panels))
    deep = -(-len(curves.panels) // columns)
    figure, axes = grid(
        deep * rows, columns, width=panel_width(columns), height=2.3 if rows == 1 else 2.0, top=0.56, share_x=rows == 1
    )
    for i, panel in enumerate(curves.panels):
        row, column = divmod(i, columns)
        axes[row * rows][column].set_title(f"depth {panel.depth}")
    for i in range(len(curves.panels), deep * columns):
        for row in range(rows):
            axes[i // columns * rows + row][i % columns].set_visible(False)
    from matplotlib.lines import Line2D

    names = curves.lines
    handles = [
        Line2D([], [], color=color, marker=marker, linestyle=dash, markeredgecolor=PAPER, markeredgewidth=0.6)
        for color, marker, dash in (styles[name] for name in names)
    ]
    draw_legend(figure, handles, names)
    return figure, [ax for row in axes for ax in row]


def _curve_lines(
    ax: "Axes",
    panel: Panel,
    styles: Styles,
    x: Callable[[Mark], float | None],
    y: Callable[[Mark], Interval | None],
    bars: bool = False,
) -> None:
    """The panel's curves, y in percent, with their bands (several seeds) or error bars (one).

    bars: never bands, which fold over where x, a measured speed, does not rise from mark to mark.
    """
    for line in panel.lines:
        color, marker, dash = styles[line.name]
        drawn = [(a, b, mark.seeds) for mark in line.marks if (a := x(mark)) is not None and (b := y(mark)) is not None]
        if not drawn:
            continue
        xs = [a for a, _, _ in drawn]
        values = [b for _, b, _ in drawn]
        ax.plot(
            xs,
            [100 * value.value for value in values],
            color=color,
            marker=marker,
            linestyle=dash,
            markeredgecolor=PAPER,
            markeredgewidth=0.6,
            zorder=3,
        )
        limits = in_percent(xs, values)
        if not bars and len(limits) > 1 and min(seeds for _, _, seeds in drawn) > 1:
            draw_band(ax, limits, color, 0.18)
        elif limits:
            ax.vlines(*np.transpose(limits), color=color, linewidth=1.1, alpha=0.75, zorder=2.5)


def _star(ax: "Axes", x: float | None, accuracy: float) -> None:
    if x is not None:
        ax.plot([x], [100 * accuracy], marker="*", markersize=10, color=INK, markeredgecolor=PAPER, zorder=4)


def _accuracy_limits(axes: Sequence["Axes"], panels: Sequence[Panel]) -> None:
    """Enough for every curve and every interval around it."""
    values = [panel.unpruned.value for panel in panels]
    for mark in (mark for panel in panels for line in panel.lines for mark in line.marks):
        values += [each for each in (mark.accuracy.value, mark.accuracy.low, mark.accuracy.high) if each is not None]
    low, high = 100 * min(values), 100 * max(values)
    room = max(1.0, 0.08 * (high - low))
    for ax in axes:
        ax.set_ylim(max(-1.0, low - room), min(101.0, high + room))


def _block_color(share: float) -> Any:
    """Colour of a block by its place between the first (0) and the last (1); it shows on white and on black."""
    import matplotlib

    return matplotlib.colormaps["viridis"](0.24 + 0.6 * share)
