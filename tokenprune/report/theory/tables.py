"""The laboratory's verdicts for an 80-column terminal."""

from typing import TYPE_CHECKING

from tokenprune.report.theory.collect import Laboratory
from tokenprune.report.theory.verdicts import matrix

if TYPE_CHECKING:
    from rich.table import Table

_COLORS = {"supported": "green", "refuted": "red", "undecided": "bright_black"}


def table(laboratory: Laboratory) -> "Table":
    """Claims and their variants, a row per setting."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    found = Table(
        box=SIMPLE_HEAD,
        title=Text("Theory laboratory (effects with 95 % interval)", style="bold"),
        title_justify="left",
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        width=80,
    )
    found.add_column("claim", overflow="fold", width=19)
    found.add_column("setting", overflow="fold", ratio=1)
    found.add_column("verdict", no_wrap=True)
    found.add_column("effect", overflow="fold", width=24)
    verdicts = matrix(laboratory)
    for row in verdicts.rows:
        name = f"{row.number} {row.variant or row.id.removeprefix('theory-')}"
        for column, cells in zip(verdicts.columns, row.cells, strict=True):
            for cell in cells:
                where = f"{column} ({cell.where})" if len(cells) > 1 else column
                found.add_row(
                    Text(name), Text(where), Text(cell.verdict, style=_COLORS[cell.verdict]), Text(cell.effect)
                )
                name = ""
    if verdicts.note:
        found.caption, found.caption_justify = Text(verdicts.note), "left"
    return found
