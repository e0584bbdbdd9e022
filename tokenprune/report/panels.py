"""What all figures of panels share: how many stand in a row, their labels and legend, bands, the mark of alpha_*."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenprune.report.series import Interval
from tokenprune.report.style import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3


def in_percent(xs: Sequence[float], values: Sequence[Interval]) -> list[tuple[float, float, float]]:
    """(x, low, high) in percent of the intervals that have bounds."""
    return [
        (x, 100 * v.low, 100 * v.high)
        for x, v in zip(xs, values, strict=True)
        if v.low is not None and v.high is not None
    ]


def draw_band(ax: "Axes", limits: Sequence[tuple[float, float, float]], color: Any, alpha: float) -> None:
    ax.fill_between(*np.transpose(limits), color=color, alpha=alpha, linewidth=0, zorder=2)


def mark_alpha(ax: "Axes", share: float | None) -> None:
    if share is None:
        return
    ax.axvline(100 * share, color=MUTED, linewidth=0.8, zorder=1)
    ax.annotate(
        "α*", (100 * share, 0), xycoords=("data", "axes fraction"), xytext=(3, 4), textcoords="offset points",
        color=MUTED, fontsize=8,
    )  # fmt: skip


def percent_kept(axes: Sequence["Axes"]) -> None:
    """axes: of the first row, with which those below share x."""
    for ax in axes:
        ax.set_xlim(0, 103)
        ax.set_xticks([0, 20, 40, 60, 80, 100])


def label_outer(axes: Sequence["Axes"], count: int, x: str, y: str) -> None:
    """Names of both axes where panels end, of a grid whose first `count` panels are used."""
    columns = in_row(count)
    for i, ax in enumerate(axes[:count]):
        if i % columns == 0:
            ax.set_ylabel(y)
        if i + columns >= count:
            ax.set_xlabel(x)
            ax.tick_params(labelbottom=True)


def draw_legend(figure: "Figure", handles: Sequence[Any], names: Sequence[str]) -> None:
    """Above all panels."""
    width, height = figure.get_size_inches()
    figure.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(0.55 / width, 1 - 0.02 / height),
        ncols=legend_columns(width, names),
        borderaxespad=0.2,
        columnspacing=1.6,
    )


def legend_columns(width: float, names: Sequence[str]) -> int:
    """So many entries stand side by side in a figure of `width` inches."""
    return max(1, min(len(names), int(width / (0.55 + 0.085 * max(map(len, names))))))


def in_row(count: int) -> int:
    """So many panels stand side by side."""
    return 2 if count == 4 else min(count, _COLUMNS)


def panel_width(columns: int) -> float:
    """Inches of a panel where so many stand side by side."""
    return {1: 4.6, 2: 3.6}.get(columns, 2.75)
