"""The report for an 80-column terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tokenprune.claims.judge import LEVEL, SEEDS
from tokenprune.report.collect import Report
from tokenprune.report.numbers import DASH, bounds, percent
from tokenprune.report.series import Curves, Interval
from tokenprune.report.theory.tables import table as laboratory_table
from tokenprune.report.verdicts import Block, blocks

if TYPE_CHECKING:
    from rich.table import Table

_RATIOS = 10
_CLAIM = 27  # the longest name of a claim
_COLORS = {"supported": "green", "refuted": "red", "undecided": "bright_black"}


def table(report: Report) -> list[Any]:
    """Renderables for a rich console of 80 columns: runs, accuracy at each ratio, verdicts."""
    trained = (
        [_runs(report), *(_curves(curves) for curves in report.curves), *_claims(report)] if report.trained else []
    )
    return [*trained, *([laboratory_table(report.laboratory)] if report.laboratory else [])]


def _runs(report: Report) -> "Table":
    from rich.text import Text

    found = _table("Runs (test accuracy in %, Wilson 95 %)")
    found.add_column("run", overflow="fold", ratio=1)
    for name in ("depth", "accuracy", "95 %"):
        found.add_column(name, justify="right", no_wrap=True)
    for run in report.trained:
        result = run.result
        found.add_row(
            Text(run.folder),
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


def _claims(report: Report) -> list["Table"]:
    from rich.text import Text

    tables = []
    for block in blocks(report.verdicts):
        found = _table(f"Claims, {block.title}", gap=0)
        found.caption = Text(_legend(block))
        found.add_column(
            "claim", overflow="fold", width=_CLAIM if block.several else None, ratio=None if block.several else 1
        )
        found.add_column("depth", justify="right", no_wrap=True)
        if block.several:
            found.add_column("site", overflow="fold", ratio=1)
        found.add_column("verdict", no_wrap=True)
        found.add_column("effect", justify="right", no_wrap=True)
        found.add_column("95 %", overflow="fold", max_width=14)
        found.add_column("n", justify="right", no_wrap=True)
        for row in block.rows:
            for depth, cells in zip(block.depths, row.cells, strict=True):
                for cell in cells:
                    found.add_row(
                        row.id,
                        str(depth),
                        *([Text(cell.where or DASH)] if block.several else []),
                        Text(cell.verdict, style=_COLORS[cell.verdict]),
                        cell.effect,
                        cell.interval,
                        str(cell.seeds),
                    )
        tables.append(found)
    return tables


def _legend(block: Block) -> str:
    lines = ["effect: in points, mean of n training seeds, with its 95 % interval."]
    if any(cell.verdict == "undecided" for _, cell in block.cells):
        lines.append(
            f"undecided: fewer than {SEEDS} seeds, or a Holm-adjusted p of {LEVEL:g} or more; the page and --json have "
            "the commands that would decide."
        )
    if block.left_out:
        lines.append(
            f"Left out, for one of the two methods alone was measured there: {'; '.join(block.left_out)}; --json has "
            "them."
        )
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
