"""The numbers behind the laboratory's figures as tables; what was published stands in columns that say so."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokenprune.claims.published import ATTENTION, EXPONENTS, PHASE_VIT, REMOVAL
from tokenprune.claims.theory.attention import diverged
from tokenprune.claims.theory.scaling import training_time
from tokenprune.complexity import lack_of_fit
from tokenprune.drawing.numbers import estimate
from tokenprune.report.numbers import DASH, p_value, plain
from tokenprune.report.series import Interval
from tokenprune.report.theory import series
from tokenprune.report.theory.collect import Laboratory
from tokenprune.report.theory.curves import against_published
from tokenprune.report.theory.phases import details_of, exponent, published_exponent
from tokenprune.report.theory.series import Phase
from tokenprune.report.theory.settings import Case, names, of
from tokenprune.report.theory.spatial import ARMS, BUILT
from tokenprune.report.theory.words import AXES, KINDS, METHODS, lost, trials
from tokenprune.theory.attention import AttentionResult
from tokenprune.theory.phase import PhaseResult
from tokenprune.theory.sparsify import SparsifyResult
from tokenprune.theory.spatial import SpatialResult
from tokenprune.theory.time import TimeResult


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
    phases = [series.phase(case) for case in of(laboratory.cases, PhaseResult)]
    found: list[Table] = []
    for axis, kind in itertools.product(AXES, KINDS):
        chosen = [phase for phase in phases if (phase.result.axis, phase.result.kind) == (axis, kind)]
        if not chosen:
            continue
        found.append(_n50(chosen))
        found.append(_n50(chosen, in_time=True))
        found += _successes(chosen)
    if phases:
        found.append(_laws(phases, laboratory))
    if alpha := [phase for phase in phases if phase.result.axis == "alpha"]:
        found.append(_checks(alpha, laboratory))
    if attention := of(laboratory.cases, AttentionResult):
        found.append(_attention(attention))
    for case in of(laboratory.cases, SparsifyResult):
        found += [_removal(case), _removal_samples(case)]
    found += [_times(case) for case in of(laboratory.cases, TimeResult)]
    found += [table for case in of(laboratory.cases, SpatialResult) for table in _spatial(case)]
    return found


def _n50(phases: Sequence[Phase], in_time: bool = False) -> Table:
    """in_time: N50 eta epochs / batch."""
    axis, kind = phases[0].result.axis, phases[0].result.kind
    values = sorted({value for phase in phases for value in phase.result.values})
    fits = [
        dict(zip(phase.result.values, zip(phase.fit.n50, phase.fit.bound, strict=True), strict=True))
        for phase in phases
    ]
    head = [AXES[axis], *names([phase.case for phase in phases])]
    beside = (axis, kind) == ("alpha", "vit") and not in_time
    rows = []
    for value in values:
        row = [f"{value:g}"]
        for phase, fit in zip(phases, fits, strict=True):
            n50, bound = fit.get(value, (None, None))
            row.append(plain(phase.in_training_time(n50), ",.0f") if in_time else bound or plain(n50, ",.0f"))
        if beside:
            row.append(plain(series.published_n50(phases[0], value), ",.0f"))
        rows.append(tuple(row))
    if beside:
        head.append("published diagram")
    if in_time:
        return Table(
            f"{KINDS[kind]}: N50 η / batch over {AXES[axis]}",
            "Steps of SGD times their size until half of the trials succeed (times epochs, where there are more than "
            "one). In one pass N is iterations times batch: where a row is alike over batch and step size, N50 "
            "measures how fast SGD is rather than how many samples it needs.",
            tuple(head),
            tuple(rows),
        )
    return Table(
        f"{KINDS[kind]}: N50 over {AXES[axis]}",
        "N where half of the trials succeed, by logistic regression on log N; > and <: beyond the grid.",
        tuple(head),
        tuple(rows),
        len(head) - 1 if beside else None,
    )


def _successes(phases: Sequence[Phase]) -> Iterator[Table]:
    called = names([phase.case for phase in phases])
    for phase, text in zip(phases, called, strict=True):
        result = phase.result
        caption = f"Successes of {trials(phase.trials)}: N down, {AXES[result.axis]} across."
        caption += lost(sum(map(sum, phase.diverged)), "counted as failures")
        title = f"{KINDS[result.kind]}, {AXES[result.axis]}: successes, {text}"
        yield _grid(title, caption, result.values, result.samples, phase.successes)
    if any(series.on_published_grid(phase.result) for phase in phases):
        shown = PHASE_VIT
        yield _grid(
            f"ViT, {AXES['alpha']}: successes, published ({shown.mark})",
            f"Successes of {trials(shown.trials)}. {shown.source}.",
            shown.values,
            shown.samples,
            shown.successes,
            published=1,
        )


def _grid(
    title: str,
    caption: str,
    values: Sequence[float],
    samples: Sequence[int],
    successes: Sequence[Sequence[int]],
    published: int | None = None,
) -> Table:
    rows = [(f"{n:,}", *(str(column[row]) for column in successes)) for row, n in enumerate(samples)]
    return Table(title, caption, ("N", *(f"{value:g}" for value in values)), tuple(reversed(rows)), published)


def _laws(phases: Sequence[Phase], laboratory: Laboratory) -> Table:
    claims = {"noise": "theory-noise", "start": "theory-start", "confusion": ""}
    rows = []
    for axis in ("alpha", "noise", "start", "confusion"):
        chosen = [phase for phase in phases if phase.result.axis == axis]
        for phase, text in zip(chosen, [phase.case.title for phase in chosen], strict=True):
            kind = phase.result.kind
            if axis == "alpha":
                found = exponent(phase, laboratory.verdicts)
                law, theorem = "g of N50 ~ α*⁻ᵍ", f"{EXPONENTS[kind]:g}"
                shown = published_exponent(laboratory.verdicts) if kind == "vit" else None
            else:
                verdict = series.verdict_of(laboratory.verdicts, claims[axis], phase.case)
                estimated = phase.joint.estimate
                found = None
                if estimated is not None:
                    found = Interval(estimated, verdict.low if verdict else None, verdict.high if verdict else None)
                theorem = DASH if axis == "confusion" else "below 0"
                law, shown = f"slope of 1/√N50 over {AXES[axis].split()[-1]}", None
            lacking = lack_of_fit(phase.joint, phase.fit)
            fit = p_value(lacking.p, lacking.p) if lacking else DASH
            rows.append((f"{KINDS[kind]}, {text}", law, str(phase.trials), _said(found), fit, theorem, _said(shown)))
    return Table(
        "How N50 scales",
        "Joint fits of all cells with 95 % bootstrap intervals over trials. Theorem: Theorem 1 and Proposition 1; the "
        "forms in τ and σ as recalled. Published diagram: its success counts, fitted alike. Lack of fit: p of the "
        "likelihood ratio against one N50 per column; small where the form does not hold. No claim reads α#.",
        ("recipe: setting", "law", "trials", "fitted (95 %)", "lack of fit p", "theorem", "published diagram"),
        tuple(rows),
        5,
    )


def _checks(phases: Sequence[Phase], laboratory: Laboratory) -> Table:
    rows = []
    for phase in phases:
        details = details_of(phase, laboratory.verdicts)
        lapsing, smaller = details.get("with_lapse"), details.get("exponent_up_to", {})
        rows.append(
            (
                f"{KINDS[phase.result.kind]}, {phase.case.title}",
                plain(phase.joint.estimate),
                _deviance(phase.joint.deviance, phase.joint.freedom),
                estimate(lapsing["exponent"], lapsing["low"], lapsing["high"]) if lapsing else DASH,
                f"{lapsing['lapse']:.1%}" if lapsing else DASH,
                _deviance(lapsing["deviance"], lapsing["freedom"]) if lapsing else DASH,
                ", ".join(f"{plain(g)} (N to {int(n):,})" for n, g in smaller.items()) or DASH,
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


def _attention(cases: Sequence[Case[AttentionResult]]) -> Table:
    curves = [series.attention(case, "attention") for case in cases]
    shown = dict(zip(ATTENTION.x, ATTENTION.y, strict=True))
    places = sorted({x for curve in curves for x in curve.x} | set(shown))
    by_place = [dict(zip(curve.x, curve.y, strict=True)) for curve in curves]
    rows = [(f"{x:g}", *(_said(curve.get(x)) for curve in by_place), plain(shown.get(x))) for x in _thinned(places, 25)]
    return Table(
        "Attention on label-relevant tokens",
        "Mean over trials (95 % t interval), at most 25 of the iterations; theory.csv has all, and the norms."
        + lost(sum(diverged(case.setting) for case in cases), "left out"),
        ("iteration", *names(cases), f"published ({ATTENTION.mark})"),
        tuple(rows),
        len(cases) + 1,
    )


def _removal(case: Case[SparsifyResult]) -> Table:
    first = case.first
    rows = []
    for method in first.loss:
        curves = [series.removal(case, name, method).y for name in ("loss", "accuracy", "relevant")]
        known = REMOVAL.get(method)
        shown = dict(zip(known.x, known.y, strict=True)) if known else {}
        for at, removed in enumerate(first.removed):
            rows.append(
                (METHODS[method], str(removed), *(_said(curve[at]) for curve in curves), plain(shown.get(removed)))
            )
    return Table(
        f"Tokens removed, {case.label}",
        f"{first.tokens} tokens before, N = {first.curve_samples:,}; means over trials (95 % t interval)."
        + lost(series.removal_diverged(case, "loss"), "left out")
        + against_published(case),
        ("method", "removed", "test loss", "test accuracy", "relevant share", "published loss (slides, read off axes)"),
        tuple(rows),
        5,
    )


def _removal_samples(case: Case[SparsifyResult]) -> Table:
    counts, number = series.removal_successes(case)
    fit = series.removal_fit(case, counts, number)
    rows = [(f"{n:,}", *(str(at[row]) for at in counts.values())) for row, n in enumerate(case.first.samples)]
    factor = training_time(case.setting)
    last = [bound or plain(n50, ",.0f") for n50, bound in zip(fit.n50, fit.bound, strict=True)]
    return Table(
        f"Samples needed after removal, {case.label}",
        f"Successes of {trials(number)} with {case.first.complexity_removed} of {case.first.tokens} tokens removed."
        + lost(series.removal_diverged(case, "complexity"), "counted as failures"),
        ("N", *(METHODS[method] for method in counts)),
        (*rows, ("N50", *last), ("N50 η / batch", *(plain(n and n * factor, ",.0f") for n in fit.n50))),
    )


def _times(case: Case[TimeResult]) -> Table:
    times = series.times(case)
    first = case.first
    rows = [
        (
            f"{value:g}",
            *(
                plain(times.median[row][column], ",.4g")
                + (f" ({times.given_up[row][column]} given up)" if times.given_up[row][column] else "")
                for row in range(len(first.step_sizes))
            ),
        )
        for column, value in enumerate(first.values)
    ]
    return Table(
        f"Iterations to zero error, {KINDS[first.kind]}, {case.label}",
        f"Median over {trials(times.trials)}; given up after {first.limit:,} iterations."
        + lost(series.time_diverged(case), "counted as given up"),
        ("α*", *(f"η = {size:g}" for size in first.step_sizes)),
        tuple(rows),
    )


def _spatial(case: Case[SpatialResult]) -> Iterator[Table]:
    first, results = case.first, case.setting.results
    curves = [
        series.curve(first.iterations, [trial for result in results for trial in getattr(result, name)]).y
        for name in ("overlap", "exact", "loss", "accuracy")
    ]
    number = trials(sum(result.trials for result in results))
    rows = [(str(x), *(_said(curve[at]) for curve in curves)) for at, x in enumerate(first.iterations)]
    for built, (text, *_) in BUILT.items():
        every = [
            [value for result in results for value in getattr(result, f"constructed_{name}")[built]]
            for name in ("overlap", "exact", "loss", "accuracy")
        ]
        rows.append((f"built: {text}", *(_said(series.mean(values)) for values in every)))
    yield Table(
        f"Patch association, {case.label}",
        f"Means over {number} (95 % t interval); below, networks that were built, not trained.",
        ("iteration", "overlap", "exact match", "test loss", "test accuracy"),
        tuple(rows),
    )
    arms = {arm: series.cells(first.samples, [result.target_accuracy[arm] for result in results]).y for arm in ARMS}
    counts = {arm: [sum(at) for at in zip(*(r.successes()[arm] for r in results), strict=True)] for arm in ARMS}
    yield Table(
        f"Transfer, {case.label}",
        f"Test accuracy on the target task, mean over {number} (95 % t interval), and successes at {first.success:g}.",
        ("N", *(text for arm in ARMS for text in (ARMS[arm][0], "successes"))),
        tuple(
            (f"{n:,}", *(text for arm in ARMS for text in (_said(arms[arm][at]), str(counts[arm][at]))))
            for at, n in enumerate(first.samples)
        ),
    )


def _said(value: Interval | None) -> str:
    return DASH if value is None else estimate(value.value, value.low, value.high)


def _thinned(values: Sequence[Any], most: int) -> Sequence[Any]:
    return values[:: -(-len(values) // most)]
