"""theory.csv and report.json: a row per cell, or per point of a curve, pooled over the seeds of a setting."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from tokenprune.claims.published import ATTENTION, PHASE_VIT, REMOVAL
from tokenprune.claims.theory import convergence, removal
from tokenprune.claims.theory.analyses import analysis, plain
from tokenprune.claims.theory.scaling import fit, published_fit
from tokenprune.claims.theory.study import LaboratoryStudy
from tokenprune.claims.theory.trials import AttentionStudy, PhaseStudy, SparsifyStudy, SpatialStudy, TimeStudy
from tokenprune.drawing.numbers import Interval, over_trials
from tokenprune.experiments.theory import series
from tokenprune.report.environment import different
from tokenprune.report.laboratory import Laboratory
from tokenprune.statistics import wilson

_RUN = {"name", "setting", "seed", "recipe", "models", "seconds", "device"}


def as_json(laboratory: Laboratory, rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """What `report.json` says of the laboratory. rows: `points(laboratory)`, if that is at hand."""
    return {
        "runs": [
            {"run": folder.name, **result.model_dump(mode="json", include=_RUN)} for folder, result in laboratory.runs
        ],
        "points": points(laboratory) if rows is None else rows,
        "analyses": [{**_known(study), "analysis": analysis(study)} for study in laboratory.studies],
        "published": plain(published_fit()),
        "environments": [{"runs": runs, **known} for known, runs in different(laboratory.environments)],
    }


def points(laboratory: Laboratory) -> list[dict[str, Any]]:
    """Rows of the same keys. `published` is what the paper's authors have at the same place, where that is known."""
    found: list[dict[str, Any]] = []
    for study in laboratory.studies:
        if rows := _EXPERIMENTS.get(type(study)):
            found += [{**_known(study), **_EMPTY, **row} for row in rows(study)]
    return found


_KEYS = ("kind", "axis", "quantity", "series", "x_name", "x", "n", "value", "low", "high")
_EMPTY = dict.fromkeys((*_KEYS, "successes", "trials", "diverged", "published"))


def _known(study: LaboratoryStudy[Any]) -> dict[str, Any]:
    first = study.first
    return {
        "experiment": study.experiment,
        "recipe": first.name,
        "setting": first.setting,
        "differs": study.label,
        "runs": list(study.folders),
    }


def _phase(study: PhaseStudy) -> Iterator[dict[str, Any]]:
    first, found, trials = study.first, fit(study), study.trials
    same = series.on_published_grid(study)
    for column, value in enumerate(first.values):
        known = {"kind": first.kind, "axis": first.axis, "x_name": first.axis, "x": value, "trials": trials}
        for row, n in enumerate(first.samples):
            yield {
                **known,
                "quantity": "success rate",
                "n": n,
                **_rate(study.successes[column, row], trials),
                "diverged": int(study.diverged[column, row]),
                "published": PHASE_VIT.successes[column][row] / PHASE_VIT.trials if same else None,
            }
        n50 = found.columns.n50[column]
        yield {**known, "quantity": "n50", "value": n50, "published": series.published_n50(study, value)}
        yield {**known, "quantity": "n50, joint fit", "value": found.n50(value)}
        yield {**known, "quantity": "n50 eta epochs / batch", "value": n50 and n50 * study.time_per_sample}


def _attention(study: AttentionStudy) -> Iterator[dict[str, Any]]:
    known = {"kind": "vit", "x_name": "iteration", "trials": study.trials, "diverged": study.diverged}
    shown = dict(zip(ATTENTION.x, ATTENTION.y, strict=True))
    for name in study.CURVES:
        for x, y in _points(study.first.iterations, study.curve(name)):
            yield {**known, "quantity": name, "x": x, **y, "published": shown.get(x) if name == "attention" else None}


def _sparsify(study: SparsifyStudy) -> Iterator[dict[str, Any]]:
    first, found = study.first, removal.complexity(study)
    known = {"x_name": "tokens removed", "trials": study.trials}
    for name in ("loss", "accuracy", "relevant"):
        for method in study.first.methods:
            curve = REMOVAL.get(method) if name == "loss" else None
            shown = dict(zip(curve.x, curve.y, strict=True)) if curve else {}
            lost = study.diverged("loss", method)
            for row, (x, y) in enumerate(_points(first.removed, study.curve(name, method))):
                at = {"series": method, "n": first.curve_samples, "x": x, "published": shown.get(x)}
                yield {**known, "quantity": name, **at, **y, "diverged": int(lost[row])}
    for column, method in enumerate(study.first.compared):
        at = {"series": method, "x": 0 if method == "none" else first.complexity_removed}
        lost = study.diverged("complexity", method)
        for row, (n, count) in enumerate(zip(first.samples, study.successes(method), strict=True)):
            rate = _rate(count, study.trials)
            yield {**known, "quantity": "success rate", **at, "n": n, **rate, "diverged": int(lost[row])}
        yield {**known, "quantity": "n50", **at, "value": found.n50[column]}


def _time(study: TimeStudy) -> Iterator[dict[str, Any]]:
    found, first = convergence.analyse(study), study.first
    known = {"kind": first.kind, "axis": "alpha", "quantity": "iterations to zero loss, median", "x_name": "alpha_*"}
    for size, medians, counts in zip(first.step_sizes, found.median, found.given_up, strict=True):
        for value, median, count in zip(first.values, medians, counts, strict=True):
            yield {
                **known,
                "series": f"eta {size:g}",
                "x": value,
                "value": None if np.isnan(median) else float(median),
                "successes": study.trials - int(count),
                "trials": study.trials,
            }


def _spatial(study: SpatialStudy) -> Iterator[dict[str, Any]]:
    first, trials = study.first, study.trials
    for name in study.CURVES:
        for x, y in _points(first.iterations, study.curve(name)):
            yield {"quantity": name, "x_name": "iteration", "x": x, **y, "trials": trials}
        for built in first.constructed_loss:
            mean = _interval(over_trials(study.constructed(name, built)))
            yield {"quantity": name, "series": f"built: {built}", **mean, "trials": trials}
    for arm in first.target_accuracy:
        points = _points(first.samples, study.target(arm))
        for count, (n, y) in zip(study.successes(arm).tolist(), points, strict=True):
            yield {"quantity": "target accuracy", "series": arm, "n": int(n), **y, "successes": count, "trials": trials}


def _rate(count: int, trials: int) -> dict[str, Any]:
    """Successes with their share and Wilson's interval."""
    return {**_interval(Interval(int(count) / trials, *wilson(int(count), trials))), "successes": int(count)}


def _points(xs: Sequence[float], table: Float[np.ndarray, "x t"]) -> Iterator[tuple[float, dict[str, float | None]]]:
    for x, values in zip(xs, table, strict=True):
        yield float(x), _interval(over_trials(values))


def _interval(value: Interval | None) -> dict[str, float | None]:
    return {"value": None, "low": None, "high": None} if value is None else vars(value)


_EXPERIMENTS: dict[type[LaboratoryStudy[Any]], Callable[[Any], Iterator[dict[str, Any]]]] = {
    PhaseStudy: _phase,
    AttentionStudy: _attention,
    SparsifyStudy: _sparsify,
    TimeStudy: _time,
    SpatialStudy: _spatial,
}
