"""The report for an 80-column terminal."""

import textwrap
from typing import Any

from rich.table import Table as RichTable
from rich.text import Text

from tokenprune.claims.images import mark_of
from tokenprune.claims.judge import LEVEL, REPLICATES
from tokenprune.claims.units import EXPONENT
from tokenprune.drawing.numbers import DASH, Interval, bounds, percent
from tokenprune.drawing.table import Column, Table, rich_table
from tokenprune.report.collect import Report
from tokenprune.report.laboratory import Laboratory
from tokenprune.report.matrix import ARROWS, NEAR, Matrix, MatrixCell, Row
from tokenprune.statistics import wilson

_RUNS = 24  # more are too many for a table; the page and runs.csv have them
_DEPTHS, _CELL = 5, 7  # of a table of claims, and columns of the terminal for each
_MARKS = {"supported": "*", "refuted": "!", "undecided": "?"}
_COLORS = {"supported": "green", "refuted": "red", "undecided": "bright_black"}


def table(report: Report) -> list[Any]:
    """Renderables for a rich console of 80 columns: verdicts, runs, accuracy at each ratio."""
    found: list[Any] = []
    if report.runs:
        tables = [table.terminal() for found in report.tables.values() for table in found]
        found = [*_claims(report.matrix), _runs(report), *tables]
    return [*found, *([_laboratory(report.laboratory)] if report.laboratory else [])]


def _laboratory(laboratory: Laboratory) -> RichTable:
    """Claims and their variants, a row per setting."""
    found = rich_table("Theory laboratory (effects with 95 % interval; shares in points)")
    found.add_column("claim", overflow="fold", width=19)
    found.add_column("setting", overflow="fold", ratio=1)
    found.add_column("verdict", no_wrap=True)
    found.add_column("effect", overflow="fold", width=24)
    last = ""
    for row in laboratory.matrix.rows:
        name = f"{row.claim.experiment} {row.where or row.claim.id.removeprefix('theory-')}"
        for cell in filter(None, row.cells):
            interval = f" ({cell.interval})" if cell.judged.low is not None else ""
            verdict = Text(cell.judged.verdict, style=_COLORS[cell.judged.verdict])
            beside = ", ".join(part for part in row.beside if part != row.where) or row.data
            if name != last:
                found.add_row(Text(name), Text(row.rule, style="italic"))
                last = name
            effect = cell.judged.why if cell.judged.effect is None else f"{cell.effect}{interval}"
            found.add_row(Text(""), Text(beside), verdict, Text(effect))
    if laboratory.unread:
        found.caption = Text(f"No claim reads {', '.join(laboratory.unread)}: figures and numbers only.")
    return found


def _runs(report: Report) -> Any:
    if len(report.runs) > _RUNS:
        settings = {run.result.setting for run in report.runs}
        return Text(f"{len(report.runs)} runs of {len(settings)} settings: see runs.csv and the page.")
    rows = [
        (
            ", ".join(filter(None, (run.folder.name, mark_of(run.result.setting)))),
            run.result.model.depth,
            run.result.test_accuracy,
            Interval(run.result.test_accuracy, *wilson(run.result.test_correct, run.result.test_count)),
        )
        for run in report.runs
    ]
    columns = (
        Column("run", look="word"),
        Column("depth"),
        Column("accuracy", lambda value: percent(value, 2)),
        Column("95 %", bounds),
    )
    return Table("Runs (test accuracy in %, Wilson 95 %)", "", columns, tuple(rows)).terminal()


def _claims(matrix: Matrix) -> list[RichTable]:
    """Claims down, depths across, an effect per cell; several tables where so many depths do not fit 80 columns."""
    found = [
        _part(matrix, range(first, min(first + _DEPTHS, len(matrix.depths))))
        for first in range(0, len(matrix.depths), _DEPTHS)
    ]
    if found:
        found[-1].caption = Text(_legend(matrix))
    return found


def _part(matrix: Matrix, columns: range) -> RichTable:
    trend = columns.stop == len(matrix.depths) > 1
    found = rich_table(f"Claims by depth{_shared(matrix)}", gap=0)
    found.add_column("claim", overflow="fold", ratio=1)
    for column in columns:
        depth = matrix.depths[column]
        found.add_column(f"depth {depth}" if column == columns.start else str(depth), justify="right", no_wrap=True)
    if trend:
        found.add_column("all", justify="right", no_wrap=True)
        found.add_column("trend", justify="right", no_wrap=True)
    cell = _CELL + any(row.claim.unit == EXPONENT for row in matrix.rows)  # k
    width = 80 - cell * (len(columns) + 2 * trend) - 1
    for number, claims in matrix.experiments:
        for claim, rows in claims:
            rule = f" ({rows[0].rule.removeprefix('supported if ')})" if rows[0].rule else ""
            heading = textwrap.fill(f"{number} {claim.id}{rule}", width, subsequent_indent="   ")
            if len(rows) > 1:
                found.add_row(Text(heading))
            for row in rows:
                beside = textwrap.fill(", ".join(row.beside), width, initial_indent="   ", subsequent_indent="   ")
                found.add_row(
                    Text(beside if len(rows) > 1 else heading),
                    *(_effect(row.cells[column]) for column in columns),
                    *([_mean(row), _slope(row)] if trend else []),
                )
    return found


def _shared(matrix: Matrix) -> str:
    """Images and site, where all rows share them."""
    data, sites = {row.data for row in matrix.rows}, {row.where for row in matrix.rows if row.where}
    parts = [*(data if len(data) == 1 else []), *(f"site {site}" for site in sites if len(sites) == 1)]
    return f": {', '.join(parts)}" if parts else ""


def _effect(cell: MatrixCell | None) -> Text:
    if cell is None:
        return Text("")
    if cell.judged.effect is None:
        return Text(f"{DASH}{_MARKS[cell.judged.verdict]}", style=_COLORS[cell.judged.verdict])
    mark = NEAR if cell.near else _MARKS[cell.judged.verdict]
    return Text(f"{cell.effect.replace(' ', '')}{mark}", style=_COLORS[cell.judged.verdict])


def _mean(row: Row) -> Text:
    if row.overall is None:
        return Text("")
    mark = NEAR if row.mean_sign == NEAR else _MARKS[row.overall.verdict]
    return Text(f"{row.mean.replace(' ', '')}{mark}", style=_COLORS[row.overall.verdict])


def _slope(row: Row) -> Text:
    if row.trend is None or row.trend.slope is None:
        return Text("")
    return Text(row.slope.replace(" ", "") + ARROWS.get(row.direction, "\N{NO-BREAK SPACE}"))


def _legend(matrix: Matrix) -> str:
    exponents = "; k: an exponent" if any(row.claim.unit == EXPONENT for row in matrix.rows) else ""
    lines = [
        f"Effects in points{exponents}; means over training seeds: * supported, ! refuted, ? undecided (fewer than "
        f"{REPLICATES} seeds, or a Holm-adjusted p of {LEVEL:g} or more), {NEAR} undecided though its own interval "
        f"leaves out the threshold, {DASH}? without a number: `tokenprune explain CLAIM` says why. The threshold is "
        "0 if none is named."
    ]
    if len(matrix.depths) > 1:
        lines.append(
            "all: mean over depths, its p adjusted over such means alone. "
            f"trend: change per doubling of depth, {' or '.join(ARROWS.values())} where its Holm-adjusted p is below "
            f"{LEVEL:g}."
        )
    lines.append("Intervals, runs and the commands that would decide: the page, claims.csv, --json.")
    if matrix.left_out:
        lines.append(f"Not compared: {'; '.join(matrix.left_out)}; --json has them.")
    return "\n".join(lines)
