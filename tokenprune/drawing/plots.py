"""Figures of panels: how they are laid out and labelled, and what all of them draw alike."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tokenprune.drawing.numbers import Interval
from tokenprune.drawing.style import INK, MUTED, PAPER, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colour, marker, dash and name of a line in a legend.
Entry = tuple[Any, str, Any, str]

EDGE: dict[str, Any] = {"markeredgecolor": PAPER, "markeredgewidth": 0.6}

_COLUMNS = 3


def panels(
    titles: Sequence[str], entries: Sequence[Entry] = (), *, height: float = 2.3, stacked: int = 1, share: bool = True
) -> "tuple[Figure, list[list[Axes]]]":
    """A panel per title, of `height` inches; above them all a legend of the entries.

    stacked: axes below one another in each panel. share: one y axis for all. Returns the axes by place in the stack,
    then panel.
    """
    columns = in_row(len(titles))
    deep = -(-len(titles) // columns)
    figure = blank(columns * _WIDTHS.get(columns, 3.0), deep * stacked * (height + 0.62))
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06, wspace=0.02, hspace=0.04)
    if entries:
        figure.set_figheight(figure.get_figheight() + _legend(figure, entries))
    grid = figure.subplots(deep * stacked, columns, sharey=share, squeeze=False)
    found = [
        [grid[i // columns * stacked + level, i % columns] for i in range(deep * columns)] for level in range(stacked)
    ]
    for ax in (ax for level in found for ax in level[len(titles) :]):
        ax.set_visible(False)
    for ax, title in zip(found[0], titles, strict=False):
        ax.set_title(textwrap.fill(title, 40))
    return figure, [level[: len(titles)] for level in found]


#: Inches of a panel, by how many stand side by side.
_WIDTHS = {1: 5.4, 2: 4.1}


def in_row(count: int) -> int:
    """So many panels stand side by side."""
    return 2 if count == 4 else min(count, _COLUMNS)


def _legend(figure: "Figure", entries: Sequence[Entry]) -> float:
    """Above all panels, in as many columns as there is room for; its height in inches."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=color, marker=marker, linestyle=dash, **EDGE) for color, marker, dash, _ in entries]
    names = [name for *_, name in entries]
    columns = len(entries)
    while True:
        legend = figure.legend(handles, names, loc="outside upper left", ncols=columns, columnspacing=1.6)
        size = legend.get_window_extent()
        if columns == 1 or size.width <= 0.98 * figure.bbox.width:
            return float(size.height / figure.dpi)
        legend.remove()
        columns -= 1


def label_outer(axes: Sequence["Axes"], x: str, y: str) -> None:
    """Names of both axes where panels end."""
    columns = in_row(len(axes))
    for i, ax in enumerate(axes):
        if i % columns == 0:
            ax.set_ylabel(y)
        if i + columns >= len(axes):
            ax.set_xlabel(x)


def line(
    ax: "Axes",
    xs: Sequence[float],
    values: Sequence[Interval | None],
    look: tuple[Any, str, Any],
    *,
    width: float = 1.6,
    spread: Literal["bars", "band", "none"] = "bars",
    scale: float = 100,
) -> None:
    """Means with their intervals, in percent unless `scale` is another. look: colour, marker, dash."""
    color, marker, dash = look
    known = [(x, value) for x, value in zip(xs, values, strict=True) if value is not None]
    if not known:
        return
    places, means = [x for x, _ in known], [scale * value.value for _, value in known]
    ax.plot(places, means, color=color, marker=marker, linestyle=dash, linewidth=width, zorder=3, **EDGE)
    limits = [(x, scale * v.low, scale * v.high) for x, v in known if v.low is not None and v.high is not None]
    if spread == "band" and len(limits) > 1:
        ax.fill_between(*np.transpose(limits), color=color, alpha=0.18, linewidth=0, zorder=2)
    elif spread != "none" and limits:
        ax.vlines(*np.transpose(limits), color=color, linewidth=1.1, alpha=0.75, zorder=2.5)


def level(ax: "Axes", value: Interval, *, spread: bool = True) -> None:
    """A dotted line across the panel, with its interval in grey."""
    ax.axhline(100 * value.value, color=INK, linestyle=":", linewidth=1.2, zorder=1.5)
    if spread and value.low is not None and value.high is not None:
        ax.axhspan(100 * value.low, 100 * value.high, color=INK, alpha=0.07, linewidth=0, zorder=1)


def mark_alpha(ax: "Axes", share: float | None) -> None:
    """A thin vertical mark at the label-relevant share of all tokens."""
    if share is None:
        return
    ax.axvline(100 * share, color=MUTED, linewidth=0.8, zorder=1)
    ax.annotate(
        "α*", (100 * share, 0), xycoords=("data", "axes fraction"), xytext=(3, 4), textcoords="offset points",
        color=MUTED, fontsize=8,
    )  # fmt: skip


def percent_kept(axes: Sequence["Axes"]) -> None:
    for ax in axes:
        ax.set_xlim(0, 103)
        ax.set_xticks([0, 20, 40, 60, 80, 100])


def sequence(share: float) -> Any:
    """Colour of an ordered line, from 0 (dark) to 1 (light); it shows on white and on black."""
    import matplotlib

    return matplotlib.colormaps["viridis"](0.15 + 0.65 * share)


def log_ticks(axis: Any, values: Sequence[float] = ()) -> None:
    """Labels of a logarithmic axis: at the values, or at powers of ten and, where it spans few, at 2 and 5 of them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    axis.set_major_locator(FixedLocator(values) if values else LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"))
    axis.set_minor_locator(NullLocator())


def forest(ax: "Axes", rows: Sequence[tuple[str, tuple[str, str], Interval | None]], *references: float) -> None:
    """Estimates with their intervals below one another, dotted lines at the references.

    rows: name, (colour, marker), estimate.
    """
    for y, (_, (color, marker), value) in enumerate(rows):
        if value is None:
            place = ax.get_yaxis_transform()
            ax.text(0.02, y, "not estimable", transform=place, va="center", color=MUTED, fontsize=7.5)
            continue
        if value.low is not None and value.high is not None:
            ax.hlines(y, value.low, value.high, color=color, linewidth=1.3, zorder=2)
        ax.plot([value.value], [y], color=color, marker=marker, zorder=3, **EDGE)
    ax.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize=7.5)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    for at in references:
        ax.axvline(at, color=INK, linestyle=":", linewidth=1, zorder=1)
