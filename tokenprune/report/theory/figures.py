"""Which figures a laboratory has."""

import itertools
from collections.abc import Callable
from functools import partial

from tokenprune.claims.theory.trials import AttentionStudy, PhaseStudy, SparsifyStudy, SpatialStudy, TimeStudy
from tokenprune.report.style import Drawing
from tokenprune.report.theory.collect import Laboratory
from tokenprune.report.theory.curves import attention_figure, removal_figure, removal_samples_figure, time_figure
from tokenprune.report.theory.heat import heat_figure
from tokenprune.report.theory.phases import Cases, exponent_figure, line_figure
from tokenprune.report.theory.series import on_published_grid
from tokenprune.report.theory.settings import Case, of
from tokenprune.report.theory.spatial import spatial_figure
from tokenprune.report.theory.words import AXES, KINDS


def figures(laboratory: Laboratory) -> list[Callable[[], Drawing]]:
    """What draws each figure, in the page's order. Call each inside `style()`."""
    every = sorted(laboratory.cases, key=lambda case: not case.default)
    found: list[Callable[[], Drawing]] = []
    phases = {
        (axis, kind): [case for case in of(every, PhaseStudy) if (case.first.axis, case.first.kind) == (axis, kind)]
        for axis, kind in itertools.product(AXES, KINDS)
    }
    for (axis, kind), cases in phases.items():
        if cases:
            name = f"phase-{axis}" + ("" if kind == "vit" else f"-{kind}")
            found.append(partial(heat_figure, name, _first(cases, lambda case: on_published_grid(case.setting))))
    vit, cnn = (_first(phases["alpha", kind], _range) for kind in ("vit", "cnn"))
    if vit or cnn:
        found.append(partial(exponent_figure, vit, cnn))
    lines = [_first(phases[axis, "vit"], _range) for axis in ("noise", "start", "confusion") if phases[axis, "vit"]]
    if lines:
        found.append(partial(line_figure, lines))
    if attention := of(every, AttentionStudy):
        found.append(partial(attention_figure, attention))
    if sparsify := of(every, SparsifyStudy):
        found += [partial(removal_figure, sparsify), partial(removal_samples_figure, sparsify)]
    for kind in ("vit", "cnn"):
        if time := [case for case in of(every, TimeStudy) if case.first.kind == kind]:
            found.append(partial(time_figure, time))
    if spatial := of(every, SpatialStudy):
        found.append(partial(spatial_figure, spatial))
    return found


def _first(cases: Cases, preferred: Callable[[Case[PhaseStudy]], float]) -> Cases:
    """Default settings first, and of those the preferred one; the others as they are."""
    return sorted(cases, key=lambda case: (not case.default, -preferred(case)))


def _range(case: Case[PhaseStudy]) -> float:
    """How far the grid's N reach: the further, the fewer columns are without N50."""
    return float(max(case.first.samples) / min(case.first.samples))
