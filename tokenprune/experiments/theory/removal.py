"""T5: tokens removed in training and test."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tokenprune.claims import Claim, LaboratoryStudy, Verdict
from tokenprune.claims.published import PAPER, REMOVAL
from tokenprune.claims.theory.removal import after_removal, complexity, ratios
from tokenprune.claims.theory.trials import SparsifyStudy
from tokenprune.drawing import sheets
from tokenprune.drawing.numbers import Interval, over_trials, plain
from tokenprune.drawing.style import MUTED, Drawing
from tokenprune.drawing.style import PAPER as WHITE
from tokenprune.drawing.table import Column, Table
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.columns import columns, interval, number
from tokenprune.experiments.theory.phase_tables import bounded, in_time
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import METHODS, lost, spread, trials

#: Test losses below this are drawn at it: a logarithmic axis has no 0.
_FLOOR = 1e-4
#: Methods that often remove the same tokens.
_LYING = {"irrelevant", "magnitude"}


def _figures(studies: Sequence[LaboratoryStudy[Any]], verdicts: Sequence[Verdict]) -> list[Figure]:
    found = series.default_first(studies, SparsifyStudy)
    return [partial(_loss, found), partial(_samples, found)] if found else []


def _tables(studies: Sequence[LaboratoryStudy[Any]], verdicts: Sequence[Verdict]) -> list[Table]:
    found = series.of(studies, SparsifyStudy)
    return [table for study in found for table in (_loss_table(study), _samples_table(study))]


def _loss(studies: Sequence[SparsifyStudy]) -> Drawing:
    """Test loss against tokens removed per method, published end points marked; what the tokens left are."""
    figure, (ax, side), small = sheets.sheet([1.2, 1], len(studies) - 1, height=3.0, top=0.62)
    called, study, first = names(studies), studies[0], studies[0].first
    for each, panel in zip(studies, (ax, *small), strict=True):
        for method in each.first.methods:
            sheets.draw_curve(panel, each.first.removed, each.curve("loss", method), floor=_FLOOR, **_look(method))
    for method in first.methods:
        sheets.draw_curve(side, first.removed, study.curve("relevant", method), **_look(method))
        if method in REMOVAL:
            shown, (color, marker) = REMOVAL[method], sheets.METHODS[method]
            ax.plot(
                shown.x, shown.y, color=color, marker=marker, linestyle=(0, (1, 2)), linewidth=1,
                markerfacecolor=WHITE, markeredgewidth=1.2, zorder=2.5,
            )  # fmt: skip
    ax.set(title=called[0], ylabel="test hinge loss")
    side.set_ylabel("label-relevant share of tokens left")
    for panel in (ax, side):
        panel.set(xlabel="tokens removed", xticks=first.removed)
    for panel, text in zip(small, called[1:], strict=True):
        sheets.small_title(panel, text)
    sheets.log_y([ax, *small])
    sheets.legend(figure, [
        *((sheets.handle(**_look(method)), METHODS[method]) for method in first.methods),
        (sheets.handle(MUTED, "o", (0, (1, 2)), hollow=True), "published end points, read off slides"),
    ])  # fmt: skip
    caption = (
        f"Left: test hinge loss where so many of {first.tokens} tokens are removed, in training and test alike, "
        f"N = {first.curve_samples:,}. Right: share of label-relevant tokens among those left. Means and 95 % t "
        f"intervals over {spread({study.trials for study in studies})}; losses and bounds below {_FLOOR:g} "
        "are drawn there."
        + lost(sum(_diverged(study, "loss") for study in studies), "left out")
        + _against_published(study)
        + (
            " Magnitude, dashed and hollow, lies on label-irrelevant where both remove the same tokens."
            if {*first.methods} >= _LYING
            else ""
        )
        + (f" {sheets.SMALL}" if small else "")
    )
    alt = "Test loss: " + " ".join(
        f"{METHODS[method]} {series.ends(first.removed, study.curve('loss', method), 'removed')}"
        for method in first.methods
    )
    return sheets.finish(figure, "removal", "Test loss against tokens removed", caption, alt)


def _look(method: str) -> dict[str, Any]:
    color, marker = sheets.METHODS[method]
    dash, hollow = sheets.DASHES.get(method, "-"), method == "magnitude"
    return {"color": color, "marker": marker, "linestyle": dash, "hollow": hollow}


def _samples(studies: Sequence[SparsifyStudy]) -> Drawing:
    """Success against N before and after removal; what removal saves, in doublings of N50."""
    figure, (ax, side), small = sheets.sheet([1.5, 1], len(studies) - 1, height=3.0, top=0.62, names=1.0)
    called, study, first = names(studies), studies[0], studies[0].first
    for each, panel in zip(studies, (ax, *small), strict=True):
        _rates(panel, each, dots=panel is ax)
        panel.set(xscale="log", ylim=(-0.04, 1.04))
        sheets.log_ticks(panel.xaxis, each.first.samples, most=7 if panel is ax else 4)
    ax.set(title=called[0], xlabel="training samples N", ylabel="success rate")
    for panel, text in zip(small, called[1:], strict=True):
        sheets.small_title(panel, text)
    rows: list[tuple[str, str, str, Interval | None]] = []
    for found in ratios(study):
        against = "before" if found.reference == "none" else found.reference
        name = f"{METHODS[found.method]}\nagainst {against}"
        rows.append((name, *sheets.METHODS[found.method], series.of_law(found.law)))
    sheets.forest(side, rows, "log2 of the ratio of N50", [(0, "")])
    sheets.legend(figure, [(sheets.handle(*sheets.METHODS[method]), METHODS[method]) for method in first.compared])
    caption = (
        f"Left: share of trials with a test hinge loss below {first.success:g} before and after removal of "
        f"{first.complexity_removed} of {first.tokens} tokens, with the logistic fit on log N. Right: by how many "
        f"doublings removal changes N50, 95 % bootstrap interval over trials; below 0 it saves samples. "
        f"{spread({study.trials for study in studies})} of each, "
        f"N {first.samples[0]:,} to {first.samples[-1]:,}."
        + _fewer(studies)
        + lost(sum(_diverged(study, "complexity") for study in studies), "counted as failures")
        + (f" {sheets.SMALL}" if small else "")
    )
    alt = "log2 of N50 ratios: " + "; ".join(
        f"{name} {value.value:.2f}".replace("\n", " ") for name, _, _, value in rows if value
    )
    return sheets.finish(figure, "removal-samples", "Samples needed before and after removal", caption, alt)


def _rates(panel: Any, study: SparsifyStudy, *, dots: bool) -> None:
    """Success rates over N with their fit, by method."""
    samples, found = study.first.samples, complexity(study)
    fine = np.geomspace(samples[0], samples[-1], 60)
    for column, method in enumerate(study.first.compared):
        color, marker = sheets.METHODS[method]
        rates = np.array([found.probability(column, n) for n in fine], float)
        panel.plot(fine, rates, color=color, linestyle=sheets.DASHES.get(method, "-"), linewidth=1.4 if dots else 1)
        if dots:
            cross = marker == "x"
            panel.plot(
                samples, study.successes(method) / study.trials, color=color, marker=marker, linestyle="", zorder=3,
                markeredgecolor=color if cross else WHITE, markeredgewidth=1.1 if cross else 0.6,
            )  # fmt: skip


def _against_published(study: SparsifyStudy) -> str:
    """A sentence on the loss before and after removal, here and as published, and on what is not reproduced."""
    both, rising, levels = [], [], []
    for method, shown in REMOVAL.items():
        if method not in study.first.methods:
            continue
        here = dict(zip(study.first.removed, map(over_trials, study.curve("loss", method)), strict=True))
        (before, after), ends = shown.y, [here.get(int(x)) for x in shown.x]
        if None in ends:
            continue
        first, last = (end.value for end in ends if end is not None)
        both.append(f"{METHODS[method]} {first:.2g} to {last:.2g} ({before:g} to {after:g})")
        if after < before and last >= first:
            rising.append(METHODS[method])
        if not 0.5 <= first / before <= 2:
            levels.append(f"{first:.2g} against {before:g}")
    if not both:
        return ""
    missed = ([f"the fall of {', '.join(rising)}"] if rising else []) + (
        [f"the loss before removal, {levels[0]}"] if levels else []
    )
    text = f" Loss at both ends here (published): {'; '.join(both)}."
    return text + (f" Not reproduced: {'; '.join(missed)}." if missed else "")


def _diverged(study: SparsifyStudy, name: str) -> int:
    """Models without a loss. name: loss, of the curves, or complexity, where samples are counted."""
    methods = study.first.methods if name == "loss" else study.first.compared
    return sum(int(study.diverged(name, method).sum()) for method in methods)


def _fewer(studies: Sequence[SparsifyStudy]) -> str:
    """The settings in which not all methods were tried, which leaves their panels with fewer lines."""
    tried = set(studies[0].first.compared)
    said = [
        f"{study.label}: {', '.join(METHODS[method] for method in study.first.compared)} alone"
        for study in studies
        if set(study.first.compared) < tried
    ]
    return f" Measured at {'; '.join(said)}." if said else ""


def _loss_table(study: SparsifyStudy) -> Table:
    first, rows = study.first, []
    for method in study.first.methods:
        curves = [map(over_trials, study.curve(name, method)) for name in ("loss", "accuracy", "relevant")]
        known = REMOVAL.get(method)
        shown = dict(zip(known.x, known.y, strict=True)) if known else {}
        for removed, *means in zip(first.removed, *curves, strict=True):
            rows.append((METHODS[method], removed, *means, shown.get(removed)))
    return Table(
        f"Tokens removed, {study.label}",
        f"{first.tokens} tokens before, N = {first.curve_samples:,}; means over trials (95 % t interval)."
        + lost(_diverged(study, "loss"), "left out")
        + _against_published(study),
        (
            *columns("method", ["removed"]),
            *map(interval, ("test loss", "test accuracy", "relevant share")),
            Column("published loss (slides, read off axes)", plain, look="published"),
        ),
        tuple(rows),
        parts=True,
    )


def _samples_table(study: SparsifyStudy) -> Table:
    found = complexity(study)
    counts = zip(*(study.successes(method).tolist() for method in study.first.compared), strict=True)
    return Table(
        f"Samples needed after removal, {study.label}",
        f"Successes of {trials(study.trials)} with {study.first.complexity_removed} of {study.first.tokens} tokens "
        "removed." + lost(_diverged(study, "complexity"), "counted as failures"),
        columns("N", (METHODS[method] for method in study.first.compared), number),
        (
            *((n, *at) for n, at in zip(study.first.samples, counts, strict=True)),
            ("N50", *bounded(found)),
            ("N50 η / batch", *in_time(study, found)),
        ),
    )


EXPERIMENT = Experiment(
    "T5",
    "Removal of tokens",
    None,
    (
        Claim(
            id="theory-sparsify",
            experiment="T5",
            statement="Removing label-irrelevant or noisy tokens lowers sample complexity.",
            source=f"{PAPER}, corollary on sparsification",
            reads="sparsify results",
            test="log2 of N50 after removal over N50 before, or after random removal of as many tokens, is below 0",
            unit="doublings of N50",
            support=(None, 0.0),
            find=after_removal,
        ),
    ),
    _figures,
    _tables,
)
