"""Phase diagrams as heat maps, with the boundary where half of the trials succeed; how that boundary scales."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenprune.claims import Verdict
from tokenprune.claims.published import EXPONENTS, PHASE_VIT
from tokenprune.claims.theory.study import speed_only
from tokenprune.report.series import Interval
from tokenprune.report.style import INK, MUTED, PAPER, RED, Drawing
from tokenprune.report.theory import layout, series
from tokenprune.report.theory.series import Phase
from tokenprune.report.theory.settings import names
from tokenprune.report.theory.words import AXES, KINDS, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def heat_figure(name: str, phases: Sequence[Phase]) -> Drawing:
    """Phase diagrams of one axis and network: the first large, beside the published one where the grid is the same."""
    first, axis = phases[0], phases[0].result.axis
    beside = series.on_published_grid(first.result)
    alpha = (axis, first.result.kind) == ("alpha", "vit")
    figure, large, small = layout.sheet(
        [1, 1] if beside else [1], len(phases) - 1, small_height=1.1, top=0.62, bar=0.75
    )
    called = names([phase.case for phase in phases])
    shown = _heat(large[0], first)
    large[0].set_title(f"{called[0]}, {spread({first.trials})} a cell")
    large[0].set_xlabel(AXES[axis])
    large[0].set_ylabel("training samples N")
    if beside:
        table = PHASE_VIT
        _cells(large[1], table.values, table.samples, _rates(table.successes, table.trials))
        _published(large[1], table.values, table.samples, dots=True)
        large[1].set_title(f"published ({table.mark}), {table.trials} trials a cell")
        large[1].set_xlabel(AXES[axis])
    if alpha:
        _published(large[0], first.result.values, first.result.samples)
    box = large[-1].get_position()
    place = figure.add_axes((box.x1 + 0.015, box.y0, 0.014, box.height))
    bar = figure.colorbar(shown, cax=place)
    bar.set_label("success rate", fontsize=8)
    bar.outline.set_visible(False)
    for ax, phase, text in zip(small, phases[1:], called[1:], strict=True):
        _heat(ax, phase, few=True)
        layout.small_title(ax, text)
    entries = [(layout.handle(INK, "o", ""), "N50 of a column")]
    if any(phase.joint.estimate is not None for phase in phases):
        entries.append((layout.handle(INK), "joint fit of N50"))
    if alpha:
        entries.append((layout.handle(RED, "", "--"), "the published diagram's N50, same fit"))
    layout.legend(figure, entries)
    rows = first.result.samples
    kind = KINDS[first.result.kind]
    caption = (
        f"Share of trials whose test hinge loss fell below {first.result.success:g}, a cell per pair of {AXES[axis]} "
        f"and N ({rows[0]:,} to {rows[-1]:,}); {kind}, {spread({phase.trials for phase in phases})} a cell, each an "
        f"independent model. N50: where half of the trials succeed, by logistic regression on log N"
        f"; line: {_LAWS[axis]}, fitted to all cells."
        + (" No claim reads this axis." if axis == "confusion" else "")
        + (f" {layout.SMALL}" if small else "")
    )
    alt = f"Success rate over {AXES[axis]} and N. N50 by column: " + ", ".join(
        f"{value:g}: {n50:.0f}" if n50 is not None else f"{value:g}: {bound}"
        for value, n50, bound in zip(first.result.values, first.fit.n50, first.fit.bound, strict=True)
    )
    return layout.finish(figure, name, f"Phase diagram of the {kind} over {AXES[axis]}", caption, alt)


_LAWS = {
    "alpha": "N50 ~ α*⁻ᵍ",
    "noise": "1/√N50 linear in τ",
    "start": "1/√N50 linear in σ",
    "confusion": "1/√N50 linear in α#",
}


def exponent_figure(vit: Sequence[Phase], cnn: Sequence[Phase], verdicts: Sequence[Verdict]) -> Drawing:
    """N50 against alpha_*: the first of each network with its columns, the others as thin fitted lines."""
    figure, (ax, side), _ = layout.sheet([1.5, 1], height=3.4, names=1.55)
    alphas: set[float] = set()
    for phases in (vit, cnn):
        for index, phase in enumerate(phases):
            alphas |= _scaling(ax, phase, thin=index > 0)
    xs = np.geomspace(max(PHASE_VIT.values) ** -0.5, min(PHASE_VIT.values) ** -0.5, 60)
    shown = [(x, n) for x in xs if (n := series.published_law(float(x) ** -2)) is not None]
    ax.plot(*np.transpose(shown), color=INK, linestyle="--", linewidth=1.4)
    ax.set_xscale("log")
    layout.log_y([ax])
    layout.log_ticks(ax.xaxis, {round(a, 2) for a in alphas}, most=8)
    ax.set_xlabel("share of label-relevant tokens α*")
    ax.set_ylabel("N50, training samples")
    entries = [
        (layout.handle(*layout.KINDS[kind]), KINDS[kind]) for kind, found in (("vit", vit), ("cnn", cnn)) if found
    ]
    entries += [
        (layout.handle(INK, "", "--"), "published ViT, same fit"),
        (layout.handle(MUTED, "", ":"), "slopes α*⁻² and α*⁻⁴"),
    ]
    layout.legend(figure, entries)
    rows: list[tuple[str, str, str, Interval | None]] = []
    every = [*vit, *cnn]
    called = {
        id(phase): text
        for found in (vit, cnn)
        for phase, text in zip(found, names([p.case for p in found]), strict=True)
    }
    for phase in every:
        kind = phase.result.kind
        rows.append((f"{KINDS[kind]}, {called[id(phase)]}", *layout.KINDS[kind], exponent(phase, verdicts)))
    exact = published_exponent(verdicts)
    rows.append(("published diagram", INK, "D", exact))
    layout.forest(side, rows, "exponent g of N50 ~ α*⁻ᵍ", [(EXPONENTS["vit"], "2"), (EXPONENTS["cnn"], "4")])
    side.set_xlim(left=min(0.0, side.get_xlim()[0]))
    counts = {phase.trials for phase in every}
    samples = [n for phase in every for n in phase.result.samples]
    caption = (
        f"Left: N50 of each column and the joint fit, {called[id(every[0])]}; thin: other settings; triangles: columns "
        f"without N50 of their own, at the largest or smallest N. Dotted: the theorem's ViT α*⁻² and the CNN's α*⁻⁴ "
        f"through the middle of each fit. Right: fitted exponents with 95 % bootstrap intervals over trials; dotted, "
        f"the theorem's 2 and 4. "
        f"{spread(counts)} a cell, N {min(samples):,} to {max(samples):,}."
        + _of_published(exact)
        + _in_training_time([phases for phases in (vit, cnn) if phases])
        + _of_grid([phases[0] for phases in (vit, cnn) if phases], verdicts)
    )
    alt = "Exponents: " + "; ".join(f"{name} {value.value:.2f}" for name, _, _, value in rows if value) + "."
    return layout.finish(figure, "exponents", "Sample complexity against α*", caption, alt)


def _of_published(exact: Interval | None) -> str:
    if exact is None or exact.low is None or exact.high is None:
        return ""
    return (
        f" The published counts themselves have g = {exact.value:.2g} ({exact.low:.2g} to {exact.high:.2g}) by this "
        f"fit, {'above' if exact.low > EXPONENTS['vit'] else 'against'} the theorem's {EXPONENTS['vit']:g}; "
        f"their line ends where their N do, at {PHASE_VIT.samples[0]} and {PHASE_VIT.samples[-1]}."
    )


def _in_training_time(networks: Sequence[Sequence[Phase]]) -> str:
    """Over the settings that differ by batch and step size only: one pass, so N is iterations times batch."""
    told = []
    for phases in networks:
        first = phases[0].result
        alike = [p for p in phases if p.result.name == first.name and speed_only(p.result.recipe)]
        value = sorted(first.values)[len(first.values) // 2]
        plain = [n for p in alike if (n := p.joint_n50(value)) is not None]
        scaled = [n for p in alike if (n := p.in_training_time(p.joint_n50(value))) is not None]
        if len(plain) > 1:
            told.append(
                f"{KINDS[first.kind]} at α*⁻² = {value:g}, N50 {min(plain):,.0f} to {max(plain):,.0f}, "
                f"but N50 η / batch {min(scaled):,.0f} to {max(scaled):,.0f}"
            )
    if not told:
        return ""
    return f" In one pass N is iterations times batch. Over batch and step size: {'; '.join(told)}."


def _of_grid(phases: Sequence[Phase], verdicts: Sequence[Verdict]) -> str:
    """How the exponent moves where only smaller N are used, and where success need not reach 1."""
    told = []
    for phase in phases:
        details = details_of(phase, verdicts)
        smaller = [(int(n), g) for n, g in details.get("exponent_up_to", {}).items() if g is not None]
        lapsing = details.get("with_lapse")
        if len(smaller) > 1 and lapsing:
            (largest, g), (least, other) = smaller[0], smaller[-1]
            told.append(
                f"{KINDS[phase.result.kind]} {g:.3g} with N to {largest:,}, {other:.3g} with N to {least:,}, "
                f"{lapsing['exponent']:.3g} where success may stop short of 1"
            )
    return f" g depends on the grid and the fit: {'; '.join(told)}." if told else ""


def line_figure(groups: Sequence[Sequence[Phase]]) -> Drawing:
    """N50^-1/2 against tau, sigma and alpha_#, a panel each: the first setting with its columns, the others thin."""
    figure, axes, _ = layout.sheet([1] * len(groups), height=2.8)
    for ax, phases in zip(axes, groups, strict=True):
        for index, phase in enumerate(phases):
            values = np.array(phase.result.values)
            fine = np.linspace(values.min(), values.max(), 60)
            found = [(x, n**-0.5) for x in fine if (n := phase.joint_n50(float(x))) is not None]
            color = layout.KINDS["vit"][0] if index == 0 else MUTED
            if found:
                look: dict[str, Any] = (
                    {"linewidth": 1.6, "zorder": 3} if index == 0 else {"linewidth": 0.8, "alpha": 0.6}
                )
                ax.plot(*np.transpose(found), color=color, **look)
            if index == 0:
                known = [(v, n**-0.5) for v, n in zip(values, phase.fit.n50, strict=True) if n is not None]
                if known:
                    ax.plot(
                        *np.transpose(known), color=color, marker="o", linestyle="", markeredgecolor=PAPER, zorder=4
                    )
                for n in (phase.result.samples[0], phase.result.samples[-1]):
                    ax.axhline(n**-0.5, color=MUTED, linestyle=":", linewidth=0.8, zorder=1)
                    ax.annotate(
                        f"N = {n:,}", (values.min(), n**-0.5), xytext=(2, 2), textcoords="offset points",
                        fontsize=7, color=MUTED,
                    )  # fmt: skip
        ax.set_xlabel(AXES[phases[0].result.axis])
        ax.set_ylim(bottom=0)
    axes[0].set_ylabel("1 / √N50")
    entries = [
        (layout.handle(layout.KINDS["vit"][0], "o"), "default setting"),
        (layout.handle(MUTED, linewidth=0.8), "other settings"),
    ]
    layout.legend(figure, entries if any(len(phases) > 1 for phases in groups) else entries[:1])
    every = [phase for phases in groups for phase in phases]
    samples = [n for phase in every for n in phase.result.samples]
    caption = (
        "1/√N50 of each column, and the line fitted to all cells, as N ~ (Θ(1) − x)⁻² asks; where it reaches 0 no "
        "number of samples suffices. Dotted: ends of the grid, beyond which N50 is not seen. "
        f"ViT, {spread({phase.trials for phase in every})} a cell, N {min(samples):,} to {max(samples):,}."
        + (" α#: no claim reads it." if any(p.result.axis == "confusion" for p in every) else "")
    )
    alt = " ".join(
        f"{AXES[phases[0].result.axis]}, slope {law.estimate:.3g}."
        for phases in groups
        if (law := phases[0].joint).estimate is not None
    )
    what = " and ".join(_CALLED[phases[0].result.axis] for phases in groups)
    return layout.finish(figure, "lines", f"Sample complexity against {what}", caption, alt)


_CALLED = {"noise": "noise", "start": "start", "confusion": "confusion"}


def exponent(phase: Phase, verdicts: Sequence[Verdict]) -> Interval | None:
    """With the bootstrap's interval, from the verdict that this phase was tested in."""
    law = phase.joint
    if law.estimate is None:
        return None
    if phase.result.kind == "cnn":
        details = details_of(phase, verdicts)
        return Interval(law.estimate, details.get("low"), details.get("high"))
    verdict = series.verdict_of(verdicts, "theory-alpha", phase.case)
    return Interval(law.estimate, verdict.low if verdict else None, verdict.high if verdict else None)


def details_of(phase: Phase, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """What the verdict that this phase was tested in knows of its fit, beside the exponent; empty if there is none."""
    kind = phase.result.kind
    verdict = series.verdict_of(verdicts, "theory-alpha" if kind == "vit" else "theory-vit-beats-cnn", phase.case)
    if verdict is None:
        return {}
    return dict(verdict.details.get("cnn", {})) if kind == "cnn" else dict(verdict.details)


def published_exponent(verdicts: Sequence[Verdict]) -> Interval | None:
    for verdict in verdicts:
        found = verdict.details.get("published")
        if found and found["exponent"] is not None:
            return Interval(found["exponent"], found["low"], found["high"])
    estimate = series.published()[1].estimate
    return None if estimate is None else Interval(estimate, None, None)


def _scaling(ax: "Axes", phase: Phase, *, thin: bool) -> set[float]:
    """Returns the values of alpha_*."""
    color, marker = layout.KINDS[phase.result.kind]
    alphas = [value**-0.5 for value in phase.result.values]
    fine = np.geomspace(min(alphas), max(alphas), 30)
    fitted = [(a, n) for a in fine if (n := phase.joint_n50(float(a) ** -2)) is not None]
    if fitted:
        style: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.5} if thin else {"linewidth": 1.6}
        ax.plot(*np.transpose(fitted), color=color, **style)
    if thin:
        return set(alphas)
    for a, n50, bound in zip(alphas, phase.fit.n50, phase.fit.bound, strict=True):
        low, high = phase.result.samples[0], phase.result.samples[-1]
        y = n50 if n50 is not None else high if bound and bound.startswith(">") else low
        shape = marker if n50 is not None else "^" if y == high else "v"
        ax.plot([a], [y], color=color, marker=shape, markeredgecolor=PAPER, markeredgewidth=0.6, zorder=4)
    middle = math.exp(float(np.mean(np.log(alphas))))
    centre = phase.joint_n50(middle**-2)
    if centre is not None:
        slope = EXPONENTS[phase.result.kind]
        ax.plot(fine, centre * (fine / middle) ** -slope, color=MUTED, linestyle=":", linewidth=1.1, zorder=1)
    return set(alphas)


def _heat(ax: "Axes", phase: Phase, few: bool = False) -> Any:
    result = phase.result
    shown = _cells(ax, result.values, result.samples, _rates(phase.successes, phase.trials), few)
    _boundary(ax, result.values, result.samples, phase.joint_n50, INK, "-", thin=few)
    if not few:
        _dots(ax, phase.fit.n50, result.samples)
    return shown


def _cells(ax: "Axes", values: Sequence[float], samples: Sequence[int], rates: np.ndarray, few: bool = False) -> Any:
    """rates: by N, value. A row per N and a column per value, all of one size: grids are seldom even."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    shown = ax.pcolormesh(
        np.arange(len(values) + 1) - 0.5,
        np.arange(len(samples) + 1) - 0.5,
        rates,
        cmap=ListedColormap(colormaps["Blues"](np.linspace(0.07, 0.93, 41))),  # no cell as pale as the page
        vmin=0,
        vmax=1,
        edgecolors=PAPER,
        linewidth=0.4,
    )
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    every = [_every(len(values), 4 if few else 11), _every(len(samples), 4 if few else 13)]
    ax.set_xticks(every[0], [f"{values[i]:g}" for i in every[0]])
    ax.set_yticks(every[1], [f"{samples[i]:,}" for i in every[1]])
    ax.set_xlim(-0.5, len(values) - 0.5)
    ax.set_ylim(-0.5, len(samples) - 0.5)
    return shown


def _published(ax: "Axes", values: Sequence[float], samples: Sequence[int], dots: bool = False) -> None:
    fit, _ = series.published()
    inside = [value for value in values if min(PHASE_VIT.values) <= value <= max(PHASE_VIT.values)]
    if len(inside) > 1:
        _boundary(ax, values, samples, series.published_law, RED, "--", within=(inside[0], inside[-1]))
    if dots:
        _dots(ax, fit.n50, samples, RED)


def _boundary(
    ax: "Axes",
    values: Sequence[float],
    samples: Sequence[int],
    n50: Callable[[float], float | None],
    color: str,
    dash: str,
    *,
    within: tuple[float, float] | None = None,
    thin: bool = False,
) -> None:
    from matplotlib.patheffects import Normal, Stroke

    places = np.linspace(0, len(values) - 1, 8 * len(values))
    fine = np.interp(places, np.arange(len(values)), values)
    heights = [
        _height(n50(float(value)), samples) if within is None or within[0] <= value <= within[1] else math.nan
        for value in fine
    ]
    outline = [Stroke(linewidth=2.2 if thin else 3.2, foreground=PAPER), Normal()]
    ax.plot(places, heights, color=color, linestyle=dash, linewidth=1.1 if thin else 1.6, path_effects=outline)


def _dots(ax: "Axes", n50: Sequence[float | None], samples: Sequence[int], color: str = INK) -> None:
    heights = [_height(n, samples) for n in n50]
    ax.plot(
        range(len(n50)), heights, color=color, marker="o", linestyle="", zorder=4,
        markeredgecolor=PAPER, markeredgewidth=0.9,
    )  # fmt: skip


def _height(n: float | None, samples: Sequence[int]) -> float:
    """Where N stands on an axis of rows, straight in log N between them; NaN outside of the grid."""
    if n is None or n <= 0 or len(samples) < 2:
        return math.nan
    logs = np.log(samples)
    half = 0.5 * (logs[1] - logs[0]), 0.5 * (logs[-1] - logs[-2])
    if not logs[0] - half[0] <= math.log(n) <= logs[-1] + half[1]:
        return math.nan
    ends = np.concatenate([[logs[0] - half[0]], logs, [logs[-1] + half[1]]])
    return float(np.interp(math.log(n), ends, np.concatenate([[-0.5], np.arange(len(logs)), [len(logs) - 0.5]])))


def _rates(successes: Sequence[Sequence[int]], trials: int) -> np.ndarray:
    return np.array(successes).T / trials


def _every(count: int, most: int) -> list[int]:
    return list(range(0, count, math.ceil(count / most)))
