"""Which figures a laboratory has."""

import itertools
from collections.abc import Callable
from functools import partial

from tokenprune.claims.theory.trials import AttentionStudy, PhaseStudy, SparsifyStudy, SpatialStudy, TimeStudy
from tokenprune.report.style import Drawing
from tokenprune.report.theory.collect import Laboratory
from tokenprune.report.theory.curves import attention_figure, removal_figure, removal_samples_figure, time_figure
from tokenprune.report.theory.heat import heat_figure
from tokenprune.report.theory.phases import Studies, exponent_figure, line_figure
from tokenprune.report.theory.series import on_published_grid
from tokenprune.report.theory.settings import of
from tokenprune.report.theory.spatial import spatial_figure
from tokenprune.report.theory.words import AXES, KINDS


def figures(laboratory: Laboratory) -> list[Callable[[], Drawing]]:
    """What draws each figure, in the page's order. Call each inside `style()`."""
    every = sorted(laboratory.studies, key=lambda study: not study.default)
    found: list[Callable[[], Drawing]] = []
    phases = {
        (axis, kind): [study for study in of(every, PhaseStudy) if (study.first.axis, study.first.kind) == (axis, kind)]
        for axis, kind in itertools.product(AXES, KINDS)
    }
    for (axis, kind), studies in phases.items():
        if studies:
            name = f"phase-{axis}" + ("" if kind == "vit" else f"-{kind}")
            found.append(partial(heat_figure, name, _first(studies, on_published_grid)))
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
        if time := [study for study in of(every, TimeStudy) if study.first.kind == kind]:
            found.append(partial(time_figure, time))
    if spatial := of(every, SpatialStudy):
        found.append(partial(spatial_figure, spatial))
    return found


def _first(studies: Studies, preferred: Callable[[PhaseStudy], float]) -> Studies:
    """Default settings first, and of those the preferred one; the others as they are."""
    return sorted(studies, key=lambda study: (not study.default, -preferred(study)))


def _range(study: PhaseStudy) -> float:
    """How far the grid's N reach: the further, the fewer columns are without N50."""
    return float(max(study.first.samples) / min(study.first.samples))
