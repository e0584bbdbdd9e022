"""The report as data: CSV files and one JSON value. A missing number is an empty cell, or null."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tokenprune.claims import row_of
from tokenprune.claims.theory.analyses import plain
from tokenprune.drawing.table import Table
from tokenprune.experiments.series import Measured, measured
from tokenprune.report.collect import Report
from tokenprune.report.environment import different
from tokenprune.report.laboratory_rows import as_json as laboratory_as_json
from tokenprune.runs import SCHEMA
from tokenprune.statistics import wilson

_POINT_FIRST = (
    "run",
    "recipe",
    "family",
    "setting",
    "depth",
    "training_seed",
    "training_pruner",
    "training_keep_ratio",
    "prune",
    "method",
    "options",
    "site",
    "finetune_epochs",
    "precision",
    "device",
    "batch_size",
    "count",
    "baseline_correct",
    "baseline_accuracy",
    "baseline_images_per_second",
    "draw",
)

_MEAN = ("effect", "low", "high", "p", "p_adjusted", "verdict")
_TREND = ("slope", "low", "high", "p", "p_adjusted")


def as_json(
    report: Report, points: list[dict[str, Any]] | None = None, theory: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Everything that the report shows, for programs.

    points: `point_rows(report)`, theory: the laboratory's points, if these are at hand.
    """
    return {
        "schema_version": SCHEMA,
        "runs": run_rows(report),
        "points": point_rows(report) if points is None else points,
        "claims": claim_rows(report),
        "trends": [asdict(trend) for trend in report.trends],
        "tables": [_table(number, table) for number, tables in report.tables.items() for table in tables],
        "environments": [{"runs": runs, **environment} for environment, runs in different(report.environments)],
        "theory": laboratory_as_json(report.laboratory, theory),
        "problems": list(report.problems),
        "figures": list(report.figures),
    }


def _table(number: str, table: Table) -> dict[str, Any]:
    """An experiment's table with raw values; an interval is its value and bounds."""
    columns = [column.name for column in table.columns]
    return {"experiment": number, "title": table.title, "columns": columns, "rows": plain(table.rows)}


def run_rows(report: Report) -> list[dict[str, Any]]:
    """A row per finished run: its result, with the interval of its accuracy and where its attention went."""
    rows = []
    for run in report.runs:
        result = run.result.model_dump(mode="json", exclude={"schema_version"})
        model, data = result.pop("model"), result.pop("data")
        attention = [epoch.attention_on_relevant for epoch in run.epochs if epoch.attention_on_relevant]
        low, high = wilson(run.result.test_correct, run.result.test_count)
        rows.append(
            {
                "run": run.folder.name,
                "recipe": result.pop("name"),
                **result,
                "test_accuracy_low": low,
                "test_accuracy_high": high,
                "attention_on_relevant_first": list(attention[0]) if attention else None,
                "attention_on_relevant_last": list(attention[-1]) if attention else None,
                **{f"model_{key}": value for key, value in model.items()},
                **{f"data_{key}": value for key, value in data.items()},
            }
        )
    return rows


def point_rows(report: Report) -> list[dict[str, Any]]:
    """A row per run x method x draw x ratio, with all that was measured and under what identity."""
    return list(map(_point, measured(report.runs)))


def claim_rows(report: Report) -> list[dict[str, Any]]:
    """A row per verdict, with all that is behind it."""
    return [verdict.model_dump(mode="json") for verdict in (*report.verdicts, *report.laboratory.verdicts)]


def claim_table(report: Report) -> list[dict[str, Any]]:
    """The same for CSV, with the trend beside each verdict."""
    trends = {row_of(trend): trend for trend in report.trends}
    rows = []
    for verdict in (*report.verdicts, *report.laboratory.verdicts):
        row = verdict.model_dump(mode="json")
        trend = trends.get(row_of(verdict))
        row |= {f"trend_{name}": getattr(trend, name) if trend else None for name in _TREND}
        overall = trend.overall if trend else None
        row |= {f"mean_{name}": getattr(overall, name) if overall else None for name in _MEAN}
        rows.append(row)
    return rows


def to_json(value: Mapping[str, Any]) -> str:
    """JSON of lists of rows, a row a line: as quick to write as without lines, and a change shows where it is."""
    encode = json.JSONEncoder(allow_nan=False).encode
    parts = []
    for key, rows in value.items():
        if isinstance(rows, list):
            lines = ",\n".join(map(encode, rows))
            parts.append(f"{encode(key)}: [\n{lines}\n]")
        else:
            parts.append(f"{encode(key)}: {encode(rows)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _point(found: Measured) -> dict[str, Any]:
    run, prune = found.run, found.prune
    point = found.point.model_dump(mode="json")
    identity = (
        found.folder,
        run.name,
        run.family,
        run.setting,
        run.model.depth,
        run.seed,
        run.pruner,
        run.keep_ratio,
        found.prune_id,
        prune.method,
        prune.options,
        prune.written_site,
        prune.finetune_epochs,
        prune.precision,
        prune.device,
        prune.batch_size,
        prune.count,
        prune.baseline_correct,
        prune.baseline_accuracy,
        prune.baseline_images_per_second,
        point.pop("seed"),
    )
    return {**dict(zip(_POINT_FIRST, identity, strict=True)), **point}
