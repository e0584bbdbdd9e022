"""The report for an 80-column terminal."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tokenprune.claims.images import mark_of
from tokenprune.claims.judge import LEVEL, REPLICATES
from tokenprune.claims.units import EXPONENT
from tokenprune.report.collect import Report
from tokenprune.report.matrix import ARROWS, NEAR, Cell, Matrix, Row
from tokenprune.report.numbers import bounds, percent
from tokenprune.report.series import Curves, Interval
from tokenprune.report.theory.tables import table as laboratory_table

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_RATIOS = 10
_RUNS = 24  # more are too many for a table; the page and runs.csv have them
_DEPTHS, _CELL = 6, 7  # of a table of claims, and columns of the terminal for each
_MARKS = {"supported": "*", "refuted": "!", "undecided": "?"}
_COLORS = {"supported": "green", "refuted": "red", "undecided": "bright_black"}


def table(report: Report) -> list[Any]:
    """Renderables for a rich console of 80 columns: verdicts, runs, accuracy at each ratio."""
    trained = (
        [*_claims(report.matrix), _runs(report), *(_curves(curves) for curves in report.curves)]
        if report.trained
        else []
    )
    return [*trained, *([laboratory_table(report.laboratory)] if report.laboratory else [])]


def _runs(report: Report) -> Any:
    from rich.text import Text

    if len(report.trained) > _RUNS:
        settings = {run.result.setting for run in report.trained}
        return Text(f"{len(report.trained)} runs of {len(settings)} settings: see runs.csv and the page.")
    found = _table("Runs (test accuracy in %, Wilson 95 %)")
    found.add_column("run", overflow="fold", ratio=1)
    for name in ("depth", "accuracy", "95 %"):
        found.add_column(name, justify="right", no_wrap=True)
    for run in report.trained:
        result = run.result
        found.add_row(
            Text(", ".join(filter(None, (run.folder, mark_of(result.setting))))),
            str(result.model.depth),
            percent(result.test_accuracy, 2),
            bounds(Interval(result.test_accuracy, run.low, run.high)),
        )
    return found


def _curves(curves: Curves) -> "Table":
    from rich.text import Text

    ratios = sorted(
        {mark.keep_ratio for panel in curves.panels for line in panel.lines for mark in line.marks}, reverse=True
    )
    shown = _spread(ratios, _RATIOS)
    found = _table(
        f"{curves.title}, {curves.group.describe()}: accuracy in % at each keep ratio, mean of n seeds", gap=0
    )
    found.add_column("depth", justify="right", no_wrap=True)
    found.add_column("method", overflow="fold", ratio=1)
    found.add_column("n", justify="right", no_wrap=True)
    for ratio in shown:
        found.add_column(f"{ratio:g}", justify="right", no_wrap=True)
    for panel in curves.panels:
        for i, line in enumerate(panel.lines):
            marks = {mark.keep_ratio: mark.accuracy.value for mark in line.marks}
            found.add_row(
                str(panel.depth) if i == 0 else "",
                Text(line.name),
                str(max(mark.seeds for mark in line.marks)),
                *(percent(marks.get(ratio)) for ratio in shown),
                end_section=line is panel.lines[-1] and panel is not curves.panels[-1],
            )
    return found


def _claims(matrix: Matrix) -> list["Table"]:
    """Claims down, depths across, an effect per cell; several tables where so many depths do not fit 80 columns."""
    found = [
        _part(matrix, range(first, min(first + _DEPTHS, len(matrix.depths))))
        for first in range(0, len(matrix.depths), _DEPTHS)
    ]
    from rich.text import Text

    if found:
        found[-1].caption = Text(_legend(matrix))
    return found


def _part(matrix: Matrix, columns: range) -> "Table":
    from rich.text import Text

    trend = columns.stop == len(matrix.depths) > 1
    found = _table(f"Claims by depth{_shared(matrix)}", gap=0)
    found.add_column("claim", overflow="fold", ratio=1)
    for column in columns:
        depth = matrix.depths[column]
        found.add_column(f"depth {depth}" if column == columns.start else str(depth), justify="right", no_wrap=True)
    if trend:
        found.add_column("trend", justify="right", no_wrap=True)
    cell = _CELL + any(row.claim.unit == EXPONENT for row in matrix.rows)  # k
    width = 80 - cell * (len(columns) + trend) - 1
    for number, claims in matrix.experiments:
        for claim, rows in claims:
            heading = textwrap.fill(f"{number} {claim.id}", width, subsequent_indent="   ")
            if len(rows) > 1:
                found.add_row(Text(heading))
            for row in rows:
                beside = textwrap.fill(", ".join(row.beside), width, initial_indent="   ", subsequent_indent="   ")
                found.add_row(
                    Text(beside if len(rows) > 1 else heading),
                    *(_effect(row.cells[column]) for column in columns),
                    *([_slope(row)] if trend else []),
                )
    return found


def _shared(matrix: Matrix) -> str:
    """Images and site, where all rows share them."""
    data, sites = {row.data for row in matrix.rows}, {row.where for row in matrix.rows if row.where}
    parts = [*(data if len(data) == 1 else []), *(f"site {site}" for site in sites if len(sites) == 1)]
    return f": {', '.join(parts)}" if parts else ""


def _effect(cell: Cell | None) -> "Text":
    from rich.text import Text

    if cell is None:
        return Text("")
    effect = "" if cell.judged.effect is None else cell.effect.replace(" ", "")
    return Text(f"{effect}{NEAR if cell.near else _MARKS[cell.judged.verdict]}", style=_COLORS[cell.judged.verdict])


def _slope(row: Row) -> "Text":
    from rich.text import Text

    if row.trend is None or row.trend.slope is None:
        return Text("")
    return Text(row.slope.replace(" ", "") + ARROWS.get(row.direction, "\N{NO-BREAK SPACE}"))


def _legend(matrix: Matrix) -> str:
    exponents = "; k: an exponent" if any(row.claim.unit == EXPONENT for row in matrix.rows) else ""
    lines = [
        f"Effects in points{exponents}; means over training seeds: * supported, ! refuted, ? undecided (fewer than "
        f"{REPLICATES} seeds, or a Holm-adjusted p of {LEVEL:g} or more), {NEAR} undecided though its own interval "
        "leaves out the threshold."
    ]
    if len(matrix.depths) > 1:
        lines.append(
            f"trend: change per doubling of depth, {' or '.join(ARROWS.values())} where its Holm-adjusted p is below "
            f"{LEVEL:g}."
        )
    lines.append("Intervals, runs and the commands that would decide: the page, claims.csv, --json.")
    if matrix.left_out:
        lines.append(f"Not compared: {'; '.join(matrix.left_out)}; --json has them.")
    return "\n".join(lines)


def _table(title: str, gap: int = 1) -> "Table":
    """gap: spaces between columns beside the one that every box draws."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    return Table(
        box=SIMPLE_HEAD,
        title=Text(title, style="bold"),
        title_justify="left",
        caption_justify="left",
        caption_style="",
        padding=(0, gap, 0, 0),
        pad_edge=False,
        show_edge=False,
        width=80,
    )


def _spread(values: Sequence[float], most: int) -> list[float]:
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
