"""Phase diagrams as heat maps, with the boundary where half of the trials succeed."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokenprune.claims.published import PHASE_VIT
from tokenprune.claims.theory.scaling import fit, published_fit
from tokenprune.claims.theory.trials import PhaseStudy
from tokenprune.drawing import sheets
from tokenprune.drawing.style import INK, PAPER, RED, Drawing
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.phases import Studies, on
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import AXES, KINDS, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LAWS = {
    "alpha": "N50 ~ α*⁻ᵍ",
    "noise": "1/√N50 linear in τ",
    "start": "1/√N50 linear in σ",
    "confusion": "1/√N50 linear in α#",
}


def heat_figure(name: str, studies: Studies) -> Drawing:
    """Phase diagrams of one axis and network: the first large, beside the published one where the grid is the same."""
    study, called = studies[0], names(studies)
    first, axis, kind = study.first, study.first.axis, KINDS[study.first.kind]
    beside, alpha = series.on_published_grid(study), (axis, first.kind) == ("alpha", "vit")
    figure, large, small = sheets.sheet(
        [1, 1] if beside else [1], len(studies) - 1, small_height=1.1, top=0.62, bar=0.75
    )
    shown = _heat(large[0], study)
    large[0].set_title(f"{called[0]}, {spread({study.trials})} a cell")
    large[0].set_ylabel("training samples N")
    if beside:
        table = PHASE_VIT
        _cells(large[1], table.values, table.samples, np.array(table.successes) / table.trials)
        _published(large[1], table.values, table.samples, dots=True)
        large[1].set_title(f"published ({table.mark}), {table.trials} trials a cell")
    for ax in large:
        ax.set_xlabel(AXES[axis])
    if alpha:
        _published(large[0], first.values, first.samples)
    box = large[-1].get_position()
    bar = figure.colorbar(shown, cax=figure.add_axes((box.x1 + 0.015, box.y0, 0.014, box.height)))
    bar.set_label("success rate", fontsize=8)
    bar.outline.set_visible(False)
    for ax, each, text in zip(small, studies[1:], called[1:], strict=True):
        _heat(ax, each, few=True)
        sheets.small_title(ax, text)
    entries = [(sheets.handle(INK, "o", ""), "N50 of a column")]
    if any(fit(study).law.estimate is not None for study in studies):
        entries.append((sheets.handle(INK), "joint fit of N50"))
    if alpha:
        entries.append((sheets.handle(RED, "", "--"), "the published diagram's N50, same fit"))
    sheets.legend(figure, entries)
    caption = (
        f"Share of trials whose test hinge loss fell below {first.success:g}, a cell per pair of {AXES[axis]} "
        f"and N ({first.samples[0]:,} to {first.samples[-1]:,}); {kind}, "
        f"{spread({study.trials for study in studies})} a cell, each an "
        f"independent model. N50: where half of the trials succeed, by logistic regression on log N"
        f"; line: {_LAWS[axis]}, fitted to all cells."
        + (" No claim reads this axis." if axis == "confusion" else "")
        + (f" {sheets.SMALL}" if small else "")
    )
    columns = fit(study).columns
    alt = f"Success rate over {AXES[axis]} and N. N50 by column: " + ", ".join(
        f"{value:g}: {n50:.0f}" if n50 is not None else f"{value:g}: {bound}"
        for value, n50, bound in zip(first.values, columns.n50, columns.bound, strict=True)
    )
    return sheets.finish(figure, name, f"Phase diagram of the {kind} over {AXES[axis]}", caption, alt)


def _heat(ax: "Axes", study: PhaseStudy, few: bool = False) -> Any:
    values, samples, found = study.first.values, study.first.samples, fit(study)
    shown = _cells(ax, values, samples, study.successes / study.trials, few)
    _boundary(ax, values, samples, found.n50, INK, "-", thin=few)
    if not few:
        _dots(ax, found.columns.n50, samples)
    return shown


def _cells(
    ax: "Axes", values: Sequence[float], samples: Sequence[int], rates: Float[np.ndarray, "v n"], few: bool = False
) -> Any:
    """A row per N and a column per value, all of one size: grids are seldom even."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    shown = ax.pcolormesh(
        np.arange(len(values) + 1) - 0.5,
        np.arange(len(samples) + 1) - 0.5,
        rates.T,
        cmap=ListedColormap(colormaps["Blues"](np.linspace(0.07, 0.93, 41))),  # no cell as pale as the page
        vmin=0,
        vmax=1,
        edgecolors=PAPER,
        linewidth=0.4,
    )
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    columns, rows = _every(len(values), 4 if few else 11), _every(len(samples), 4 if few else 13)
    ax.set_xticks(columns, [f"{values[i]:g}" for i in columns])
    ax.set_yticks(rows, [f"{samples[i]:,}" for i in rows])
    ax.set_xlim(-0.5, len(values) - 0.5)
    ax.set_ylim(-0.5, len(samples) - 0.5)
    return shown


def _published(ax: "Axes", values: Sequence[float], samples: Sequence[int], dots: bool = False) -> None:
    inside = [value for value in values if min(PHASE_VIT.values) <= value <= max(PHASE_VIT.values)]
    if len(inside) > 1:
        _boundary(ax, values, samples, series.published_law, RED, "--", within=(inside[0], inside[-1]))
    if dots:
        _dots(ax, published_fit().columns.n50, samples, RED)


def _boundary(
    ax: "Axes",
    values: Sequence[float],
    samples: Sequence[int],
    n50: Callable[[float], float | None],
    color: str,
    dash: str,
    *,
    within: tuple[float, float] = (-math.inf, math.inf),
    thin: bool = False,
) -> None:
    from matplotlib.patheffects import Normal, Stroke

    places = np.linspace(0, len(values) - 1, 8 * len(values))
    fine = np.interp(places, np.arange(len(values)), values)
    heights = np.where((within[0] <= fine) & (fine <= within[1]), _heights(on(fine, n50), samples), np.nan)
    outline = [Stroke(linewidth=2.2 if thin else 3.2, foreground=PAPER), Normal()]
    ax.plot(places, heights, color=color, linestyle=dash, linewidth=1.1 if thin else 1.6, path_effects=outline)


def _dots(ax: "Axes", n50: Sequence[float | None], samples: Sequence[int], color: str = INK) -> None:
    heights = _heights(np.array(n50, float), samples)
    ax.plot(
        range(len(n50)), heights, color=color, marker="o", linestyle="", zorder=4,
        markeredgecolor=PAPER, markeredgewidth=0.9,
    )  # fmt: skip


def _heights(n: Float[np.ndarray, " x"], samples: Sequence[int]) -> Float[np.ndarray, " x"]:
    """Where N is on an axis of rows, straight in log N between them; nan outside of the grid."""
    if len(samples) < 2:
        return np.full(len(n), np.nan)
    logs = np.log(samples)
    half = np.diff(logs)[[0, -1]] / 2
    ends = [logs[0] - half[0], *logs, logs[-1] + half[1]]
    rows = [-0.5, *range(len(logs)), len(logs) - 0.5]
    return np.interp(np.log(n), ends, rows, left=np.nan, right=np.nan)


def _every(count: int, most: int) -> list[int]:
    return list(range(0, count, math.ceil(count / most)))
