"""The numbers behind the laboratory's figures as tables; published numbers are in columns that say so."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tokenprune.claims.published import ATTENTION, EXPONENTS, PHASE_VIT, REMOVAL
from tokenprune.claims.theory import convergence, removal
from tokenprune.claims.theory.scaling import fit, published_fit
from tokenprune.claims.theory.trials import AttentionStudy, PhaseStudy, SparsifyStudy, SpatialStudy, TimeStudy
from tokenprune.complexity import ColumnFit
from tokenprune.drawing.numbers import Interval, estimate, p_value, plain
from tokenprune.drawing.table import Column, Table
from tokenprune.report.theory import series
from tokenprune.report.theory.collect import Laboratory
from tokenprune.report.theory.curves import against_published, removal_diverged
from tokenprune.report.theory.settings import names, of
from tokenprune.report.theory.spatial import ARMS, BUILT
from tokenprune.report.theory.words import AXES, KINDS, METHODS, lost, trials

Phases = Sequence[PhaseStudy]


def tables(laboratory: Laboratory) -> list[Table]:
    """In the order of the figures."""
    phases = of(laboratory.studies, PhaseStudy)
    found: list[Table] = []
    for axis, kind in itertools.product(AXES, KINDS):
        chosen = [study for study in phases if (study.first.axis, study.first.kind) == (axis, kind)]
        if chosen:
            found += [_n50(chosen), _n50_in_time(chosen), *_successes(chosen)]
    if phases:
        found.append(_laws(phases))
    if alpha := [study for study in phases if study.first.axis == "alpha"]:
        found.append(_checks(alpha))
    if attention := of(laboratory.studies, AttentionStudy):
        found.append(_attention(attention))
    for sparsify in of(laboratory.studies, SparsifyStudy):
        found += [_removal(sparsify), _removal_samples(sparsify)]
    found += [_times(study) for study in of(laboratory.studies, TimeStudy)]
    return found + [table for study in of(laboratory.studies, SpatialStudy) for table in _spatial(study)]


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _number(value: Any) -> str:
    """As it is if it is text: the side of the grid on which N50 lies."""
    return value if isinstance(value, str) else plain(value, ",.0f")


def _interval(value: Interval) -> str:
    return estimate(value.value, value.low, value.high)


def _columns(first: str, others: Iterable[str], form: Any = str) -> tuple[Column, ...]:
    return (Column(first, _word, look="word"), *(Column(name, form) for name in others))


def _bounded(found: ColumnFit) -> list[Any]:
    return [bound or n50 for n50, bound in zip(found.n50, found.bound, strict=True)]


def _in_time(study: PhaseStudy | SparsifyStudy, found: ColumnFit) -> list[float | None]:
    return [n50 and n50 * study.time_per_sample for n50 in found.n50]


def _by_value(studies: Phases, cells: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """cells: of each setting, by its own values of the axis."""
    known = [dict(zip(study.first.values, each, strict=True)) for study, each in zip(studies, cells, strict=True)]
    return [(value, *(each.get(value) for each in known)) for value in sorted(set().union(*known))]


def _n50(studies: Phases) -> Table:
    axis, kind = studies[0].first.axis, studies[0].first.kind
    columns = _columns(AXES[axis], names(studies), _number)
    rows = _by_value(studies, [_bounded(fit(study).columns) for study in studies])
    if (axis, kind) == ("alpha", "vit"):
        columns = (*columns, Column("published diagram", _number, look="published"))
        rows = [(*row, series.published_n50(studies[0], row[0])) for row in rows]
    return Table(
        f"{KINDS[kind]}: N50 over {AXES[axis]}",
        "N where half of the trials succeed, by logistic regression on log N; > and <: beyond the grid.",
        columns,
        tuple(rows),
    )


def _n50_in_time(studies: Phases) -> Table:
    axis, kind = studies[0].first.axis, studies[0].first.kind
    return Table(
        f"{KINDS[kind]}: N50 η / batch over {AXES[axis]}",
        "Steps of SGD times their size until half of the trials succeed (times epochs, where there are more than "
        "one). In one pass N is iterations times batch: where a row is alike over batch and step size, N50 "
        "measures how fast SGD is rather than how many samples it needs.",
        _columns(AXES[axis], names(studies), _number),
        tuple(_by_value(studies, [_in_time(study, fit(study).columns) for study in studies])),
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
    columns = (Column("N", _word, look="word"), *(Column(f"{value:g}", look=look) for value in values))
    return Table(title, caption, columns, tuple(reversed(rows)))


def _laws(studies: Phases) -> Table:
    rows = []
    for study in sorted(studies, key=lambda study: ("alpha", "noise", "start", "confusion").index(study.first.axis)):
        found, axis, kind = fit(study), study.first.axis, study.first.kind
        law, theorem = f"slope of 1/√N50 over {AXES[axis].split()[-1]}", None if axis == "confusion" else "below 0"
        if axis == "alpha":
            law, theorem = "g of N50 ~ α*⁻ᵍ", f"{EXPONENTS[kind]:g}"
        shown = series.of_law(published_fit().law) if (axis, kind) == ("alpha", "vit") else None
        lacking = found.lack_of_fit and found.lack_of_fit.p
        fitted = series.of_law(found.law)
        rows.append((f"{KINDS[kind]}, {study.name}", law, study.trials, fitted, lacking, theorem, shown))
    return Table(
        "How N50 scales",
        "Joint fits of all cells with 95 % bootstrap intervals over trials. Theorem: Theorem 1 and Proposition 1; the "
        "forms in τ and σ as recalled. Published diagram: its success counts, fitted alike. Lack of fit: p of the "
        "likelihood ratio against one N50 per column; small where the form does not hold. No claim reads α#.",
        (
            *_columns("recipe: setting", ("law", "trials")),
            Column("fitted (95 %)", _interval),
            Column("lack of fit p", lambda p: p_value(p, p)),
            Column("theorem", look="published"),
            Column("published diagram", _interval, look="published"),
        ),
        tuple(rows),
    )


def _checks(studies: Phases) -> Table:
    rows = []
    for study in studies:
        law, lapse = fit(study).law, fit(study).lapse
        smaller = ", ".join(f"{plain(g)} (N to {n:,})" for n, g in fit(study).up_to.items())
        rows.append(
            (
                f"{KINDS[study.first.kind]}, {study.name}",
                law.estimate,
                None if law.deviance is None else (law.deviance, law.freedom),
                lapse and Interval(lapse.exponent, lapse.low, lapse.high),
                lapse and lapse.lapse,
                lapse and (lapse.deviance, lapse.freedom),
                smaller or None,
            )
        )
    return Table(
        "How far the exponent in α* depends on the fit",
        "Success is logistic in log N; with a lapse it tends to 1 less the lapse as N grows, which trials that fail at "
        "large N ask for (95 % Wald interval). Deviance on its degrees of freedom. Last: the fit without a lapse to "
        "the smaller N of the grid only. Verdicts go by the first column, as fixed before the runs.",
        (
            *_columns("recipe: setting", ["g"], plain),
            Column("deviance", _deviance),
            Column("g with a lapse", _interval),
            Column("lapse", "{:.1%}".format),
            Column("deviance with it", _deviance),
            Column("g of smaller grids"),
        ),
        tuple(rows),
    )


def _deviance(value: tuple[float, int]) -> str:
    return f"{value[0]:.0f} on {value[1]}"


def _attention(studies: Sequence[AttentionStudy]) -> Table:
    curves: list[dict[float, Any]] = [
        dict(zip(study.first.iterations, map(series.mean, study.curve("attention")), strict=True)) for study in studies
    ]
    curves.append(dict(zip(ATTENTION.x, ATTENTION.y, strict=True)))
    places = sorted(set().union(*curves))
    return Table(
        "Attention on label-relevant tokens",
        "Mean over trials (95 % t interval), at most 25 of the iterations; theory.csv has all, and the norms."
        + lost(sum(study.diverged for study in studies), "left out"),
        (
            *_columns("iteration", names(studies), _interval),
            Column(f"published ({ATTENTION.mark})", plain, look="published"),
        ),
        tuple((f"{x:g}", *(known.get(x) for known in curves)) for x in places[:: -(-len(places) // 25)]),
    )


def _removal(study: SparsifyStudy) -> Table:
    first, rows = study.first, []
    for method in study.first.methods:
        curves = [map(series.mean, study.curve(name, method)) for name in ("loss", "accuracy", "relevant")]
        known = REMOVAL.get(method)
        shown = dict(zip(known.x, known.y, strict=True)) if known else {}
        for removed, *means in zip(first.removed, *curves, strict=True):
            rows.append((METHODS[method], removed, *means, shown.get(removed)))
    return Table(
        f"Tokens removed, {study.label}",
        f"{first.tokens} tokens before, N = {first.curve_samples:,}; means over trials (95 % t interval)."
        + lost(removal_diverged(study, "loss"), "left out")
        + against_published(study),
        (
            *_columns("method", ["removed"]),
            *(Column(name, _interval) for name in ("test loss", "test accuracy", "relevant share")),
            Column("published loss (slides, read off axes)", plain, look="published"),
        ),
        tuple(rows),
    )


def _removal_samples(study: SparsifyStudy) -> Table:
    found = removal.complexity(study)
    counts = zip(*(study.successes(method).tolist() for method in study.first.compared), strict=True)
    return Table(
        f"Samples needed after removal, {study.label}",
        f"Successes of {trials(study.trials)} with {study.first.complexity_removed} of {study.first.tokens} tokens "
        "removed." + lost(removal_diverged(study, "complexity"), "counted as failures"),
        _columns("N", (METHODS[method] for method in study.first.compared), _number),
        (
            *((n, *at) for n, at in zip(study.first.samples, counts, strict=True)),
            ("N50", *_bounded(found)),
            ("N50 η / batch", *_in_time(study, found)),
        ),
    )


def _times(study: TimeStudy) -> Table:
    first, found = study.first, convergence.analyse(study)

    def form(cell: tuple[float, int]) -> str:
        median, count = cell
        shown = plain(None if np.isnan(median) else median, ",.4g")
        return shown + (f" ({count} given up)" if count else "")

    cells = [[*zip(*each, strict=True)] for each in zip(found.median.T, found.given_up.T, strict=True)]
    return Table(
        f"Iterations to zero error, {KINDS[first.kind]}, {study.label}",
        f"Median over {trials(study.trials)}; given up after {first.limit:,} iterations."
        + lost(study.diverged or 0, "counted as given up"),
        _columns("α*", (f"η = {size:g}" for size in first.step_sizes), form),
        tuple((value, *row) for value, row in zip(first.values, cells, strict=True)),
    )


def _spatial(study: SpatialStudy) -> Iterator[Table]:
    first, number = study.first, trials(study.trials)
    shown = {"overlap": "overlap", "exact": "exact match", "loss": "test loss", "accuracy": "test accuracy"}
    curves = [map(series.mean, study.curve(name)) for name in shown]
    built = [
        (f"built: {text}", *(series.mean(study.constructed(name, attention)) for name in shown))
        for attention, (text, *_) in BUILT.items()
    ]
    yield Table(
        f"Patch association, {study.label}",
        f"Means over {number} (95 % t interval); below, networks that were built, not trained.",
        _columns("iteration", shown.values(), _interval),
        (*zip(map(str, first.iterations), *curves, strict=True), *built),
    )
    columns, cells = list(_columns("N", ())), []
    for arm, (text, *_) in ARMS.items():
        columns += [Column(text, _interval), Column("successes")]
        cells += [map(series.mean, study.target(arm)), study.successes(arm)]
    yield Table(
        f"Transfer, {study.label}",
        f"Test accuracy on the target task, mean over {number} (95 % t interval), and successes at {first.success:g}.",
        tuple(columns),
        tuple(zip(first.samples, *cells, strict=True)),
    )
