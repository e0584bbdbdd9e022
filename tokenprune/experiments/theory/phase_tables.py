"""Tables of phase diagrams: N50, successes, and how N50 scales."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tokenprune.claims.published import EXPONENTS, PHASE_VIT
from tokenprune.claims.theory.scaling import fit, published_fit
from tokenprune.claims.theory.trials import PhaseStudy, SparsifyStudy
from tokenprune.complexity import ColumnFit
from tokenprune.drawing.numbers import Interval, p_value, plain
from tokenprune.drawing.table import Column, Table
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.columns import columns, interval, number, word
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import AXES, KINDS, lost, trials

Phases = Sequence[PhaseStudy]


def diagrams(studies: Phases) -> list[Table]:
    """All tables of the diagrams of one axis and network."""
    return [_n50(studies), _n50_over_time(studies), *_successes(studies)] if studies else []


def bounded(found: ColumnFit) -> list[Any]:
    """N50 of each column, or the side of the grid where it lies."""
    return [bound or n50 for n50, bound in zip(found.n50, found.bound, strict=True)]


def in_time(study: PhaseStudy | SparsifyStudy, found: ColumnFit) -> list[float | None]:
    """N50 eta epochs / batch"""
    return [n50 and n50 * study.time_per_sample for n50 in found.n50]


def _by_value(studies: Phases, cells: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """cells: of each setting, by its own values of the axis."""
    known = [dict(zip(study.first.values, each, strict=True)) for study, each in zip(studies, cells, strict=True)]
    return [(value, *(each.get(value) for each in known)) for value in sorted(set().union(*known))]


def _n50(studies: Phases) -> Table:
    axis, kind = studies[0].first.axis, studies[0].first.kind
    shown = columns(AXES[axis], names(studies), number)
    rows = _by_value(studies, [bounded(fit(study).columns) for study in studies])
    if (axis, kind) == ("alpha", "vit"):
        shown = (*shown, Column("published diagram", number, look="published"))
        rows = [(*row, series.published_n50(studies[0], row[0])) for row in rows]
    return Table(
        f"{KINDS[kind]}: N50 over {AXES[axis]}",
        "N where half of the trials succeed, by logistic regression on log N; beyond the N of the grid it is "
        "extrapolated. > and <: no trial, or every trial, succeeded at any N.",
        shown,
        tuple(rows),
    )


def _n50_over_time(studies: Phases) -> Table:
    axis, kind = studies[0].first.axis, studies[0].first.kind
    return Table(
        f"{KINDS[kind]}: N50 η / batch over {AXES[axis]}",
        "Steps of SGD times their size until half of the trials succeed (times epochs, where there are more than "
        "one). In one pass N is iterations times batch: where a row is alike over batch and step size, N50 "
        "measures how fast SGD is rather than how many samples it needs.",
        columns(AXES[axis], names(studies), number),
        tuple(_by_value(studies, [in_time(study, fit(study).columns) for study in studies])),
        detail=True,
    )


def _successes(studies: Phases) -> Iterator[Table]:
    for study, text in zip(studies, names(studies), strict=True):
        axis = AXES[study.first.axis]
        caption = f"Successes of {trials(study.trials)}: N down, {axis} across."
        caption += lost(study.diverged.sum(), "counted as failures")
        title = f"{KINDS[study.first.kind]}, {axis}: successes, {text}"
        yield _grid(title, caption, study.first.values, study.first.samples, study.successes)
    if any(map(series.on_published_grid, studies)):
        shown = PHASE_VIT
        title = f"ViT, {AXES['alpha']}: successes, published ({shown.mark})"
        caption = f"Successes of {trials(shown.trials)}. {shown.source}."
        yield _grid(title, caption, shown.values, shown.samples, np.array(shown.successes), "published")


def _grid(
    title: str, caption: str, values: Sequence[float], samples: Sequence[int], successes: np.ndarray, look: str = ""
) -> Table:
    """successes: [values, samples]"""
    rows = [(n, *counts) for n, counts in zip(samples, successes.T, strict=True)]
    columns = (Column("N", word, look="word"), *(Column(f"{value:g}", look=look) for value in values))
    return Table(title, caption, columns, tuple(reversed(rows)))


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
