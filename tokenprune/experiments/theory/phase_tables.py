"""Tables of phase diagrams: N50, successes, and how N50 scales."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tokenprune.claims.published import EXPONENTS, PHASE_VIT
from tokenprune.claims.theory.scaling import fit, published_fit
from tokenprune.claims.theory.trials import PhaseStudy, SparsifyStudy
from tokenprune.complexity import ColumnFit
from tokenprune.drawing.numbers import Interval, p_value, plain
from tokenprune.drawing.table import Column, Table
from tokenprune.errors import counted
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import AXES, KINDS, columns, interval, lost, number, word

Phases = Sequence[PhaseStudy]


def diagrams(studies: Phases) -> list[Table]:
    """Tables of the diagrams of one axis and network; last the published one, where a grid is the same."""
    tables = [_diagram(study, text) for study, text in zip(studies, names(studies), strict=True)]
    if any(map(series.on_published_grid, studies)):
        shown, found = PHASE_VIT, published_fit().columns
        title = f"ViT, {AXES['alpha']}: successes, published ({shown.mark})"
        caption = f"Successes of {counted(shown.trials, 'trial')}; N50 fitted as ours. {shown.source}."
        rows = [("N50", *bounded(found))]
        tables.append(_grid(title, caption, shown.values, shown.samples, np.array(shown.successes), rows, "published"))
    return tables


def bounded(found: ColumnFit) -> list[Any]:
    """N50 of each column, or the side of the grid where it lies."""
    return [bound or n50 for n50, bound in zip(found.n50, found.bound, strict=True)]


def in_time(study: PhaseStudy | SparsifyStudy, found: ColumnFit) -> list[float | None]:
    """N50 eta epochs / batch"""
    return [n50 and n50 * study.time_per_sample for n50 in found.n50]


def _diagram(study: PhaseStudy, text: str) -> Table:
    first, found, axis = study.first, fit(study).columns, AXES[study.first.axis]
    caption = (
        f"Successes of {counted(study.trials, 'trial')}: N down, {axis} across."
        + lost(study.diverged.sum(), "counted as failures")
        + " N50: where half of the trials succeed, by logistic regression on log N, extrapolated beyond the N of the "
        "grid; > and <: no trial, or every trial, succeeded at any N. In one pass N is iterations times batch: where "
        "N50 η / batch (times epochs) is alike over batch and step size, N50 measures how fast SGD is."
    )
    title = f"{KINDS[first.kind]}, {axis}: successes and N50, {text}"
    rows = [("N50", *bounded(found)), ("N50 η / batch", *in_time(study, found))]
    return _grid(title, caption, first.values, first.samples, study.successes, rows)


def _grid(
    title: str,
    caption: str,
    values: Sequence[float],
    samples: Sequence[int],
    successes: np.ndarray,
    below: list[tuple[Any, ...]],
    look: str = "",
) -> Table:
    """successes: [values, samples]"""
    rows: list[tuple[Any, ...]] = [(n, *counts) for n, counts in zip(samples, successes.T.tolist(), strict=True)]
    shown = (Column("N", word, look="word"), *(Column(f"{value:g}", number, look=look) for value in values))
    return Table(title, caption, shown, (*reversed(rows), *below))


def laws(studies: Phases) -> Table:
    rows: list[tuple[Any, ...]] = []
    for study in sorted(studies, key=lambda study: list(AXES).index(study.first.axis)):
        found, axis, kind = fit(study), study.first.axis, study.first.kind
        law = "g of N50 ~ α*⁻ᵍ" if axis == "alpha" else f"slope of 1/√N50 over {AXES[axis].split()[-1]}"
        rows.append(
            (
                f"{KINDS[kind]}, {study.name}",
                law,
                study.trials,
                series.of_law(found.law),
                found.lack_of_fit and found.lack_of_fit.p,
                found.lapse and Interval(found.lapse.exponent, found.lapse.low, found.lapse.high),
                found.lapse and found.lapse.lapse,
                ", ".join(f"{plain(g)} (N to {n:,})" for n, g in found.up_to.items()) or None,
            )
        )
    shown = series.of_law(published_fit().law)
    rows.append((f"published diagram ({PHASE_VIT.mark})", "g of N50 ~ α*⁻ᵍ", PHASE_VIT.trials, shown, *[None] * 4))
    return Table(
        "How N50 scales",
        "Joint fits of all cells with 95 % bootstrap intervals over trials; the published success counts fitted alike. "
        f"The theorem has g = {EXPONENTS['vit']:g} for the ViT and {EXPONENTS['cnn']:g} for the CNN, and slopes below "
        "0. Lack of fit: p of the likelihood ratio against one N50 per column; small where the form does not hold. "
        "With a lapse success tends to 1 less the lapse as N grows, which trials that fail at large N ask for (95 % "
        "Wald interval). Last: the fit without a lapse to the smaller N of the grid only. Verdicts go by the first "
        "column, as fixed before the runs. No claim reads α#.",
        (
            *columns("recipe: setting", ("law", "trials")),
            interval("fitted"),
            Column("lack of fit p", lambda p: p_value(p, p)),
            interval("g with a lapse"),
            Column("lapse", "{:.1%}".format),
            Column("g of smaller grids", look="word"),
        ),
        tuple(rows),
        detail=True,
    )
