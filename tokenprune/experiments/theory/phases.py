"""How N50 scales: exponents in alpha_*, and lines in the noise, the start and the confusion tokens."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokenprune.claims.published import EXPONENTS, PHASE_VIT
from tokenprune.claims.theory.scaling import fit, published_fit
from tokenprune.claims.theory.study import speed_only
from tokenprune.claims.theory.trials import PhaseStudy
from tokenprune.drawing import sheets
from tokenprune.drawing.numbers import Interval
from tokenprune.drawing.style import INK, MUTED, PAPER, Drawing
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import AXES, KINDS, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Studies = Sequence[PhaseStudy]


def exponent_figure(vit: Studies, cnn: Studies) -> Drawing:
    """N50 against alpha_*: the first of each network with its columns, the others as thin fitted lines."""
    figure, (ax, side), _ = sheets.sheet([1.5, 1], height=3.4, names=1.55)
    networks = [studies for studies in (vit, cnn) if studies]
    called = {id(study): text for studies in networks for study, text in zip(studies, names(studies), strict=True)}
    every = [study for studies in networks for study in studies]
    for studies in networks:
        for index, study in enumerate(studies):
            _scaling(ax, study, thin=index > 0)
    x = np.geomspace(max(PHASE_VIT.values) ** -0.5, min(PHASE_VIT.values) ** -0.5, 60)
    ax.plot(x, on(x**-2, series.published_law), color=INK, linestyle="--", linewidth=1.4)
    ax.set_xscale("log")
    sheets.log_y([ax])
    sheets.log_ticks(ax.xaxis, {round(value**-0.5, 2) for study in every for value in study.first.values}, most=8)
    ax.set_xlabel("share of label-relevant tokens α*")
    ax.set_ylabel("N50, training samples")
    kinds = [studies[0].first.kind for studies in networks]
    sheets.legend(
        figure,
        [
            *((sheets.handle(*sheets.KINDS[kind]), KINDS[kind]) for kind in kinds),
            (sheets.handle(INK, "", "--"), "published ViT, same fit"),
            (sheets.handle(MUTED, "", ":"), "slopes α*⁻² and α*⁻⁴"),
        ],
    )
    rows: list[tuple[str, str, str, Interval | None]] = []
    for study in every:
        kind = study.first.kind
        rows.append((f"{KINDS[kind]}, {called[id(study)]}", *sheets.KINDS[kind], series.of_law(fit(study).law)))
    rows.append(("published diagram", INK, "D", series.of_law(published_fit().law)))
    sheets.forest(side, rows, "exponent g of N50 ~ α*⁻ᵍ", [(EXPONENTS["vit"], "2"), (EXPONENTS["cnn"], "4")])
    side.set_xlim(left=min(0.0, side.get_xlim()[0]))
    caption = (
        f"Left: N50 of each column and the joint fit, {called[id(every[0])]}; thin: other settings; triangles: columns "
        f"without N50 of their own, at the largest or smallest N. Dotted: the theorem's ViT α*⁻² and the CNN's α*⁻⁴ "
        f"through the middle of each fit. Right: fitted exponents with 95 % bootstrap intervals over trials; dotted, "
        f"the theorem's 2 and 4. {_of_all(every)}."
        + _of_published()
        + _in_training_time(networks)
        + _of_grid([studies[0] for studies in networks])
    )
    alt = "Exponents: " + "; ".join(f"{name} {value.value:.2f}" for name, _, _, value in rows if value) + "."
    return sheets.finish(figure, "exponents", "Sample complexity against α*", caption, alt)


def on(x: Float[np.ndarray, " x"], n50: Callable[[float], float | None]) -> Float[np.ndarray, " x"]:
    """N50 at each x; nan where there is none."""
    return np.array([n50(float(value)) for value in x], float)


def _of_all(studies: Studies) -> str:
    samples = [n for study in studies for n in study.first.samples]
    return f"{spread({study.trials for study in studies})} a cell, N {min(samples):,} to {max(samples):,}"


def _of_published() -> str:
    exact = series.of_law(published_fit().law)
    assert exact is not None
    assert exact.low is not None
    return (
        f" The published counts themselves have g = {exact.value:.2g} ({exact.low:.2g} to {exact.high:.2g}) by this "
        f"fit, {'above' if exact.low > EXPONENTS['vit'] else 'against'} the theorem's {EXPONENTS['vit']:g}; "
        f"their line ends where their N do, at {PHASE_VIT.samples[0]} and {PHASE_VIT.samples[-1]}."
    )


def _in_training_time(networks: Sequence[Studies]) -> str:
    """Over the settings that differ by batch and step size only: one pass, so N is iterations times batch."""
    found = []
    for studies in networks:
        first = studies[0].first
        value = sorted(first.values)[len(first.values) // 2]
        alike = [study for study in studies if study.first.name == first.name and speed_only(study.first.recipe)]
        known = [(n, n * study.time_per_sample) for study in alike if (n := fit(study).n50(value)) is not None]
        if len(known) > 1:
            (least, fastest), (most, slowest) = np.min(known, axis=0), np.max(known, axis=0)
            found.append(
                f"{KINDS[first.kind]} at α*⁻² = {value:g}, N50 {least:,.0f} to {most:,.0f}, "
                f"but N50 η / batch {fastest:,.0f} to {slowest:,.0f}"
            )
    if not found:
        return ""
    return f" In one pass N is iterations times batch. Over batch and step size: {'; '.join(found)}."


def _of_grid(studies: Studies) -> str:
    """How the exponent moves where only smaller N are used, and where success need not reach 1."""
    found = []
    for study in studies:
        fitted = fit(study)
        smaller = [(n, g) for n, g in fitted.up_to.items() if g is not None]
        if len(smaller) > 1 and fitted.lapse:
            (largest, g), (least, other) = smaller[0], smaller[-1]
            found.append(
                f"{KINDS[study.first.kind]} {g:.3g} with N to {largest:,}, {other:.3g} with N to {least:,}, "
                f"{fitted.lapse.exponent:.3g} where success may stop short of 1"
            )
    return f" g depends on the grid and the fit: {'; '.join(found)}." if found else ""


def _scaling(ax: "Axes", study: PhaseStudy, *, thin: bool) -> None:
    color, marker = sheets.KINDS[study.first.kind]
    fitted, alphas, samples = fit(study), np.array(study.first.values) ** -0.5, study.first.samples
    fine = np.geomspace(alphas.min(), alphas.max(), 30)
    style: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.5} if thin else {"linewidth": 1.6}
    ax.plot(fine, on(fine**-2, fitted.n50), color=color, **style)
    if thin:
        return
    for a, n50, bound in zip(alphas, fitted.columns.n50, fitted.columns.bound, strict=True):
        beyond = bound is not None and bound.startswith(">")
        y = n50 if n50 is not None else samples[-1 if beyond else 0]
        shape = marker if n50 is not None else "^" if beyond else "v"
        ax.plot([a], [y], color=color, marker=shape, markeredgecolor=PAPER, markeredgewidth=0.6, zorder=4)
    middle = math.exp(float(np.mean(np.log(alphas))))
    centre = fitted.n50(middle**-2)
    if centre is not None:
        slope = EXPONENTS[study.first.kind]
        ax.plot(fine, centre * (fine / middle) ** -slope, color=MUTED, linestyle=":", linewidth=1.1, zorder=1)


def line_figure(groups: Sequence[Studies]) -> Drawing:
    """N50^-1/2 against tau, sigma and alpha_#, a panel each: the first setting with its columns, the others thin."""
    figure, axes, _ = sheets.sheet([1] * len(groups), height=2.8)
    for ax, studies in zip(axes, groups, strict=True):
        for study in studies[1:]:
            _line(ax, study, MUTED, linewidth=0.8, alpha=0.6)
        _columns(ax, studies[0])
        ax.set_xlabel(AXES[studies[0].first.axis])
        ax.set_ylim(bottom=0)
    axes[0].set_ylabel("1 / √N50")
    entries = [
        (sheets.handle(sheets.KINDS["vit"][0], "o"), "default setting"),
        (sheets.handle(MUTED, linewidth=0.8), "other settings"),
    ]
    sheets.legend(figure, entries if any(len(studies) > 1 for studies in groups) else entries[:1])
    every = [study for studies in groups for study in studies]
    caption = (
        "1/√N50 of each column, and the line fitted to all cells, as N ~ (Θ(1) − x)⁻² asks; where it reaches 0 no "
        "number of samples suffices. Dotted: ends of the grid, beyond which N50 is not seen. "
        f"ViT, {_of_all(every)}."
        + (" α#: no claim reads it." if any(study.first.axis == "confusion" for study in every) else "")
    )
    axis_of = {studies[0].first.axis: fit(studies[0]).law for studies in groups}
    alt = " ".join(
        f"{AXES[axis]}, slope {law.estimate:.3g}." for axis, law in axis_of.items() if law.estimate is not None
    )
    return sheets.finish(figure, "lines", f"Sample complexity against {', '.join(axis_of)}", caption, alt)


def _line(ax: "Axes", study: PhaseStudy, color: str, **look: Any) -> None:
    fine = np.linspace(min(study.first.values), max(study.first.values), 60)
    ax.plot(fine, on(fine, fit(study).n50) ** -0.5, color=color, **look)


def _columns(ax: "Axes", study: PhaseStudy) -> None:
    """N50 of each column with the line, and the ends of the grid."""
    first, color = study.first, sheets.KINDS["vit"][0]
    _line(ax, study, color, linewidth=1.6, zorder=3)
    n50 = np.array(fit(study).columns.n50, float)
    ax.plot(first.values, n50**-0.5, color=color, marker="o", linestyle="", markeredgecolor=PAPER, zorder=4)
    for n in (first.samples[0], first.samples[-1]):
        ax.axhline(n**-0.5, color=MUTED, linestyle=":", linewidth=0.8, zorder=1)
        ax.annotate(
            f"N = {n:,}", (min(first.values), n**-0.5), xytext=(2, 2), textcoords="offset points",
            fontsize=7, color=MUTED,
        )  # fmt: skip
