"""How N50 scales: exponents in alpha_*, and lines in the noise, the start and the confusion tokens."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from tokenprune.claims.published import EXPONENTS, PHASE_VIT
from tokenprune.claims.theory.scaling import fit, published_fit
from tokenprune.claims.theory.trials import PhaseStudy
from tokenprune.drawing import plots
from tokenprune.drawing.style import INK, MUTED, Drawing
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import KIND_LOOKS, KINDS, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Studies = Sequence[PhaseStudy]


def exponent_figure(vit: Studies, cnn: Studies) -> Drawing:
    """N50 against alpha_*: the first of each network with its columns, the others as thin fitted lines."""
    networks = [studies for studies in (vit, cnn) if studies]
    entries = [(*KIND_LOOKS[studies[0].first.kind], "-", KINDS[studies[0].first.kind]) for studies in networks]
    entries += [(INK, "", "--", "published ViT, same fit"), (MUTED, "", ":", "slopes α*⁻² and α*⁻⁴")]
    figure, ((ax, side),) = plots.panels(["", "exponent g of N50 ~ α*⁻ᵍ"], entries, height=3.0, share=False)
    rows = []
    for studies in networks:
        kind = studies[0].first.kind
        _scaling(ax, studies[0])
        for study in studies[1:]:
            _law(ax, study, KIND_LOOKS[kind][0], width=0.6)
        for study, text in zip(studies, names(studies), strict=True):
            rows.append((f"{KINDS[kind]}, {text}", KIND_LOOKS[kind], series.of_law(fit(study).law)))
    rows.append(("published diagram", (INK, "D"), series.of_law(published_fit().law)))
    x = np.geomspace(max(PHASE_VIT.values) ** -0.5, min(PHASE_VIT.values) ** -0.5, 60)
    ax.plot(x, on(x**-2, series.published_law), color=INK, linestyle="--", linewidth=1.4)
    ax.set(xscale="log", yscale="log", xlabel="share of label-relevant tokens α*", ylabel="N50, training samples")
    for axis in (ax.xaxis, ax.yaxis):
        plots.log_ticks(axis)
    plots.forest(side, rows, *EXPONENTS.values())
    side.set_xlim(left=min(0.0, side.get_xlim()[0]))
    every = [*vit, *cnn]
    caption = (
        f"Left: N50 of each column and the joint fit, {names(networks[0])[0]}; thin: other settings; triangles: "
        f"columns without N50 of their own, at the largest or smallest N. Dotted: the theorem's ViT α*⁻² and the "
        f"CNN's α*⁻⁴ through the middle of each fit; the published line ends where its N do. Right: fitted exponents "
        f"with 95 % bootstrap intervals over trials; dotted, the theorem's 2 and 4. {_of_all(every)}."
    )
    alt = "Exponents: " + "; ".join(f"{name} {value.value:.2f}" for name, _, value in rows if value) + "."
    return series.drawing(figure, "exponents", "Sample complexity against α*", caption, alt)


def on(x: Float[np.ndarray, " x"], n50: Callable[[float], float | None]) -> Float[np.ndarray, " x"]:
    """N50 at each x; nan where there is none."""
    return np.array([n50(float(value)) for value in x], float)


def _of_all(studies: Studies) -> str:
    samples = [n for study in studies for n in study.first.samples]
    return f"{spread({study.trials for study in studies})} a cell, N {min(samples):,} to {max(samples):,}"


def _law(ax: "Axes", study: PhaseStudy, color: str, *, width: float) -> None:
    """The joint fit over alpha_*."""
    alphas = np.array(study.first.values) ** -0.5
    fine = np.geomspace(alphas.min(), alphas.max(), 30)
    ax.plot(fine, on(fine**-2, fit(study).n50), color=color, linewidth=width)


def _scaling(ax: "Axes", study: PhaseStudy) -> None:
    """The fit, N50 of each column, and the theorem's slope."""
    color, marker = KIND_LOOKS[study.first.kind]
    fitted, alphas, samples = fit(study), np.array(study.first.values) ** -0.5, study.first.samples
    _law(ax, study, color, width=1.6)
    for a, n50, bound in zip(alphas, fitted.columns.n50, fitted.columns.bound, strict=True):
        beyond = bound is not None and bound.startswith(">")
        y = n50 if n50 is not None else samples[-1 if beyond else 0]
        shape = marker if n50 is not None else "^" if beyond else "v"
        ax.plot([a], [y], color=color, marker=shape, zorder=4, **plots.EDGE)
    middle = math.exp(float(np.mean(np.log(alphas))))
    centre = fitted.n50(middle**-2)
    if centre is not None:
        slope = -EXPONENTS[study.first.kind]
        ax.plot(alphas, centre * (alphas / middle) ** slope, color=MUTED, linestyle=":", linewidth=1.1, zorder=1)
