"""From single trials to what is drawn: success counts with their fits, and curves with their intervals.

Trials of all seeds of a setting are pooled. None stands for a trial that diverged; means leave it out, curves of
attention leave all of it out, successes count it as a failure.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tokenprune.claims import Verdict
from tokenprune.claims.published import PHASE_VIT
from tokenprune.claims.theory.attention import measured
from tokenprune.claims.theory.scaling import training_time
from tokenprune.complexity import ColumnFit, Line, Power, Scaling, columns, line, power_law
from tokenprune.report.series import Interval
from tokenprune.report.theory.settings import Case
from tokenprune.statistics import mean_interval, wilson
from tokenprune.theory.attention import AttentionResult
from tokenprune.theory.phase import PhaseResult
from tokenprune.theory.result import Numbers
from tokenprune.theory.sparsify import SparsifyResult
from tokenprune.theory.time import TimeResult


@dataclass(frozen=True)
class Phase:
    """A phase diagram. successes, diverged: by value, N. joint: fit of all cells together, without its interval."""

    case: Case[PhaseResult]
    successes: list[list[int]]
    diverged: list[list[int]]
    trials: int
    fit: ColumnFit
    joint: Scaling

    @property
    def result(self) -> PhaseResult:
        return self.case.first

    def in_training_time(self, n50: float | None) -> float | None:
        """N50 eta epochs / batch: steps of SGD times their size."""
        return None if n50 is None else n50 * training_time(self.case.setting)

    def joint_n50(self, value: float) -> float | None:
        return n50(self.joint, value)


@dataclass(frozen=True)
class Curve:
    """Means over trials with Student's t interval, at each x; None where every trial diverged."""

    x: tuple[float, ...]
    y: tuple[Interval | None, ...]


@dataclass(frozen=True)
class Times:
    """Medians of the iterations needed, by step size, alpha_*; None where at least half were given up.

    alpha, eta: exponents of 1 / alpha_* and 1 / eta; None where the cells cannot tell.
    """

    case: Case[TimeResult]
    median: list[list[float | None]]
    given_up: list[list[int]]
    trials: int
    intercept: float | None
    alpha: float | None
    eta: float | None

    def fitted(self, step_size: float, value: float) -> float | None:
        if self.intercept is None or self.alpha is None or self.eta is None:
            return None
        return math.exp(self.intercept - self.alpha * math.log(value) - self.eta * math.log(step_size))


def phase(case: Case[PhaseResult]) -> Phase:
    results = case.setting.results
    successes = _added([result.successes() for result in results])
    trials = sum(result.trials for result in results)
    first = case.first
    return Phase(
        case,
        successes,
        _added([result.diverged() for result in results]),
        trials,
        columns(first.values, first.samples, successes, trials),
        joint(first.axis, first.values, first.samples, successes, trials),
    )


def joint(
    axis: str, values: Sequence[float], samples: Sequence[int], successes: list[list[int]], trials: int
) -> Scaling:
    """The law of N50 that the theorem states for this axis; for confusion that of tau, which no claim reads."""
    if axis == "alpha":
        return power_law([value**0.5 for value in values], samples, successes, trials, draws=1)
    return line(values, samples, successes, trials, draws=1)


def n50(law: Scaling, value: float) -> float | None:
    """At a value of the axis, which is alpha_*^-2 for the power law."""
    if isinstance(law, Power):
        return law.n50(value**0.5)
    return law.n50(value) if isinstance(law, Line) else None


@cache
def published() -> tuple[ColumnFit, Scaling]:
    """The published phase diagram, fitted like every other."""
    table = PHASE_VIT
    counts = [list(column) for column in table.successes]
    law = joint("alpha", table.values, table.samples, counts, table.trials)
    return columns(table.values, table.samples, counts, table.trials), law


def published_law(value: float) -> float | None:
    """N50 of that fit at alpha_*^-2 = value; None beyond the published N, where nothing was counted."""
    found = n50(published()[1], value)
    return found if found is not None and PHASE_VIT.samples[0] <= found <= PHASE_VIT.samples[-1] else None


def published_n50(phase: Phase, value: float) -> float | None:
    """N50 of the published diagram's column at alpha_*^-2 = value; None for another axis, network or value."""
    if (phase.result.axis, phase.result.kind) != ("alpha", "vit") or value not in PHASE_VIT.values:
        return None
    return published()[0].n50[PHASE_VIT.values.index(value)]


def on_published_grid(result: PhaseResult) -> bool:
    return (result.axis, result.kind) == ("alpha", "vit") and (
        (result.values, result.samples) == (PHASE_VIT.values, PHASE_VIT.samples)
    )


def curve(x: Sequence[float], trials: Sequence[Sequence[float | None]]) -> Curve:
    """trials: by trial, then x; none at all where every one diverged."""
    if not trials:
        return Curve(tuple(map(float, x)), (None,) * len(x))
    return Curve(tuple(map(float, x)), tuple(mean(column) for column in zip(*trials, strict=True)))


def cells(x: Sequence[float], tables: Sequence[Sequence[Numbers]]) -> Curve:
    """tables: by seed, x, trial."""
    joined = [[value for cell in at for value in cell] for at in zip(*tables, strict=True)]
    return Curve(tuple(map(float, x)), tuple(map(mean, joined)))


def mean(values: Sequence[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return Interval(*mean_interval(known)) if known else None


def attention(case: Case[AttentionResult], name: str) -> Curve:
    """name: of a field of AttentionResult that holds curves."""
    return curve(case.first.iterations, measured(case.setting, name))


def removal(case: Case[SparsifyResult], name: str, method: str) -> Curve:
    """name: loss, accuracy or relevant."""
    return cells(case.first.removed, [getattr(result, name)[method] for result in case.setting.results])


def removal_successes(case: Case[SparsifyResult]) -> tuple[dict[str, list[int]], int]:
    """By method, N; and of how many trials."""
    results = case.setting.results
    counts = {
        method: [
            sum(loss is not None and loss < case.first.success for cell in at for loss in cell)
            for at in zip(*(result.complexity[method] for result in results), strict=True)
        ]
        for method in case.first.complexity
    }
    return counts, sum(len(result.complexity["none"][0]) for result in results)


def removal_diverged(case: Case[SparsifyResult], name: str) -> int:
    """Models without a loss. name: loss, of the curves, or complexity, where samples are counted."""
    return sum(
        loss is None
        for result in case.setting.results
        for cells in getattr(result, name).values()
        for cell in cells
        for loss in cell
    )


def time_diverged(case: Case[TimeResult]) -> int:
    """As far as they were counted."""
    return sum(result.diverged or 0 for result in case.setting.results)


def removal_fit(case: Case[SparsifyResult], counts: Mapping[str, list[int]], trials: int) -> ColumnFit:
    return columns(range(len(counts)), case.first.samples, list(counts.values()), trials)


def times(case: Case[TimeResult]) -> Times:
    import numpy as np

    first = case.first
    pooled = [
        [
            [t for result in case.setting.results for t in result.iterations[row][column]]
            for column in _indices(first.values)
        ]
        for row in _indices(first.step_sizes)
    ]
    every = np.array([[[math.inf if t is None else max(t, 1) for t in cell] for cell in row] for row in pooled])
    medians = np.median(every, axis=-1)
    eta, alpha = np.meshgrid(np.log(first.step_sizes), np.log(first.values), indexing="ij")
    known = np.isfinite(medians)
    design = np.stack([np.ones(known.sum()), -alpha[known], -eta[known]], axis=1)
    intercept = exponent = by_eta = None
    if len(set(alpha[known])) > 1:
        intercept, exponent, by_eta = map(float, np.linalg.pinv(design) @ np.log(medians[known]))
    return Times(
        case,
        [[float(t) if math.isfinite(t) else None for t in row] for row in medians],
        [[int(np.isinf(cell).sum()) for cell in row] for row in every],
        every.shape[-1],
        intercept,
        exponent,
        by_eta,
    )


def rate(count: int, trials: int) -> Interval:
    """With Wilson's interval over trials."""
    return Interval(count / trials, *wilson(count, trials))


def verdict_of(verdicts: Sequence[Verdict], claim: str, case: Case[Any], variant: str | None = None) -> Verdict | None:
    """The one on this setting: its folders are the evidence, alone or beside others."""
    for verdict in verdicts:
        if (verdict.claim, verdict.variant) == (claim, variant) and case.setting.folders[0] in verdict.evidence:
            return verdict
    return None


def _added(tables: Sequence[list[list[int]]]) -> list[list[int]]:
    return [[sum(cell) for cell in zip(*rows, strict=True)] for rows in zip(*tables, strict=True)]


def _indices(values: Sequence[Any]) -> range:
    return range(len(values))
