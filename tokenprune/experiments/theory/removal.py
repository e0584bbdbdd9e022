"""T5: tokens removed in training and test."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tokenprune.claims import Claim
from tokenprune.claims.published import PAPER, REMOVAL
from tokenprune.claims.theory.removal import after_removal, complexity, ratios
from tokenprune.claims.theory.trials import SparsifyStudy
from tokenprune.drawing import plots
from tokenprune.drawing.numbers import over_trials, plain
from tokenprune.drawing.style import MUTED, Drawing
from tokenprune.drawing.table import Column, Table
from tokenprune.errors import counted
from tokenprune.experiments.experiment import Experiment
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.phase_tables import bounded, in_time
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import METHOD_LOOKS, METHODS, columns, interval, lost, number, spread

#: Least test loss that is drawn: a logarithmic axis has no 0.
_FLOOR = 1e-4


def _loss(studies: Sequence[SparsifyStudy]) -> Drawing:
    """Test loss against tokens removed per method, published end points marked; what the tokens left are."""
    study, first = studies[0], studies[0].first
    entries = [(*METHOD_LOOKS[method], METHODS[method]) for method in first.methods]
    entries.append((MUTED, "o", ":", "published end points, read off slides"))
    titles = [*names(studies), "label-relevant share of tokens left"]
    figure, ((*axes, side),) = plots.panels(titles, entries, share=False)
    for ax, each in zip(axes, studies, strict=True):
        for method in each.first.methods:
            series.draw(ax, each.first.removed, each.curve("loss", method), METHOD_LOOKS[method])
    for method in first.methods:
        series.draw(side, first.removed, study.curve("relevant", method), METHOD_LOOKS[method])
        if method in REMOVAL:
            (color, marker, _), shown = METHOD_LOOKS[method], REMOVAL[method]
            axes[0].plot(shown.x, shown.y, color=color, marker=marker, linestyle=":", linewidth=1, **plots.EDGE)
    for ax, each in zip(axes, studies, strict=True):
        ax.set(yscale="log", xticks=each.first.removed)
    low, high = min(ax.get_ylim()[0] for ax in axes), max(ax.get_ylim()[1] for ax in axes)
    for ax in axes:
        ax.set_ylim(max(_FLOOR, low), high)
        plots.log_ticks(ax.yaxis)
    plots.label_outer([*axes, side], "tokens removed", "test hinge loss")
    side.set(ylabel="", xlabel="tokens removed", xticks=first.removed)
    caption = (
        f"Test hinge loss where so many of {first.tokens} tokens are removed, in training and test alike, "
        f"N = {first.curve_samples:,}, a panel per setting. Last: share of label-relevant tokens among those left, "
        f"{names(studies)[0]}. Means and 95 % t intervals over {spread({study.trials for study in studies})}; axes end "
        f"at {_FLOOR:g}."
        + lost(sum(_diverged(study, "loss") for study in studies), "left out")
        + _against_published(study)
    )
    alt = "Test loss: " + " ".join(
        f"{METHODS[method]} {series.ends(first.removed, study.curve('loss', method), 'removed')}"
        for method in first.methods
    )
    return series.drawing(figure, "removal", "Test loss against tokens removed", caption, alt)


def _samples(studies: Sequence[SparsifyStudy]) -> Drawing:
    """Success against N before and after removal; what removal saves, in doublings of N50."""
    study, first = studies[0], studies[0].first
    entries = [(*METHOD_LOOKS[method], METHODS[method]) for method in first.compared]
    figure, (axes,) = plots.panels(names(studies), entries)
    for ax, each in zip(axes, studies, strict=True):
        _rates(ax, each)
    plots.label_outer(axes, "training samples N", "success rate")
    caption = (
        f"Share of trials with a test hinge loss below {first.success:g} before and after removal of "
        f"{first.complexity_removed} of {first.tokens} tokens, with the logistic fit on log N. "
        "By how many doublings removal changes N50 stands with the verdicts. "
        f"{spread({study.trials for study in studies})} of each, "
        f"N {first.samples[0]:,} to {first.samples[-1]:,}."
        + _fewer(studies)
        + lost(sum(_diverged(study, "complexity") for study in studies), "counted as failures")
    )
    alt = "log2 of N50 ratios: " + "; ".join(
        f"{METHODS[found.method]} against {METHODS[found.reference]} {found.law.estimate:.2f}"
        for found in ratios(study)
        if found.law.estimate is not None
    )
    return series.drawing(figure, "removal-samples", "Samples needed before and after removal", caption, alt)


def _rates(ax: Any, study: SparsifyStudy) -> None:
    """Success rates over N with their fit, by method."""
    samples, found = study.first.samples, complexity(study)
    fine = np.geomspace(samples[0], samples[-1], 60)
    for column, method in enumerate(study.first.compared):
        color, marker, dash = METHOD_LOOKS[method]
        ax.plot(fine, [found.probability(column, n) for n in fine], color=color, linestyle=dash)
        ax.plot(samples, study.successes(method) / study.trials, color=color, marker=marker, linestyle="", **plots.EDGE)
    ax.set(xscale="log", ylim=(-0.04, 1.04))
    plots.log_ticks(ax.xaxis, samples[:: -(-len(samples) // 5)])


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
        f"Successes of {counted(study.trials, 'trial')} with {study.first.complexity_removed} of {study.first.tokens} "
        "tokens removed." + lost(_diverged(study, "complexity"), "counted as failures"),
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
            statement="Removing label-irrelevant or noisy tokens lowers sample complexity.",
            source=f"{PAPER}, corollary on sparsification",
            reads="sparsify results",
            test="log2 of N50 after removal over N50 before, or after random removal of as many tokens, is below 0",
            unit="doublings of N50",
            support=(None, 0.0),
            find=after_removal,
        ),
    ),
    series.figures(SparsifyStudy, _loss, _samples),
    series.tables(SparsifyStudy, _loss_table, _samples_table),
)
