"""Methods compared, as tables, figures, CSV and JSON in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenprune.claims.methods import CEILING, FLOORS
from tokenprune.drawing.style import style
from tokenprune.drawing.table import Table, to_csv
from tokenprune.errors import TokenpruneError
from tokenprune.experiments.latency import latency_figure, latency_rows, latency_table
from tokenprune.experiments.methods import (
    area_figure,
    comparison_groups,
    comparison_rows,
    comparison_table,
    curve_figure,
    latencies,
)
from tokenprune.report.collect import chosen
from tokenprune.report.export import to_json
from tokenprune.runs import atomic


@dataclass(frozen=True)
class MethodsReport:
    """What was compared. rows: a method of one depth and site each. files: names of those written.

    timed: whether latencies were measured on any of the runs.
    """

    tables: tuple[Table, ...]
    rows: list[dict[str, Any]]
    files: tuple[str, ...]
    problems: tuple[str, ...]
    timed: bool


def compare(
    runs_dir: Path,
    out: Path,
    *,
    runs: Sequence[str] | None = None,
    sites: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> MethodsReport:
    """Write methods.csv, methods.json and two figures for each group of depths into `out`.

    Where latencies were measured, method-latency.csv and a figure for each depth as well.

    runs: folder names; sites, methods: of prunes; None for all. The floors and the oracle stand beside them. Raises
    TokenpruneError where nothing can be compared or `out` cannot be written, UsageError for an unknown run, site or
    method.
    """
    found, problems = chosen(runs_dir, runs, sites, methods, beside=(*FLOORS, CEILING))
    if not found:
        raise TokenpruneError(f"{runs_dir}: no finished run to compare methods on")
    groups = comparison_groups(found, least=2)
    if not groups:
        raise TokenpruneError(
            f"{runs_dir}: no run has two methods measured at one site; `tokenprune prune --method all` "
            "measures all that need no training"
        )
    rows = [row for group in groups for row in comparison_rows(group)]
    timed = latencies(groups)
    latency = [row for found in timed for row in latency_rows(found)]
    tree = {"methods": rows} | ({"latency": latency} if timed else {})
    files = {"methods.csv": to_csv(rows).encode(), "methods.json": to_json(tree).encode()}
    if timed:
        files["method-latency.csv"] = to_csv(latency).encode()
    with style():
        drawn = [draw(group) for group in groups for draw in (area_figure, curve_figure)]
        for drawing in [*drawn, *map(latency_figure, timed)]:
            files |= {f"{drawing.name}.png": drawing.png, f"{drawing.name}.svg": drawing.svg.encode()}
    earlier = {path.name for path in out.glob("method*") if path.suffix in (".png", ".svg", ".csv", ".json")}
    atomic.write_files(out, files, (earlier if "methods.json" in earlier else set()) - set(files))
    tables = (*map(comparison_table, groups), *map(latency_table, timed))
    return MethodsReport(tables, rows, tuple(files), tuple(problems), bool(timed))
