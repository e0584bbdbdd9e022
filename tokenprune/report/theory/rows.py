"""theory.csv and report.json: a row per cell, or per point of a curve, pooled over the seeds of a setting."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tokenprune.claims.published import ATTENTION, PHASE_VIT, REMOVAL
from tokenprune.claims.theory.attention import diverged, measured
from tokenprune.report.environment import different
from tokenprune.report.series import Interval
from tokenprune.report.theory import series
from tokenprune.report.theory.collect import Laboratory
from tokenprune.report.theory.settings import Case
from tokenprune.theory.attention import AttentionResult
from tokenprune.theory.phase import PhaseResult
from tokenprune.theory.result import TheoryResult
from tokenprune.theory.sparsify import SparsifyResult
from tokenprune.theory.spatial import SpatialResult
from tokenprune.theory.time import TimeResult

_ATTENTION = ("attention", "attention_relevant", "loss", "query_norm", "query_norm_other", "key_norm", "key_norm_other")
_RUN = {"name", "setting", "seed", "recipe", "models", "seconds", "device"}
_SPATIAL = ("overlap", "exact", "loss", "accuracy")


def as_json(laboratory: Laboratory, rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """What `report.json` says of the laboratory. rows: `points(laboratory)`, if that is at hand."""
    return {
        "runs": [
            {"run": folder.name, **result.model_dump(mode="json", include=_RUN)} for folder, result in laboratory.runs
        ],
        "points": points(laboratory) if rows is None else rows,
        "environments": [{"runs": runs, **known} for known, runs in different(laboratory.environments)],
    }


def points(laboratory: Laboratory) -> list[dict[str, Any]]:
    """Rows of the same keys. `published` is what the paper's authors have at the same place, where that is known."""
    found: list[dict[str, Any]] = []
    for case in laboratory.cases:
        found += [{**_known(case), **_EMPTY, **row} for row in _EXPERIMENTS[type(case.first)](case)]
    return found


_KEYS = ("kind", "axis", "quantity", "series", "x_name", "x", "n", "value", "low", "high")
_EMPTY = dict.fromkeys((*_KEYS, "successes", "trials", "diverged", "published"))


def _known(case: Case[Any]) -> dict[str, Any]:
    first = case.first
    return {
        "experiment": case.setting.experiment,
        "recipe": first.name,
        "setting": first.setting,
        "differs": case.label,
        "runs": list(case.setting.folders),
    }


def _phase(case: Case[PhaseResult]) -> Iterator[dict[str, Any]]:
    phase = series.phase(case)
    result = case.first
    same = series.on_published_grid(result)
    for column, value in enumerate(result.values):
        known = {"kind": result.kind, "axis": result.axis, "x_name": result.axis, "x": value, "trials": phase.trials}
        for row, n in enumerate(result.samples):
            count = phase.successes[column][row]
            yield {
                **known,
                "quantity": "success rate",
                "n": n,
                **_interval(series.rate(count, phase.trials)),
                "successes": count,
                "diverged": phase.diverged[column][row],
                "published": PHASE_VIT.successes[column][row] / PHASE_VIT.trials if same else None,
            }
        yield {
            **known,
            "quantity": "n50",
            "value": phase.fit.n50[column],
            "published": series.published_n50(phase, value),
        }
        yield {**known, "quantity": "n50, joint fit", "value": phase.joint_n50(value)}
        by_time = phase.in_training_time(phase.fit.n50[column])
        yield {**known, "quantity": "n50 eta epochs / batch", "value": by_time}


def _attention(case: Case[AttentionResult]) -> Iterator[dict[str, Any]]:
    known: dict[str, Any] = {"kind": "vit", "x_name": "iteration"}
    known |= {"trials": len(measured(case.setting, "attention")), "diverged": diverged(case.setting)}
    shown = dict(zip(ATTENTION.x, ATTENTION.y, strict=True))
    for name in _ATTENTION:
        for x, y in _points(series.attention(case, name)):
            yield {**known, "quantity": name, "x": x, **y, "published": shown.get(x) if name == "attention" else None}


def _sparsify(case: Case[SparsifyResult]) -> Iterator[dict[str, Any]]:
    first = case.first
    counts, trials = series.removal_successes(case)
    known = {"x_name": "tokens removed", "trials": trials}
    results = case.setting.results
    for name in ("loss", "accuracy", "relevant"):
        for method in first.loss:
            curve = REMOVAL.get(method) if name == "loss" else None
            shown = dict(zip(curve.x, curve.y, strict=True)) if curve else {}
            for row, (x, y) in enumerate(_points(series.removal(case, name, method))):
                at = {"series": method, "n": first.curve_samples, "x": x, "published": shown.get(x)}
                lost = _nulls(result.loss[method][row] for result in results)
                yield {**known, "quantity": name, **at, **y, "diverged": lost}
    fit = series.removal_fit(case, counts, trials)
    for column, (method, successes) in enumerate(counts.items()):
        removed = 0 if method == "none" else first.complexity_removed
        for row, (n, count) in enumerate(zip(first.samples, successes, strict=True)):
            rate = _interval(series.rate(count, trials))
            yield {
                **known,
                "quantity": "success rate",
                "series": method,
                "x": removed,
                "n": n,
                **rate,
                "successes": count,
                "diverged": _nulls(result.complexity[method][row] for result in results),
            }
        yield {**known, "quantity": "n50", "series": method, "x": removed, "value": fit.n50[column]}


def _time(case: Case[TimeResult]) -> Iterator[dict[str, Any]]:
    times = series.times(case)
    for row, size in enumerate(case.first.step_sizes):
        for column, value in enumerate(case.first.values):
            yield {
                "kind": case.first.kind,
                "axis": "alpha",
                "quantity": "iterations to zero loss, median",
                "series": f"eta {size:g}",
                "x_name": "alpha_*",
                "x": value,
                "value": times.median[row][column],
                "successes": times.trials - times.given_up[row][column],
                "trials": times.trials,
            }


def _spatial(case: Case[SpatialResult]) -> Iterator[dict[str, Any]]:
    results = case.setting.results
    trials = sum(result.trials for result in results)
    for name in _SPATIAL:
        curve = series.curve(case.first.iterations, [trial for result in results for trial in getattr(result, name)])
        for x, y in _points(curve):
            yield {"quantity": name, "x_name": "iteration", "x": x, **y, "trials": trials}
        for built in getattr(case.first, f"constructed_{name}"):
            every = [value for result in results for value in getattr(result, f"constructed_{name}")[built]]
            yield {"quantity": name, "series": f"built: {built}", **_interval(series.mean(every)), "trials": trials}
    for arm in case.first.target_accuracy:
        counts = [sum(at) for at in zip(*(result.successes()[arm] for result in results), strict=True)]
        curve = series.cells(case.first.samples, [result.target_accuracy[arm] for result in results])
        for count, (n, y) in zip(counts, _points(curve), strict=True):
            yield {"quantity": "target accuracy", "series": arm, "n": int(n), **y, "successes": count, "trials": trials}


def _nulls(cells: Iterable[Sequence[float | None]]) -> int:
    return sum(value is None for cell in cells for value in cell)


def _points(curve: series.Curve) -> Iterator[tuple[float, dict[str, float | None]]]:
    for x, y in zip(curve.x, curve.y, strict=True):
        yield x, _interval(y)


def _interval(value: Interval | None) -> dict[str, float | None]:
    return {"value": None, "low": None, "high": None} if value is None else vars(value)


_EXPERIMENTS: dict[type[TheoryResult], Callable[[Case[Any]], Iterator[dict[str, Any]]]] = {
    PhaseResult: _phase,
    AttentionResult: _attention,
    SparsifyResult: _sparsify,
    TimeResult: _time,
    SpatialResult: _spatial,
}
