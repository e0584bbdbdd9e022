"""T7: iterations to zero test error."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tokenprune.claims import Claim, LaboratoryStudy, Verdict
from tokenprune.claims.published import PAPER
from tokenprune.claims.theory.convergence import analyse, convergence
from tokenprune.claims.theory.trials import TimeStudy
from tokenprune.drawing import sheets
from tokenprune.drawing.numbers import Interval, plain, pretty
from tokenprune.drawing.style import BLUE, MUTED, ORANGE, Drawing
from tokenprune.drawing.style import PAPER as WHITE
from tokenprune.drawing.table import Table
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.columns import columns
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import KINDS, lost, spread, trials


def _figures(studies: Sequence[LaboratoryStudy[Any]], verdicts: Sequence[Verdict]) -> list[Figure]:
    every = series.default_first(studies, TimeStudy)
    found = ([study for study in every if study.first.kind == kind] for kind in KINDS)
    return [partial(_figure, chosen) for chosen in found if chosen]


def _tables(studies: Sequence[LaboratoryStudy[Any]], verdicts: Sequence[Verdict]) -> list[Table]:
    return [_table(study) for study in series.of(studies, TimeStudy)]


def _figure(studies: Sequence[TimeStudy]) -> Drawing:
    """Iterations to zero loss against alpha_* per step size, with the joint fit; exponents by setting."""
    figure, (ax, side), small = sheets.sheet([1.5, 1], len(studies) - 1, height=3.0, top=0.56, names=1.0)
    called, first = names(studies), studies[0].first
    for study, panel in zip(studies, (ax, *small), strict=True):
        _times(panel, study, large=panel is ax)
        panel.set_xscale("log")
        sheets.log_ticks(panel.xaxis, study.first.values, most=8 if panel is ax else 4)
    sheets.log_y([ax, *small])
    ax.set(title=called[0], xlabel="share of label-relevant tokens α*", ylabel="iterations to zero test loss")
    for panel, text in zip(small, called[1:], strict=True):
        sheets.small_title(panel, text)
    found = [(analyse(study), text) for study, text in zip(studies, called, strict=True)]
    rows: list[tuple[str, str, str, Interval | None]] = [
        *((f"α*: {text}", BLUE, "o", series.of_estimate(each.alpha.estimate)) for each, text in found),
        *((f"η: {text}", ORANGE, "s", series.of_estimate(each.eta.estimate)) for each, text in found),
    ]
    sheets.forest(side, rows, "exponents of 1/α* and 1/η", [(1, "1")])
    side.set_xlim(left=min(0.0, side.get_xlim()[0]))
    sizes = [(sheets.handle(_color(row), "o"), f"step size {size:g}") for row, size in enumerate(first.step_sizes)]
    sheets.legend(figure, [*sizes, (sheets.handle(MUTED, "", ":"), "slope α*⁻¹")])
    caption = (
        f"Left: median over {spread({study.trials for study in studies})} of the iterations until the test hinge "
        f"loss is below {first.success:g}, a fresh batch each step; cells where at least half of the trials needed "
        f"more than {first.limit:,} are left out. Lines: T ~ α*⁻ʰ η⁻ᵏ fitted to all cells. Dotted: slope −1. "
        "Right: fitted exponents with 95 % bootstrap intervals over trials; the theorem's bound is 1."
        + lost(sum(study.diverged or 0 for study in studies), "counted as given up")
        + (f" {sheets.SMALL}" if small else "")
    )
    alt = "Exponents: " + "; ".join(f"{name} {value.value:.2f}" for name, _, _, value in rows if value)
    return sheets.finish(figure, "time", "Iterations to zero error", caption, pretty(alt))


def _times(panel: Any, study: TimeStudy, *, large: bool) -> None:
    """Medians by step size with the joint fit; large: with the theorem's slope through the middle of each fit."""
    values, found = study.first.values, analyse(study)
    if np.isnan(found.median).all():
        return  # a logarithmic axis of nothing but nan has no limits
    fine, middle = np.geomspace(min(values), max(values), 20), np.exp(np.log([values]).mean(1))
    for row, size in enumerate(study.first.step_sizes):
        panel.plot(
            values, found.median[row], color=_color(row), marker="o", linestyle="", markeredgecolor=WHITE,
            markersize=4.5 if large else 3, markeredgewidth=0.6, zorder=3,
        )  # fmt: skip
        panel.plot(fine, found.fitted(size, fine), color=_color(row), linewidth=1.4 if large else 1)
        if large:
            centre = found.fitted(size, middle)
            panel.plot(fine, centre * middle / fine, color=MUTED, linestyle=":", linewidth=1.1, zorder=1)


def _color(row: int) -> str:
    return sheets.SERIES[row % len(sheets.SERIES)]


def _table(study: TimeStudy) -> Table:
    first, found = study.first, analyse(study)

    def form(cell: tuple[float, int]) -> str:
        median, count = cell
        shown = plain(None if np.isnan(median) else median, ",.4g")
        return shown + (f" ({count} given up)" if count else "")

    cells = [[*zip(*each, strict=True)] for each in zip(found.median.T, found.given_up.T, strict=True)]
    return Table(
        f"Iterations to zero error, {KINDS[first.kind]}, {study.label}",
        f"Median over {trials(study.trials)}; given up after {first.limit:,} iterations."
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
            experiment="T7",
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
    _tables,
)
