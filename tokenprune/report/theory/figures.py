"""Which figures a laboratory has."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial

from tokenprune.report.style import Drawing
from tokenprune.report.theory.collect import Laboratory
from tokenprune.report.theory.curves import attention_figure, removal_figure, removal_samples_figure, time_figure
from tokenprune.report.theory.phases import exponent_figure, heat_figure, line_figure
from tokenprune.report.theory.series import Phase, on_published_grid, phase
from tokenprune.report.theory.settings import Case, of
from tokenprune.report.theory.spatial import spatial_figure
from tokenprune.report.theory.words import AXES, KINDS
from tokenprune.theory.attention import AttentionResult
from tokenprune.theory.phase import PhaseResult
from tokenprune.theory.sparsify import SparsifyResult
from tokenprune.theory.spatial import SpatialResult
from tokenprune.theory.time import TimeResult


def figures(laboratory: Laboratory) -> list[Callable[[], Drawing]]:
    """What draws each figure, in the page's order. Call each inside `style()`."""
    found: list[Callable[[], Drawing]] = []
    phases = [phase(case) for case in of(laboratory.cases, PhaseResult)]
    for axis, kind in itertools.product(AXES, KINDS):
        chosen = [each for each in phases if (each.result.axis, each.result.kind) == (axis, kind)]
        if not chosen:
            continue
        name = f"phase-{axis}" + ("" if kind == "vit" else f"-{kind}")
        found.append(partial(heat_figure, name, _default_first(chosen, lambda each: on_published_grid(each.result))))
    alpha = [each for each in phases if each.result.axis == "alpha"]
    vit, cnn = (
        _default_first([each for each in alpha if each.result.kind == kind], lambda each: _range(each.result))
        for kind in ("vit", "cnn")
    )
    if alpha:
        found.append(partial(exponent_figure, vit, cnn, laboratory.verdicts))
    lines = [
        _default_first(chosen, lambda each: _range(each.result))
        for axis in ("noise", "start", "confusion")
        if (chosen := [each for each in phases if (each.result.axis, each.result.kind) == (axis, "vit")])
    ]
    if lines:
        found.append(partial(line_figure, lines))
    if attention := _cases(laboratory, AttentionResult):
        found.append(partial(attention_figure, attention, laboratory.verdicts))
    if sparsify := _cases(laboratory, SparsifyResult):
        found.append(partial(removal_figure, sparsify))
        found.append(partial(removal_samples_figure, sparsify, laboratory.verdicts))
    for kind in ("vit", "cnn"):
        if time := [case for case in _cases(laboratory, TimeResult) if case.first.kind == kind]:
            found.append(partial(time_figure, time, laboratory.verdicts))
    if spatial := _cases(laboratory, SpatialResult):
        found.append(partial(spatial_figure, spatial))
    return found


def _cases(laboratory: Laboratory, kind: type) -> "list[Case]":
    return sorted(of(laboratory.cases, kind), key=lambda case: not case.default)


def _default_first(phases: Sequence[Phase], preferred: Callable[[Phase], float]) -> list[Phase]:
    """Default settings first, and of those the preferred one; the others as they are."""
    return sorted(phases, key=lambda each: (not each.case.default, -preferred(each)))


def _range(result: PhaseResult) -> float:
    """How far the grid's N reach: the further, the fewer columns are without N50."""
    return max(result.samples) / min(result.samples)
