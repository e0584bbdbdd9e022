"""Curves of the laboratory: attention over iterations, loss over tokens removed, iterations over alpha_*."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tokenprune.claims import Verdict
from tokenprune.claims.published import ATTENTION, REMOVAL
from tokenprune.claims.theory.attention import diverged, measured
from tokenprune.report.series import Interval
from tokenprune.report.style import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, Drawing
from tokenprune.report.theory import layout, series
from tokenprune.report.theory.settings import Case, names
from tokenprune.report.theory.words import METHODS, lost, pretty, spread
from tokenprune.theory.attention import AttentionResult
from tokenprune.theory.sparsify import SparsifyResult
from tokenprune.theory.time import TimeResult

#: Test losses below this are drawn at it: a logarithmic axis has no 0.
_FLOOR = 1e-4
#: Methods that often remove the same tokens.
_LYING = {"irrelevant", "magnitude"}
_NORMS = (("query", "W_Q", ORANGE), ("key", "W_K", GREEN))


def attention_figure(cases: Sequence[Case[AttentionResult]], verdicts: Sequence[Verdict] = ()) -> Drawing:
    """Attention on label-relevant tokens beside the published curve, and norms along patterns."""
    figure, (ax, side), _ = layout.sheet([1.25, 1], height=3.0)
    for index, case in enumerate(cases):
        layout.draw_curve(ax, series.attention(case, "attention"), BLUE if index == 0 else MUTED, thin=index > 0)
        for name, _, color in _NORMS:
            for field, dash in ((f"{name}_norm", "-"), (f"{name}_norm_other", (0, (4, 1.5)))):
                layout.draw_curve(side, series.attention(case, field), color, linestyle=dash, thin=index > 0)
    ax.plot(ATTENTION.x, ATTENTION.y, color=INK, linestyle="--", marker="o", markersize=3.5, linewidth=1.2)
    rate = series.verdict_of(verdicts, "theory-attention", cases[0], "rate")
    limit = rate.details.get("limit") if rate else None
    if limit is not None:
        ax.axhline(limit, color=BLUE, linestyle=":", linewidth=1, zorder=1)
    ax.set_ylabel("attention on label-relevant tokens")
    side.set_ylabel("norm along a pattern")
    for each in (ax, side):
        each.set_xlabel("iterations")
        each.margins(x=0.02)
    entries = [
        (layout.handle(BLUE), names(cases)[0]),
        (layout.handle(MUTED, linewidth=0.8), "other settings"),
        (layout.handle(INK, "o", "--"), "published, read off slides"),
        *([(layout.handle(BLUE, "", ":"), "limit by 1/t")] if limit is not None else []),
        *((layout.handle(color), f"|{name} μ_j| discriminative") for _, name, color in _NORMS),
        (layout.handle(MUTED, "", (0, (4, 1.5))), "other patterns"),
    ]
    layout.legend(figure, entries if len(cases) > 1 else [entries[0], *entries[2:]])
    first = cases[0].first
    curve = series.attention(cases[0], "attention")
    caption = (
        "Left: attention summed over label-relevant tokens, mean over queries and test samples; the published curve "
        "was read off the authors' slides. Right: norms of W_Q μ_j and W_K μ_j, mean over the two discriminative "
        f"patterns (solid) and over the others (dashed). Means and 95 % t intervals over "
        f"{spread({len(measured(case.setting, 'attention')) for case in cases})}, a fresh batch each step, "
        f"α* = {first.recipe['data']['relevant']:g}, step size {first.step_size:g}."
        + lost(sum(diverged(case.setting) for case in cases), "left out")
        + (_approach(rate) if rate is not None else "")
        + (" Thin: other settings." if len(cases) > 1 else "")
    )
    alt = "Attention on label-relevant tokens " + _ends(curve.x, curve.y, "iteration")
    return layout.finish(figure, "attention", "Attention over training", caption, alt)


def removal_figure(cases: Sequence[Case[SparsifyResult]]) -> Drawing:
    """Test loss against tokens removed per method, published end points marked; what the tokens left are."""
    figure, (ax, side), small = layout.sheet([1.2, 1], len(cases) - 1, height=3.0, top=0.62)
    called = names(cases)
    methods = list(cases[0].first.loss)
    for case, panel in zip(cases, (ax, *small), strict=True):
        for method in case.first.loss:
            color, marker = layout.METHODS[method]
            curve, dash = series.removal(case, "loss", method), layout.DASHES.get(method, "-")
            hollow = method == "magnitude"
            layout.draw_curve(panel, curve, color, marker=marker, linestyle=dash, floor=_FLOOR, hollow=hollow)
    for method in methods:
        color, marker = layout.METHODS[method]
        dash = layout.DASHES.get(method, "-")
        share, hollow = series.removal(cases[0], "relevant", method), method == "magnitude"
        layout.draw_curve(side, share, color, marker=marker, linestyle=dash, hollow=hollow)
        if method in REMOVAL:
            shown = REMOVAL[method]
            ax.plot(
                shown.x, shown.y, color=color, marker=marker, linestyle=(0, (1, 2)), linewidth=1,
                markerfacecolor=PAPER, markeredgewidth=1.2, zorder=2.5,
            )  # fmt: skip
    ax.set_title(called[0])
    ax.set_ylabel("test hinge loss")
    side.set_ylabel("label-relevant share of tokens left")
    for each in (ax, side):
        each.set_xlabel("tokens removed")
        each.set_xticks(cases[0].first.removed)
    for panel, text in zip(small, called[1:], strict=True):
        layout.small_title(panel, text)
    layout.log_y([ax, *small])
    layout.legend(figure, [
        *((_handle(method), METHODS[method]) for method in methods),
        (layout.handle(MUTED, "o", (0, (1, 2)), hollow=True), "published end points, read off slides"),
    ])  # fmt: skip
    first = cases[0].first
    counts = {sum(len(result.loss[methods[0]][0]) for result in case.setting.results) for case in cases}
    gone = sum(series.removal_diverged(case, "loss") for case in cases)
    caption = (
        f"Left: test hinge loss where so many of {first.tokens} tokens are removed, in training and test alike, "
        f"N = {first.curve_samples:,}. Right: share of label-relevant tokens among those left. Means and 95 % t "
        f"intervals over {spread(counts)}; losses and bounds below {_FLOOR:g} are drawn there."
        + lost(gone, "left out")
        + against_published(cases[0])
        + (
            " Magnitude, dashed and hollow, lies on label-irrelevant where both remove the same tokens."
            if {*methods} >= _LYING
            else ""
        )
        + (f" {layout.SMALL}" if small else "")
    )
    alt = "Test loss: " + " ".join(
        f"{METHODS[method]} {_ends(first.removed, series.removal(cases[0], 'loss', method).y, 'removed')}"
        for method in methods
    )
    return layout.finish(figure, "removal", "Test loss against tokens removed", caption, alt)


def removal_samples_figure(cases: Sequence[Case[SparsifyResult]], verdicts: Sequence[Verdict]) -> Drawing:
    """Success against N before and after removal; what removal saves, in doublings of N50."""
    figure, (ax, side), small = layout.sheet([1.5, 1], len(cases) - 1, height=3.0, top=0.62, names=1.0)
    called = names(cases)
    first = cases[0].first
    for index, (case, panel) in enumerate(zip(cases, (ax, *small), strict=True)):
        counts, trials = series.removal_successes(case)
        fit = series.removal_fit(case, counts, trials)
        samples = case.first.samples
        fine = np.geomspace(samples[0], samples[-1], 60)
        for column, (method, at) in enumerate(counts.items()):
            color, marker = layout.METHODS[method]
            fitted = [(n, rate) for n in fine if (rate := fit.probability(column, n)) is not None]
            if fitted:
                dash = layout.DASHES.get(method, "-")
                panel.plot(*np.transpose(fitted), color=color, linestyle=dash, linewidth=1.4 if index == 0 else 1)
            if index == 0:
                panel.plot(
                    samples, [count / trials for count in at], color=color, marker=marker, linestyle="", zorder=3,
                    markeredgecolor=color if marker == "x" else PAPER, markeredgewidth=1.1 if marker == "x" else 0.6,
                )  # fmt: skip
        panel.set_xscale("log")
        panel.set_ylim(-0.04, 1.04)
        layout.log_ticks(panel.xaxis, samples, most=7 if index == 0 else 4)
    ax.set_title(called[0])
    ax.set_xlabel("training samples N")
    ax.set_ylabel("success rate")
    for panel, text in zip(small, called[1:], strict=True):
        layout.small_title(panel, text)
    rows: list[tuple[str, str, str, Interval | None]] = []
    for verdict in verdicts:
        if verdict.claim == "theory-sparsify" and cases[0].setting.folders[0] in verdict.evidence:
            method, _, against = (verdict.variant or "").partition(" against ")
            effect = Interval(verdict.effect, verdict.low, verdict.high) if verdict.effect is not None else None
            rows.append((f"{METHODS[method]}\nagainst {against or 'before'}", *layout.METHODS[method], effect))
    layout.forest(side, rows, "log2 of the ratio of N50", [(0, "")])
    layout.legend(figure, [(layout.handle(*layout.METHODS[method]), METHODS[method]) for method in first.complexity])
    gone = sum(series.removal_diverged(case, "complexity") for case in cases)
    caption = (
        f"Left: share of trials with a test hinge loss below {first.success:g} before and after removal of "
        f"{first.complexity_removed} of {first.tokens} tokens, with the logistic fit on log N. Right: by how many "
        f"doublings removal changes N50, 95 % bootstrap interval over trials; below 0 it saves samples. "
        f"{spread({series.removal_successes(case)[1] for case in cases})} of each, "
        f"N {first.samples[0]:,} to {first.samples[-1]:,}."
        + lost(gone, "counted as failures")
        + (f" {layout.SMALL}" if small else "")
    )
    alt = "log2 of N50 ratios: " + "; ".join(
        f"{name} {value.value:.2f}".replace("\n", " ") for name, _, _, value in rows if value
    )
    return layout.finish(figure, "removal-samples", "Samples needed before and after removal", caption, alt)


def time_figure(cases: Sequence[Case[TimeResult]], verdicts: Sequence[Verdict]) -> Drawing:
    """Iterations to zero loss against alpha_* per step size, with the joint fit; exponents by setting."""
    figure, (ax, side), small = layout.sheet([1.5, 1], len(cases) - 1, height=3.0, top=0.56, names=1.0)
    called = names(cases)
    every = [series.times(case) for case in cases]
    for index, (times, panel) in enumerate(zip(every, (ax, *small), strict=True)):
        first = times.case.first
        fine = np.geomspace(min(first.values), max(first.values), 20)
        for row, size in enumerate(first.step_sizes):
            color = layout.SERIES[row % len(layout.SERIES)]
            known = [(v, t) for v, t in zip(first.values, times.median[row], strict=True) if t is not None]
            if known:
                panel.plot(
                    *np.transpose(known), color=color, marker="o", linestyle="", markeredgecolor=PAPER,
                    markersize=4.5 if index == 0 else 3, markeredgewidth=0.6, zorder=3,
                )  # fmt: skip
            fitted = [(v, t) for v in fine if (t := times.fitted(size, float(v))) is not None]
            if fitted:
                panel.plot(*np.transpose(fitted), color=color, linewidth=1.4 if index == 0 else 1)
                if index == 0:
                    middle = float(np.exp(np.mean(np.log(first.values))))
                    centre = times.fitted(size, middle) or 0.0
                    ax.plot(fine, centre * middle / fine, color=MUTED, linestyle=":", linewidth=1.1, zorder=1)
        panel.set_xscale("log")
        layout.log_ticks(panel.xaxis, first.values, most=8 if index == 0 else 4)
    layout.log_y([ax, *small])
    ax.set_title(called[0])
    ax.set_xlabel("share of label-relevant tokens α*")
    ax.set_ylabel("iterations to zero test loss")
    for panel, text in zip(small, called[1:], strict=True):
        layout.small_title(panel, text)
    rows: list[tuple[str, str, str, Interval | None]] = []
    for variant, name, color, marker in ((None, "α*", BLUE, "o"), ("eta", "η", ORANGE, "s")):
        for case, text in zip(cases, called, strict=True):
            verdict = series.verdict_of(verdicts, "theory-time", case, variant)
            if verdict is not None:
                effect = Interval(verdict.effect, verdict.low, verdict.high) if verdict.effect is not None else None
                rows.append((f"{name}: {text}", color, marker, effect))
    layout.forest(side, rows, "exponents of 1/α* and 1/η", [(1, "1")])
    side.set_xlim(left=min(0.0, side.get_xlim()[0]))
    sizes = cases[0].first.step_sizes
    colors = [layout.SERIES[row % len(layout.SERIES)] for row in range(len(sizes))]
    entries = [(layout.handle(color, "o"), f"step size {size:g}") for color, size in zip(colors, sizes, strict=True)]
    layout.legend(figure, [*entries, (layout.handle(MUTED, "", ":"), "slope α*⁻¹")])
    caption = (
        f"Left: median over {spread({times.trials for times in every})} of the iterations until the test hinge loss is "
        f"below {cases[0].first.success:g}, a fresh batch each step; cells where at least half of the trials needed "
        f"more than {cases[0].first.limit:,} are left out. Lines: T ~ α*⁻ʰ η⁻ᵏ fitted to all cells. Dotted: slope −1. "
        "Right: fitted exponents with 95 % bootstrap intervals over trials; the theorem's bound is 1."
        + lost(sum(series.time_diverged(case) for case in cases), "counted as given up")
        + (f" {layout.SMALL}" if small else "")
    )
    alt = "Exponents: " + "; ".join(f"{name} {value.value:.2f}" for name, _, _, value in rows if value)
    return layout.finish(figure, "time", "Iterations to zero error", caption, pretty(alt))


def _handle(method: str) -> Any:
    color, marker = layout.METHODS[method]
    return layout.handle(color, marker, layout.DASHES.get(method, "-"), hollow=method == "magnitude")


def against_published(case: Case[SparsifyResult]) -> str:
    """Loss before and after removal beside the published, and in words what is not reproduced."""
    told, rising, levels = [], [], []
    for method, shown in REMOVAL.items():
        if method not in case.first.loss:
            continue
        here = dict(zip(case.first.removed, series.removal(case, "loss", method).y, strict=True))
        known = [(here[int(x)], y) for x, y in zip(shown.x, shown.y, strict=True) if here.get(int(x)) is not None]
        if len(known) < 2:
            continue
        (first, before), (last, after) = ((value.value, y) for value, y in known if value is not None)
        told.append(f"{METHODS[method]} {first:.2g} to {last:.2g} ({before:g} to {after:g})")
        if after < before and last >= first:
            rising.append(METHODS[method])
        if not 0.5 <= first / before <= 2:
            levels.append(f"{first:.2g} against {before:g}")
    if not told:
        return ""
    missed = ([f"the fall of {', '.join(rising)}"] if rising else []) + (
        [f"the loss before removal, {levels[0]}"] if levels else []
    )
    text = f" Loss at both ends here (published): {'; '.join(told)}."
    return text + (f" Not reproduced: {'; '.join(missed)}." if missed else "")


def _approach(rate: Verdict) -> str:
    """What the rate's verdict says of the limit and of the power that leads to it."""
    limit, interval = rate.details.get("limit"), rate.details.get("limit_interval")
    said = ""
    if limit is not None:
        between = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        said = f" Dotted: the limit that 1/t leads to on the second half, {limit:.3f}{between}."
    return said + (" The power of t is not identified." if rate.effect is None else "")


def _ends(xs: Sequence[float], ys: Sequence[Interval | None], what: str) -> str:
    known = [(x, y) for x, y in zip(xs, ys, strict=True) if y is not None]
    if not known:
        return "is not known: every trial diverged."
    (x0, y0), (x1, y1) = known[0], known[-1]
    return f"{y0.value:.3g} at {what} {x0:g}, {y1.value:.3g} at {what} {x1:g}."
