"""Phase diagrams as heat maps, with the boundary where half of the trials succeed."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokenprune.claims.published import PHASE_VIT
from tokenprune.claims.theory.scaling import fit, published_fit
from tokenprune.drawing import plots
from tokenprune.drawing.style import INK, PAPER, RED, Drawing
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.phases import Studies, on
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import AXES, KINDS, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def heat_figure(name: str, studies: Studies) -> Drawing:
    """Phase diagrams of one axis and network, a panel per setting; last the published one where a grid is the same."""
    first, axis, kind = studies[0].first, studies[0].first.axis, KINDS[studies[0].first.kind]
    alpha = (axis, first.kind) == ("alpha", "vit")
    titles, entries = names(studies), [(INK, "o", "-", "N50 of each column, and the joint fit")]
    if any(map(series.on_published_grid, studies)):
        titles.append(f"published ({PHASE_VIT.mark})")
    if alpha:
        entries.append((RED, "o", "--", "the published diagram's, same fit"))
    figure, (axes,) = plots.panels(titles, entries, share=False)
    for ax, study in zip(axes, studies, strict=False):
        shown = _heat(ax, study.first.values, study.first.samples, study.successes / study.trials)
        _boundary(ax, study.first.values, fit(study).n50, fit(study).columns.n50, INK, "-")
        if alpha:
            _boundary(ax, study.first.values, series.published_law, (), RED, "--")
    for ax in axes[len(studies) :]:
        _heat(ax, PHASE_VIT.values, PHASE_VIT.samples, np.array(PHASE_VIT.successes) / PHASE_VIT.trials)
        _boundary(ax, PHASE_VIT.values, series.published_law, published_fit().columns.n50, RED, "--")
    plots.label_outer(axes, AXES[axis], "training samples N")
    figure.colorbar(shown, ax=axes, label="success rate", shrink=0.8, aspect=30)
    caption = (
        f"Share of trials whose test hinge loss fell below the threshold of success ({first.success:g} unless said), "
        f"a cell per pair of {AXES[axis]} and N; {kind}, {spread({study.trials for study in studies})} a cell, each an "
        f"independent model. N50: where half of the trials succeed, by logistic regression on log N; line: "
        f"{'N50 ~ α*⁻ᵍ' if axis == 'alpha' else f'1/√N50 linear in {AXES[axis]}'}, fitted to all cells."
        + (" No claim reads this axis." if axis == "confusion" else "")
    )
    columns = fit(studies[0]).columns
    alt = f"Success rate over {AXES[axis]} and N. N50 by column: " + ", ".join(
        f"{value:g}: {n50:.0f}" if n50 is not None else f"{value:g}: {bound}"
        for value, n50, bound in zip(first.values, columns.n50, columns.bound, strict=True)
    )
    return series.drawing(figure, name, f"Phase diagram of the {kind} over {AXES[axis]}", caption, alt)


def _heat(ax: "Axes", values: Sequence[float], samples: Sequence[int], rates: Float[np.ndarray, "v n"]) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    few = samples[-1] <= 10 * samples[0]  # a logarithmic axis would crowd them at its end
    x, y = _edges(np.array(values)), _edges(np.array(samples)) if few else np.exp(_edges(np.log(samples)))
    colors = ListedColormap(colormaps["Blues"](np.linspace(0.07, 0.93, 41)))  # no cell as pale as the page
    shown = ax.pcolormesh(x, y, rates.T, cmap=colors, vmin=0, vmax=1, edgecolors=PAPER, linewidth=0.4)
    ax.grid(visible=False)
    ax.set(yscale="linear" if few else "log", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    ax.set_xticks(values[:: -(-len(values) // 8)])
    plots.log_ticks(ax.yaxis, samples[:: -(-len(samples) // 8)])
    return shown


def _edges(centres: Float[np.ndarray, " x"]) -> Float[np.ndarray, " x+1"]:
    """Between the centres of cells, and as far beyond the first and the last."""
    half = np.diff(centres) / 2 if len(centres) > 1 else np.array([0.5])
    return np.array([centres[0] - half[0], *(centres[:-1] + half if len(centres) > 1 else ()), centres[-1] + half[-1]])


def _boundary(
    ax: "Axes",
    values: Sequence[float],
    n50: Callable[[float], float | None],
    columns: Sequence[float | None],
    color: str,
    dash: str,
) -> None:
    """N50 by the law as a line, and that of each column."""
    from matplotlib.patheffects import Normal, Stroke

    fine = np.linspace(values[0], values[-1], 100)
    outline = [Stroke(linewidth=3, foreground=PAPER), Normal()]
    ax.plot(fine, on(fine, n50), color=color, linestyle=dash, path_effects=outline)
    ax.plot(values[: len(columns)], np.array(columns, float), "o", color=color, zorder=4, **plots.EDGE)
