"""The numbers behind the laboratory's figures as tables; published numbers are in columns that say so."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenprune.claims.published import ATTENTION, EXPONENTS, PHASE_VIT, REMOVAL
from tokenprune.claims.theory import convergence, removal
from tokenprune.claims.theory.scaling import fit, published_fit
from tokenprune.claims.theory.trials import AttentionStudy, PhaseStudy, SparsifyStudy, SpatialStudy, TimeStudy
from tokenprune.drawing.numbers import estimate
from tokenprune.report.numbers import DASH, p_value, plain
from tokenprune.report.series import Interval
from tokenprune.report.theory import series
from tokenprune.report.theory.collect import Laboratory
from tokenprune.report.theory.curves import against_published, removal_diverged
from tokenprune.report.theory.settings import Case, names, of
from tokenprune.report.theory.spatial import ARMS, BUILT
from tokenprune.report.theory.words import AXES, KINDS, METHODS, lost, trials


@dataclass(frozen=True)
class Table:
    """head: names of the columns; those from `published` on were published, those from `words` on are no numbers."""

    title: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    published: int | None = None
    words: int | None = None


def tables(laboratory: Laboratory) -> list[Table]:
    """In the order of the figures."""
    phases = of(laboratory.cases, PhaseStudy)
    found: list[Table] = []
    for axis, kind in itertools.product(AXES, KINDS):
        chosen = [case for case in phases if (case.first.axis, case.first.kind) == (axis, kind)]
        if chosen:
            found += [_n50(chosen), _n50_in_time(chosen), *_successes(chosen)]
    if phases:
        found.append(_laws(phases))
    if alpha := [case for case in phases if case.first.axis == "alpha"]:
        found.append(_checks(alpha))
    if attention := of(laboratory.cases, AttentionStudy):
        found.append(_attention(attention))
    for case in of(laboratory.cases, SparsifyStudy):
        found += [_removal(case), _removal_samples(case)]
    found += [_times(case) for case in of(laboratory.cases, TimeStudy)]
    found += [table for case in of(laboratory.cases, SpatialStudy) for table in _spatial(case)]
    return found


def _by_value(
    cases: Sequence[Case[PhaseStudy]], shown: Callable[[PhaseStudy, int], str]
) -> Iterator[tuple[float, list[str]]]:
    """Each value of the axis, with what is shown of its column in each setting."""
    for value in sorted({value for case in cases for value in case.setting.first.values}):
        studies = [(case.setting, case.setting.first.values) for case in cases]
        yield value, [shown(study, known.index(value)) if value in known else DASH for study, known in studies]


def _n50(cases: Sequence[Case[PhaseStudy]]) -> Table:
    def shown(study: PhaseStudy, column: int) -> str:
        found = fit(study).columns
        return found.bound[column] or plain(found.n50[column], ",.0f")

    study = cases[0].setting
    axis, kind = study.first.axis, study.first.kind
    head, published = [AXES[axis], *names(cases)], (axis, kind) == ("alpha", "vit")
    rows = [(f"{value:g}", *cells) for value, cells in _by_value(cases, shown)]
    if published:
        head.append("published diagram")
        rows = [(*row, plain(series.published_n50(study, float(row[0])), ",.0f")) for row in rows]
    return Table(
        f"{KINDS[kind]}: N50 over {AXES[axis]}",
        "N where half of the trials succeed, by logistic regression on log N; > and <: beyond the grid.",
        tuple(head),
        tuple(rows),
        len(head) - 1 if published else None,
    )


def _n50_in_time(cases: Sequence[Case[PhaseStudy]]) -> Table:
    def shown(study: PhaseStudy, column: int) -> str:
        n50 = fit(study).columns.n50[column]
        return plain(n50 and n50 * study.time_per_sample, ",.0f")

    axis, kind = cases[0].first.axis, cases[0].first.kind
    return Table(
        f"{KINDS[kind]}: N50 η / batch over {AXES[axis]}",
        "Steps of SGD times their size until half of the trials succeed (times epochs, where there are more than "
        "one). In one pass N is iterations times batch: where a row is alike over batch and step size, N50 "
        "measures how fast SGD is rather than how many samples it needs.",
        (AXES[axis], *names(cases)),
        tuple((f"{value:g}", *cells) for value, cells in _by_value(cases, shown)),
    )


def _successes(cases: Sequence[Case[PhaseStudy]]) -> Iterator[Table]:
    for case, text in zip(cases, names(cases), strict=True):
        study, axis = case.setting, AXES[case.first.axis]
        caption = f"Successes of {trials(study.trials)}: N down, {axis} across."
        caption += lost(study.diverged.sum(), "counted as failures")
        title = f"{KINDS[study.first.kind]}, {axis}: successes, {text}"
        yield _grid(title, caption, study.first.values, study.first.samples, study.successes)
    if any(series.on_published_grid(case.setting) for case in cases):
        shown = PHASE_VIT
        title = f"ViT, {AXES['alpha']}: successes, published ({shown.mark})"
        caption = f"Successes of {trials(shown.trials)}. {shown.source}."
        yield _grid(title, caption, shown.values, shown.samples, np.array(shown.successes), published=1)


def _grid(
    title: str,
    caption: str,
    values: Sequence[float],
    samples: Sequence[int],
    successes: np.ndarray,
    published: int | None = None,
) -> Table:
    """successes: [values, samples]"""
    rows = [(f"{n:,}", *map(str, counts)) for n, counts in zip(samples, successes.T, strict=True)]
    return Table(title, caption, ("N", *(f"{value:g}" for value in values)), tuple(reversed(rows)), published)


def _laws(cases: Sequence[Case[PhaseStudy]]) -> Table:
    rows = []
    for case in sorted(cases, key=lambda case: ("alpha", "noise", "start", "confusion").index(case.first.axis)):
        found, axis, kind = fit(case.setting), case.first.axis, case.first.kind
        law, theorem, shown = f"slope of 1/√N50 over {AXES[axis].split()[-1]}", "below 0", None
        if axis == "alpha":
            law, theorem = "g of N50 ~ α*⁻ᵍ", f"{EXPONENTS[kind]:g}"
            shown = series.of_law(published_fit().law) if kind == "vit" else None
        elif axis == "confusion":
            theorem = DASH
        p = found.lack_of_fit.p if found.lack_of_fit else None
        rows.append(
            (
                f"{KINDS[kind]}, {case.title}",
                law,
                str(case.setting.trials),
                _said(series.of_law(found.law)),
                DASH if p is None else p_value(p, p),
                theorem,
                _said(shown),
            )
        )
    return Table(
        "How N50 scales",
        "Joint fits of all cells with 95 % bootstrap intervals over trials. Theorem: Theorem 1 and Proposition 1; the "
        "forms in τ and σ as recalled. Published diagram: its success counts, fitted alike. Lack of fit: p of the "
        "likelihood ratio against one N50 per column; small where the form does not hold. No claim reads α#.",
        ("recipe: setting", "law", "trials", "fitted (95 %)", "lack of fit p", "theorem", "published diagram"),
        tuple(rows),
        5,
    )


def _checks(cases: Sequence[Case[PhaseStudy]]) -> Table:
    rows = []
    for case in cases:
        found = fit(case.setting)
        law, lapse = found.law, found.lapse
        rows.append(
            (
                f"{KINDS[case.first.kind]}, {case.title}",
                plain(law.estimate),
                _deviance(law.deviance, law.freedom),
                estimate(lapse.exponent, lapse.low, lapse.high) if lapse else DASH,
                f"{lapse.lapse:.1%}" if lapse else DASH,
                _deviance(lapse.deviance, lapse.freedom) if lapse else DASH,
                ", ".join(f"{plain(g)} (N to {n:,})" for n, g in found.up_to.items()) or DASH,
            )
        )
    return Table(
        "How far the exponent in α* depends on the fit",
        "Success is logistic in log N; with a lapse it tends to 1 less the lapse as N grows, which trials that fail at "
        "large N ask for (95 % Wald interval). Deviance on its degrees of freedom. Last: the fit without a lapse to "
        "the smaller N of the grid only. Verdicts go by the first column, as fixed before the runs.",
        ("recipe: setting", "g", "deviance", "g with a lapse", "lapse", "deviance with it", "g of smaller grids"),
        tuple(rows),
    )


def _deviance(value: float | None, freedom: int | None) -> str:
    return DASH if value is None else f"{value:.0f} on {freedom}"


def _attention(cases: Sequence[Case[AttentionStudy]]) -> Table:
    shown = dict(zip(ATTENTION.x, ATTENTION.y, strict=True))
    curves = []
    for case in cases:
        known = series.curve(case.first.iterations, case.setting.curve("attention").T)
        curves.append(dict(zip(known.x, known.y, strict=True)))
    places = sorted({*shown}.union(*curves))
    rows = [
        (f"{x:g}", *(_said(known.get(x)) for known in curves), plain(shown.get(x)))
        for x in places[:: -(-len(places) // 25)]
    ]
    return Table(
        "Attention on label-relevant tokens",
        "Mean over trials (95 % t interval), at most 25 of the iterations; theory.csv has all, and the norms."
        + lost(sum(case.setting.diverged for case in cases), "left out"),
        ("iteration", *names(cases), f"published ({ATTENTION.mark})"),
        tuple(rows),
        len(cases) + 1,
    )


def _removal(case: Case[SparsifyStudy]) -> Table:
    study, first = case.setting, case.setting.first
    rows = []
    for method in study.methods:
        curves = [map(series.mean, study.curve(name, method)) for name in ("loss", "accuracy", "relevant")]
        known = REMOVAL.get(method)
        shown = dict(zip(known.x, known.y, strict=True)) if known else {}
        for removed, *means in zip(first.removed, *curves, strict=True):
            rows.append((METHODS[method], str(removed), *map(_said, means), plain(shown.get(removed))))
    return Table(
        f"Tokens removed, {case.label}",
        f"{first.tokens} tokens before, N = {first.curve_samples:,}; means over trials (95 % t interval)."
        + lost(removal_diverged(study, "loss"), "left out")
        + against_published(study),
        ("method", "removed", "test loss", "test accuracy", "relevant share", "published loss (slides, read off axes)"),
        tuple(rows),
        5,
    )


def _removal_samples(case: Case[SparsifyStudy]) -> Table:
    study, found = case.setting, removal.complexity(case.setting)
    counts = zip(*(study.successes(method) for method in study.compared), strict=True)
    rows = [(f"{n:,}", *map(str, at)) for n, at in zip(study.first.samples, counts, strict=True)]
    last = [bound or plain(n50, ",.0f") for n50, bound in zip(found.n50, found.bound, strict=True)]
    by_time = [plain(n50 and n50 * study.time_per_sample, ",.0f") for n50 in found.n50]
    return Table(
        f"Samples needed after removal, {case.label}",
        f"Successes of {trials(study.trials)} with {study.first.complexity_removed} of {study.first.tokens} tokens "
        "removed." + lost(removal_diverged(study, "complexity"), "counted as failures"),
        ("N", *(METHODS[method] for method in study.compared)),
        (*rows, ("N50", *last), ("N50 η / batch", *by_time)),
    )


def _times(case: Case[TimeStudy]) -> Table:
    study, first = case.setting, case.setting.first
    found = convergence.analyse(study)
    rows = []
    for value, medians, counts in zip(first.values, found.median.T, found.given_up.T, strict=True):
        cells = [
            (DASH if np.isnan(median) else plain(median, ",.4g")) + (f" ({count} given up)" if count else "")
            for median, count in zip(medians, counts, strict=True)
        ]
        rows.append((f"{value:g}", *cells))
    return Table(
        f"Iterations to zero error, {KINDS[first.kind]}, {case.label}",
        f"Median over {trials(study.trials)}; given up after {first.limit:,} iterations."
        + lost(study.diverged or 0, "counted as given up"),
        ("α*", *(f"η = {size:g}" for size in first.step_sizes)),
        tuple(rows),
    )


def _spatial(case: Case[SpatialStudy]) -> Iterator[Table]:
    study, first = case.setting, case.setting.first
    shown, number = ("overlap", "exact", "loss", "accuracy"), trials(study.trials)
    means: list[Any] = [map(series.mean, study.curve(name).T) for name in shown]
    rows = [(str(x), *map(_said, at)) for x, *at in zip(first.iterations, *means, strict=True)]
    for built, (text, *_) in BUILT.items():
        rows.append((f"built: {text}", *(_said(series.mean(study.constructed(name, built))) for name in shown)))
    yield Table(
        f"Patch association, {case.label}",
        f"Means over {number} (95 % t interval); below, networks that were built, not trained.",
        ("iteration", "overlap", "exact match", "test loss", "test accuracy"),
        tuple(rows),
    )
    columns: list[Any] = []
    for arm in ARMS:
        columns += [map(_said, map(series.mean, study.target(arm))), map(str, study.successes(arm))]
    yield Table(
        f"Transfer, {case.label}",
        f"Test accuracy on the target task, mean over {number} (95 % t interval), and successes at {first.success:g}.",
        ("N", *(text for arm in ARMS for text in (ARMS[arm][0], "successes"))),
        tuple((f"{n:,}", *cells) for n, *cells in zip(first.samples, *columns, strict=True)),
    )


def _said(value: Interval | None) -> str:
    return DASH if value is None else estimate(value.value, value.low, value.high)
