"""T7: iterations to zero test error."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tokenprune.claims import Claim, LaboratoryStudy, Verdict
from tokenprune.claims.published import PAPER
from tokenprune.claims.theory.convergence import analyse, convergence
from tokenprune.claims.theory.trials import TimeStudy
from tokenprune.drawing import plots
from tokenprune.drawing.numbers import plain
from tokenprune.drawing.style import BLUE, GREEN, MUTED, ORANGE, PURPLE, RED, SKY, Drawing
from tokenprune.drawing.table import Table
from tokenprune.errors import counted
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import KINDS, columns, lost, spread

#: By step size.
_COLORS = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)


def _figures(studies: Sequence[LaboratoryStudy[Any]], verdicts: Sequence[Verdict]) -> list[Figure]:
    every = series.default_first(studies, TimeStudy)
    found = ([study for study in every if study.first.kind == kind] for kind in KINDS)
    return [partial(_figure, chosen) for chosen in found if chosen]


def _figure(studies: Sequence[TimeStudy]) -> Drawing:
    """Iterations to zero loss against alpha_* per step size, with the joint fit; exponents by setting."""
    called, first = names(studies), studies[0].first
    sizes = [(_color(row), "o", "-", f"step size {size:g}") for row, size in enumerate(first.step_sizes)]
    figure, (axes,) = plots.panels(called, [*sizes, (MUTED, "", ":", "slope α*⁻¹")])
    for ax, study in zip(axes, studies, strict=True):
        _times(ax, study)
    plots.label_outer(axes, "share of label-relevant tokens α*", "iterations to zero test loss")
    caption = (
        f"Median over {spread({study.trials for study in studies})} of the iterations until the test hinge "
        f"loss is below {first.success:g}, a fresh batch each step; cells where at least half of the trials needed "
        f"more than {first.limit:,} are left out. Lines: T ~ α*⁻ʰ η⁻ᵏ fitted to all cells. Dotted: slope −1. "
        "The exponents stand with the verdicts; the theorem's bound is 1."
        + lost(sum(study.diverged or 0 for study in studies), "counted as given up")
    )
    alt = "Exponents: " + "; ".join(
        f"{text}: α* {found.alpha.value:.2f}, η {found.eta.value:.2f}"
        for text, found in zip(called, map(analyse, studies), strict=True)
        if found.alpha and found.eta
    )
    return series.drawing(figure, "time", "Iterations to zero error", caption, alt)


def _times(ax: Any, study: TimeStudy) -> None:
    """Medians by step size with the joint fit, and the theorem's slope through the middle of each fit."""
    values, found = study.first.values, analyse(study)
    if np.isnan(found.median).all():
        return  # a logarithmic axis of nothing but nan has no limits
    fine, middle = np.geomspace(min(values), max(values), 20), np.exp(np.log([values]).mean(1))
    for row, size in enumerate(study.first.step_sizes):
        ax.plot(values, found.median[row], "o", color=_color(row), zorder=3, **plots.EDGE)
        ax.plot(fine, found.fitted(size, fine), color=_color(row))
        ax.plot(fine, found.fitted(size, middle) * middle / fine, color=MUTED, linestyle=":", linewidth=1.1, zorder=1)
    ax.set(xscale="log", yscale="log")
    plots.log_ticks(ax.xaxis, values[::2])
    plots.log_ticks(ax.yaxis)


def _color(row: int) -> str:
    return _COLORS[row % len(_COLORS)]


def _table(study: TimeStudy) -> Table:
    first, found = study.first, analyse(study)

    def form(cell: tuple[float, int]) -> str:
        median, count = cell
        shown = plain(None if np.isnan(median) else median, ",.4g")
        return shown + (f" ({count} given up)" if count else "")

    cells = [[*zip(*each, strict=True)] for each in zip(found.median.T, found.given_up.T, strict=True)]
    return Table(
        f"Iterations to zero error, {KINDS[first.kind]}, {study.label}",
        f"Median over {counted(study.trials, 'trial')}; given up after {first.limit:,} iterations."
        + lost(study.diverged or 0, "counted as given up"),
        columns("α*", (f"η = {size:g}" for size in first.step_sizes), form),
        tuple((value, *row) for value, row in zip(first.values, cells, strict=True)),
    )


EXPERIMENT = Experiment(
    "T7",
    "Iterations to zero error",
    None,
    (
        Claim(
            id="theory-time",
            statement="Iterations to zero test error grow no faster than alpha_*^-1 eta^-1.",
            source=f"{PAPER}, Theorem 1: Theta(alpha_*^-1 eta^-1)",
            reads="time results of the ViT",
            test="the exponent h of T ~ alpha_*^-h is above 0 and at most 1; variant eta: of T ~ eta^-h. At least "
            "three "
            "alpha_* (three eta) and six trials",
            unit="exponent of 1 / alpha_*",
            support=(0.0, 1.0),
            find=convergence,
        ),
    ),
    _figures,
    series.tables(TimeStudy, _table),
)
