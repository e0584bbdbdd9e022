"""Curves of the laboratory: attention over iterations, loss over tokens removed, iterations over alpha_*."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from tokenprune.claims.published import ATTENTION, REMOVAL
from tokenprune.claims.theory import convergence, removal
from tokenprune.claims.theory.attention import approach
from tokenprune.claims.theory.trials import AttentionStudy, SparsifyStudy, TimeStudy
from tokenprune.report.series import Interval
from tokenprune.report.style import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, Drawing
from tokenprune.report.theory import layout, series
from tokenprune.report.theory.settings import names
from tokenprune.report.theory.words import METHODS, lost, pretty, spread

#: Test losses below this are drawn at it: a logarithmic axis has no 0.
_FLOOR = 1e-4
#: Methods that often remove the same tokens.
_LYING = {"irrelevant", "magnitude"}
_NORMS = (("query", "W_Q", ORANGE), ("key", "W_K", GREEN))


def attention_figure(studies: Sequence[AttentionStudy]) -> Drawing:
    """Attention on label-relevant tokens beside the published curve, and norms along patterns."""
    figure, (ax, side), _ = layout.sheet([1.25, 1], height=3.0)
    study, first, limit = studies[0], studies[0].first, approach(studies[0]).limit.value
    for index, each in enumerate(studies):
        thin, x = index > 0, each.first.iterations
        layout.draw_curve(ax, x, each.curve("attention"), MUTED if thin else BLUE, thin=thin)
        for name, _, color in _NORMS:
            for field, dash in ((f"{name}_norm", "-"), (f"{name}_norm_other", (0, (4, 1.5)))):
                layout.draw_curve(side, x, each.curve(field), color, linestyle=dash, thin=thin)
    ax.plot(ATTENTION.x, ATTENTION.y, color=INK, linestyle="--", marker="o", markersize=3.5, linewidth=1.2)
    if limit is not None:
        ax.axhline(limit, color=BLUE, linestyle=":", linewidth=1, zorder=1)
    ax.set_ylabel("attention on label-relevant tokens")
    side.set_ylabel("norm along a pattern")
    for panel in (ax, side):
        panel.set(xlabel="iterations", xmargin=0.02)
    layout.legend(
        figure,
        [
            (layout.handle(BLUE), names(studies)[0]),
            *([(layout.handle(MUTED, linewidth=0.8), "other settings")] if len(studies) > 1 else []),
            (layout.handle(INK, "o", "--"), "published, read off slides"),
            *([(layout.handle(BLUE, "", ":"), "limit by 1/t")] if limit is not None else []),
            *((layout.handle(color), f"|{name} μ_j| discriminative") for _, name, color in _NORMS),
            (layout.handle(MUTED, "", (0, (4, 1.5))), "other patterns"),
        ],
    )
    caption = (
        "Left: attention summed over label-relevant tokens, mean over queries and test samples; the published curve "
        "was read off the authors' slides. Right: norms of W_Q μ_j and W_K μ_j, mean over the two discriminative "
        f"patterns (solid) and over the others (dashed). Means and 95 % t intervals over "
        f"{spread({study.trials for study in studies})}, a fresh batch each step, "
        f"α* = {first.recipe['data']['relevant']:g}, step size {first.step_size:g}."
        + lost(sum(study.diverged for study in studies), "left out")
        + _approach(study)
        + (" Thin: other settings." if len(studies) > 1 else "")
    )
    alt = "Attention on label-relevant tokens " + _ends(first.iterations, study.curve("attention"), "iteration")
    return layout.finish(figure, "attention", "Attention over training", caption, alt)


def _approach(study: AttentionStudy) -> str:
    """The limit, and whether the power that leads to it is identified."""
    found, said = approach(study), ""
    limit = found.limit
    if limit.value is not None:
        between = "" if limit.low is None else f" ({limit.low:.3f} to {limit.high:.3f})"
        said = f" Dotted: the limit that 1/t leads to on the second half, {limit.value:.3f}{between}."
    return said + (" The power of t is not identified." if found.power is None else "")


def removal_diverged(study: SparsifyStudy, name: str) -> int:
    """Models without a loss. name: loss, of the curves, or complexity, where samples are counted."""
    methods = study.first.methods if name == "loss" else study.first.compared
    return sum(int(study.diverged(name, method).sum()) for method in methods)


def removal_figure(studies: Sequence[SparsifyStudy]) -> Drawing:
    """Test loss against tokens removed per method, published end points marked; what the tokens left are."""
    figure, (ax, side), small = layout.sheet([1.2, 1], len(studies) - 1, height=3.0, top=0.62)
    called, study, first = names(studies), studies[0], studies[0].first
    for each, panel in zip(studies, (ax, *small), strict=True):
        for method in each.first.methods:
            layout.draw_curve(panel, each.first.removed, each.curve("loss", method), floor=_FLOOR, **_look(method))
    for method in first.methods:
        layout.draw_curve(side, first.removed, study.curve("relevant", method), **_look(method))
        if method in REMOVAL:
            shown, (color, marker) = REMOVAL[method], layout.METHODS[method]
            ax.plot(
                shown.x, shown.y, color=color, marker=marker, linestyle=(0, (1, 2)), linewidth=1,
                markerfacecolor=PAPER, markeredgewidth=1.2, zorder=2.5,
            )  # fmt: skip
    ax.set(title=called[0], ylabel="test hinge loss")
    side.set_ylabel("label-relevant share of tokens left")
    for panel in (ax, side):
        panel.set(xlabel="tokens removed", xticks=first.removed)
    for panel, text in zip(small, called[1:], strict=True):
        layout.small_title(panel, text)
    layout.log_y([ax, *small])
    layout.legend(figure, [
        *((layout.handle(**_look(method)), METHODS[method]) for method in first.methods),
        (layout.handle(MUTED, "o", (0, (1, 2)), hollow=True), "published end points, read off slides"),
    ])  # fmt: skip
    caption = (
        f"Left: test hinge loss where so many of {first.tokens} tokens are removed, in training and test alike, "
        f"N = {first.curve_samples:,}. Right: share of label-relevant tokens among those left. Means and 95 % t "
        f"intervals over {spread({study.trials for study in studies})}; losses and bounds below {_FLOOR:g} "
        "are drawn there."
        + lost(sum(removal_diverged(study, "loss") for study in studies), "left out")
        + against_published(study)
        + (
            " Magnitude, dashed and hollow, lies on label-irrelevant where both remove the same tokens."
            if {*first.methods} >= _LYING
            else ""
        )
        + (f" {layout.SMALL}" if small else "")
    )
    alt = "Test loss: " + " ".join(
        f"{METHODS[method]} {_ends(first.removed, study.curve('loss', method), 'removed')}" for method in first.methods
    )
    return layout.finish(figure, "removal", "Test loss against tokens removed", caption, alt)


def _look(method: str) -> dict[str, Any]:
    color, marker = layout.METHODS[method]
    dash, hollow = layout.DASHES.get(method, "-"), method == "magnitude"
    return {"color": color, "marker": marker, "linestyle": dash, "hollow": hollow}


def removal_samples_figure(studies: Sequence[SparsifyStudy]) -> Drawing:
    """Success against N before and after removal; what removal saves, in doublings of N50."""
    figure, (ax, side), small = layout.sheet([1.5, 1], len(studies) - 1, height=3.0, top=0.62, names=1.0)
    called, study, first = names(studies), studies[0], studies[0].first
    for each, panel in zip(studies, (ax, *small), strict=True):
        _rates(panel, each, dots=panel is ax)
        panel.set(xscale="log", ylim=(-0.04, 1.04))
        layout.log_ticks(panel.xaxis, each.first.samples, most=7 if panel is ax else 4)
    ax.set(title=called[0], xlabel="training samples N", ylabel="success rate")
    for panel, text in zip(small, called[1:], strict=True):
        layout.small_title(panel, text)
    rows: list[tuple[str, str, str, Interval | None]] = []
    for found in removal.ratios(study):
        against = "before" if found.reference == "none" else found.reference
        name = f"{METHODS[found.method]}\nagainst {against}"
        rows.append((name, *layout.METHODS[found.method], series.of_law(found.law)))
    layout.forest(side, rows, "log2 of the ratio of N50", [(0, "")])
    layout.legend(figure, [(layout.handle(*layout.METHODS[method]), METHODS[method]) for method in first.compared])
    caption = (
        f"Left: share of trials with a test hinge loss below {first.success:g} before and after removal of "
        f"{first.complexity_removed} of {first.tokens} tokens, with the logistic fit on log N. Right: by how many "
        f"doublings removal changes N50, 95 % bootstrap interval over trials; below 0 it saves samples. "
        f"{spread({study.trials for study in studies})} of each, "
        f"N {first.samples[0]:,} to {first.samples[-1]:,}."
        + lost(sum(removal_diverged(study, "complexity") for study in studies), "counted as failures")
        + (f" {layout.SMALL}" if small else "")
    )
    alt = "log2 of N50 ratios: " + "; ".join(
        f"{name} {value.value:.2f}".replace("\n", " ") for name, _, _, value in rows if value
    )
    return layout.finish(figure, "removal-samples", "Samples needed before and after removal", caption, alt)


def _rates(panel: Any, study: SparsifyStudy, *, dots: bool) -> None:
    """Success rates over N with their fit, by method."""
    samples, found = study.first.samples, removal.complexity(study)
    fine = np.geomspace(samples[0], samples[-1], 60)
    for column, method in enumerate(study.first.compared):
        color, marker = layout.METHODS[method]
        rates = np.array([found.probability(column, n) for n in fine], float)
        panel.plot(fine, rates, color=color, linestyle=layout.DASHES.get(method, "-"), linewidth=1.4 if dots else 1)
        if dots:
            cross = marker == "x"
            panel.plot(
                samples, study.successes(method) / study.trials, color=color, marker=marker, linestyle="", zorder=3,
                markeredgecolor=color if cross else PAPER, markeredgewidth=1.1 if cross else 0.6,
            )  # fmt: skip


def time_figure(studies: Sequence[TimeStudy]) -> Drawing:
    """Iterations to zero loss against alpha_* per step size, with the joint fit; exponents by setting."""
    figure, (ax, side), small = layout.sheet([1.5, 1], len(studies) - 1, height=3.0, top=0.56, names=1.0)
    called, first = names(studies), studies[0].first
    for study, panel in zip(studies, (ax, *small), strict=True):
        _times(panel, study, large=panel is ax)
        panel.set_xscale("log")
        layout.log_ticks(panel.xaxis, study.first.values, most=8 if panel is ax else 4)
    layout.log_y([ax, *small])
    ax.set(title=called[0], xlabel="share of label-relevant tokens α*", ylabel="iterations to zero test loss")
    for panel, text in zip(small, called[1:], strict=True):
        layout.small_title(panel, text)
    found = [(convergence.analyse(study), text) for study, text in zip(studies, called, strict=True)]
    rows: list[tuple[str, str, str, Interval | None]] = [
        *((f"α*: {text}", BLUE, "o", series.of_estimate(each.alpha.estimate)) for each, text in found),
        *((f"η: {text}", ORANGE, "s", series.of_estimate(each.eta.estimate)) for each, text in found),
    ]
    layout.forest(side, rows, "exponents of 1/α* and 1/η", [(1, "1")])
    side.set_xlim(left=min(0.0, side.get_xlim()[0]))
    sizes = [(layout.handle(_color(row), "o"), f"step size {size:g}") for row, size in enumerate(first.step_sizes)]
    layout.legend(figure, [*sizes, (layout.handle(MUTED, "", ":"), "slope α*⁻¹")])
    caption = (
        f"Left: median over {spread({study.trials for study in studies})} of the iterations until the test hinge "
        f"loss is below {first.success:g}, a fresh batch each step; cells where at least half of the trials needed "
        f"more than {first.limit:,} are left out. Lines: T ~ α*⁻ʰ η⁻ᵏ fitted to all cells. Dotted: slope −1. "
        "Right: fitted exponents with 95 % bootstrap intervals over trials; the theorem's bound is 1."
        + lost(sum(study.diverged or 0 for study in studies), "counted as given up")
        + (f" {layout.SMALL}" if small else "")
    )
    alt = "Exponents: " + "; ".join(f"{name} {value.value:.2f}" for name, _, _, value in rows if value)
    return layout.finish(figure, "time", "Iterations to zero error", caption, pretty(alt))


def _times(panel: Any, study: TimeStudy, *, large: bool) -> None:
    """Medians by step size with the joint fit; large: with the theorem's slope through the middle of each fit."""
    values, found = study.first.values, convergence.analyse(study)
    if np.isnan(found.median).all():
        return  # a logarithmic axis of nothing but nan has no limits
    fine, middle = np.geomspace(min(values), max(values), 20), np.exp(np.log([values]).mean(1))
    for row, size in enumerate(study.first.step_sizes):
        panel.plot(
            values, found.median[row], color=_color(row), marker="o", linestyle="", markeredgecolor=PAPER,
            markersize=4.5 if large else 3, markeredgewidth=0.6, zorder=3,
        )  # fmt: skip
        panel.plot(fine, found.fitted(size, fine), color=_color(row), linewidth=1.4 if large else 1)
        if large:
            centre = found.fitted(size, middle)
            panel.plot(fine, centre * middle / fine, color=MUTED, linestyle=":", linewidth=1.1, zorder=1)


def _color(row: int) -> str:
    return layout.SERIES[row % len(layout.SERIES)]


def against_published(study: SparsifyStudy) -> str:
    """A sentence on the loss before and after removal, here and as published, and on what is not reproduced."""
    both, rising, levels = [], [], []
    for method, shown in REMOVAL.items():
        if method not in study.first.methods:
            continue
        here = dict(zip(study.first.removed, map(series.mean, study.curve("loss", method)), strict=True))
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


def _ends(xs: Sequence[float], table: Float[np.ndarray, "x t"], what: str) -> str:
    """The first and the last known mean, in words."""
    known = [(x, y) for x, y in zip(xs, map(series.mean, table), strict=True) if y is not None]
    if not known:
        return "is not known: every trial diverged."
    (x0, y0), (x1, y1) = known[0], known[-1]
    return f"{y0.value:.3g} at {what} {x0:g}, {y1.value:.3g} at {what} {x1:g}."
