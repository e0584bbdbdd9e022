"""One figure for many settings: large panels for the default one, small multiples below for the others."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokenprune.drawing.numbers import Interval, over_trials
from tokenprune.drawing.style import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, RED, SKY, Drawing, blank, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Of the names of all figures of the laboratory.
PREFIX = "theory-"
WIDTH = 9.6  # inches, all figures
_PER_ROW = 6
_LEFT, _RIGHT, _BOTTOM, _GAP = 0.76, 0.2, 0.52, 0.74

#: Ends of the caption where small multiples are drawn.
SMALL = "Below, smaller: other settings."

#: (colour, marker) by method of removal.
METHODS = {
    "none": (INK, "x"),
    "random": (ORANGE, "s"),
    "irrelevant": (GREEN, "^"),
    "noisy": (PURPLE, "D"),
    "magnitude": (BLUE, "o"),
}
#: Magnitude often keeps what label-irrelevant keeps: both lines must show.
DASHES: dict[str, Any] = {"magnitude": (0, (4, 1.5))}
KINDS = {"vit": (BLUE, "o"), "cnn": (RED, "s")}
SERIES = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)


def sheet(
    large: Sequence[float],
    small: int = 0,
    *,
    height: float = 2.9,
    small_height: float = 1.25,
    top: float = 0.5,
    names: float = 0.0,
    bar: float = 0.0,
) -> tuple["Figure", "list[Axes]", "list[Axes]"]:
    """Axes whose widths are in the proportions of `large`, and `small` ones below in rows of at most six.

    top: inches above for title and legend; names: left of the last large one for names of its rows, beside what every
    panel has; bar: right of it for a colour bar.
    """
    rows = math.ceil(small / _PER_ROW)
    step = small_height + 0.62
    total = top + height + _BOTTOM + (rows * step + 0.12 if rows else 0)
    figure = blank(WIDTH, total)

    def place(x: float, y: float, width: float, tall: float) -> "Axes":
        return figure.add_axes((x / WIDTH, y / total, width / WIDTH, tall / total))

    room = WIDTH - _LEFT - _RIGHT - _GAP * (len(large) - 1) - names - bar
    if len(large) == 1:
        room = min(room, 6.0)
    main, x = [], _LEFT
    for index, part in enumerate(large):
        width = room * part / sum(large)
        x += names if index == len(large) - 1 else 0.0
        main.append(place(x, total - top - height, width, height))
        x += width + _GAP
    gap, columns = 0.5, max(5, math.ceil(small / max(1, rows)))
    width = (WIDTH - _LEFT - _RIGHT - gap * (columns - 1)) / columns
    others = []
    for index in range(small):
        row, column = divmod(index, columns)
        y = total - top - height - _BOTTOM - 0.12 - (row + 1) * step + 0.3
        others.append(place(_LEFT + column * (width + gap), y, width, small_height))
    for ax in others:
        ax.tick_params(labelsize=6.5, pad=2)
    return figure, main, others


def small_title(ax: "Axes", text: str) -> None:
    ax.set_title("\n".join(textwrap.wrap(text, 22)[:2]), fontsize=7.5, fontweight="normal", pad=3)


def legend(figure: "Figure", entries: Sequence[tuple[Any, str]]) -> None:
    """Above all axes, in one row if it fits."""
    width, height = figure.get_size_inches()
    handles, labels = [entry[0] for entry in entries], [entry[1] for entry in entries]
    columns, room = 0, width - 0.8
    while columns < len(labels) and (room := room - 0.62 - 0.068 * len(labels[columns])) > 0:
        columns += 1
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=((_LEFT - 0.08) / width, 1 - 0.02 / height),
        ncols=max(1, columns),
        borderaxespad=0.2,
        columnspacing=1.4,
        fontsize=8.5,
    )


def handle(color: str, marker: str = "", linestyle: Any = "-", hollow: bool = False, linewidth: float = 1.6) -> Any:
    from matplotlib.lines import Line2D

    face = PAPER if hollow else color
    return Line2D(
        [],
        [],
        color=color,
        marker=marker,
        linestyle=linestyle,
        linewidth=linewidth,
        markerfacecolor=color if marker == "x" else face,
        markeredgecolor=color if hollow or marker == "x" else PAPER,
        markeredgewidth=1.1 if hollow or marker == "x" else 0.6,
    )


def draw_curve(
    ax: "Axes",
    x: Sequence[float],
    table: Float[np.ndarray, "x t"],
    color: str,
    *,
    marker: str = "",
    linestyle: Any = "-",
    thin: bool = False,
    floor: float = -math.inf,
    hollow: bool = False,
) -> None:
    """Means over trials with their band; values below `floor` are drawn at it, for logarithmic axes."""
    known = [(at, y) for at, y in zip(x, map(over_trials, table), strict=True) if y is not None]
    if not known:
        return
    xs = [at for at, _ in known]
    size: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.45} if thin else {"zorder": 3}
    ax.plot(
        xs,
        [max(y.value, floor) for _, y in known],
        color=color,
        linestyle=linestyle,
        marker="" if thin else marker,
        markersize=7 if hollow else None,
        markerfacecolor="none" if hollow else color,
        markeredgecolor=color if hollow or marker == "x" else PAPER,
        markeredgewidth=1.1 if hollow or marker == "x" else 0.6,
        **size,
    )
    if not thin:
        band(ax, xs, [y for _, y in known], color, floor)


def band(ax: "Axes", xs: Sequence[float], values: Sequence[Interval], color: str, floor: float = -math.inf) -> None:
    bounded = [
        (x, max(v.low, floor), max(v.high, floor))
        for x, v in zip(xs, values, strict=True)
        if v.low is not None and v.high is not None
    ]
    if len(bounded) > 1:
        ax.fill_between(*np.transpose(bounded), color=color, alpha=0.17, linewidth=0, zorder=2)


def forest(
    ax: "Axes", rows: Sequence[tuple[str, str, str, Interval | None]], title: str, refs: Sequence[tuple[float, str]]
) -> None:
    """Estimates with their intervals below one another. rows: (name, colour, marker, estimate)."""
    for y, (_, color, marker, value) in enumerate(rows):
        if value is None:
            ax.text(
                0.02, y, "not estimable", transform=ax.get_yaxis_transform(), va="center", color=MUTED, fontsize=7.5
            )
            continue
        if value.low is not None and value.high is not None:
            ax.plot([value.low, value.high], [y, y], color=color, linewidth=1.3, zorder=2, solid_capstyle="butt")
        ax.plot([value.value], [y], color=color, marker=marker, markeredgecolor=PAPER, markeredgewidth=0.6, zorder=3)
    ax.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=7.5)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    for at, text in refs:
        ax.axvline(at, color=INK, linestyle=":", linewidth=1, zorder=1)
        ax.annotate(
            text, (at, 0), xycoords=("data", "axes fraction"), xytext=(2, 2), textcoords="offset points",
            fontsize=7, color=MUTED,
        )  # fmt: skip
    ax.set_title(title)


def log_ticks(axis: Any, values: Iterable[float], most: int = 6) -> None:
    """Labels at the values themselves, as a logarithmic axis of few decades needs."""
    from matplotlib.ticker import NullFormatter, NullLocator

    every = sorted(set(values))
    step = max(1, math.ceil((len(every) - 1) / max(1, most - 1)))
    shown = every[::step]
    axis.set_ticks(shown, [_number(value) for value in shown])
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def log_y(axes: Sequence["Axes"]) -> None:
    """One logarithmic scale for all: ticks at powers of ten, or at 1, 2 and 5 of them where it spans few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for ax in axes:
        ax.set_yscale("log")
    low, high = min(ax.get_ylim()[0] for ax in axes), max(ax.get_ylim()[1] for ax in axes)
    few = high / low < 300
    for ax in axes:
        ax.set_ylim(low, high)
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
        ax.yaxis.set_minor_locator(NullLocator())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def finish(figure: "Figure", name: str, title: str, caption: str, alt: str) -> Drawing:
    svg, png = render(figure)
    return Drawing(f"{PREFIX}{name}", title, caption, alt, svg, png)
