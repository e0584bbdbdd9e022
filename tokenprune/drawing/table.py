"""One table, for a page, a file and the terminal."""

import csv
import io
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tokenprune.drawing.numbers import DASH

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Form = Callable[[Any], str]
_Item = TypeVar("_Item")

#: Columns that a terminal of 80 has room for.
_WIDE = 14
#: Letters of a word that are not broken.
_WORD = 20
#: Rows of a part that are worth a terminal's height.
_TALL = 16


@dataclass(frozen=True)
class Column:
    """form: how a value is written; a missing one is a dash. under: a second line below it, on the page only.

    look: `word` of text, `published` of what was not measured here, empty of numbers.
    """

    name: str
    form: Form = str
    under: Callable[[Any], str | None] | None = None
    look: str = ""

    def text(self, value: Any) -> str:
        return DASH if value is None else self.form(value)

    def below(self, value: Any) -> str | None:
        return None if value is None or self.under is None else self.under(value)


@dataclass(frozen=True)
class Table:
    """Rows of raw values under columns that say how they are written; the first column names the row.

    caption: what the numbers are. notes: what a reader must know of them. parts: whether the first column's value,
    where it changes, begins a new part. more: further tables on the same. family, where: the verdicts that it belongs
    to, by their family and their site or variant; None for all. anchor: its id on the page. detail: whether it is for
    the page alone. every: whether a terminal shows every row, however many there are. brief: what
    a terminal shows instead.
    """

    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: str = ""
    more: "tuple[Table, ...]" = ()
    parts: bool = False
    family: str | None = None
    where: str | None = None
    anchor: str | None = None
    detail: bool = False
    every: bool = False
    brief: "Table | None" = None

    @property
    def grouped(self) -> list[list[tuple[Any, ...]]]:
        """Rows by their first value, where the table has parts; else all as one."""
        found: list[list[tuple[Any, ...]]] = []
        for row in self.rows:
            if not found or (self.parts and found[-1][0][0] != row[0]):
                found.append([])
            found[-1].append(row)
        return found

    def terminal(self) -> "RichTable":
        """For a console of 80 columns, with as many columns and rows as that has room for, ends included.

        The first column of words takes the room that is left.
        """
        from rich.text import Text

        if self.brief is not None:
            return self.brief.terminal()
        texts = [[column.text(row[i]) for row in self.rows] for i, column in enumerate(self.columns)]
        least = [
            max(map(len, [*cells, *column.name.split()])) for column, cells in zip(self.columns, texts, strict=True)
        ]
        shown = thinned(range(len(self.columns)), _WIDE)
        if sum(least[i] + 2 for i in shown) > 80:  # what was not measured here stays on the page
            shown = [i for i in shown if self.columns[i].look != "published"]
        found = rich_table(self.title, gap=0 if len(shown) > 8 else 1)
        if self.caption:
            found.title = Text.assemble((self.title, "bold"), f"\n{self.caption.partition(';')[0]}")
        free = next((i for i in shown if self.columns[i].look == "word"), shown[0])
        for i in shown:
            name = self.columns[i].name
            if i == free:
                words = [len(word) for text in [name, *texts[i]] for word in text.split()]
                found.add_column(name, overflow="fold", ratio=1, min_width=min(_WORD, max(words, default=0)))
            else:
                found.add_column(_folded(name, least[i]), justify="right", no_wrap=True)
        for every in self.grouped:
            rows = every if self.every else thinned(every, _TALL)
            for place, row in enumerate(rows):
                cells = [Text(self.columns[i].text(row[i])) for i in shown]
                cells[0] = Text("") if self.parts and place else cells[0]
                found.add_row(*cells, end_section=self.parts and place == len(rows) - 1)
        return found


def _folded(name: str, width: int) -> str:
    """A column's name in lines no wider than its cells, or than its longest word."""
    return "\n".join(textwrap.wrap(name, width, break_long_words=False)) or name


def rich_table(title: str, gap: int = 1) -> "RichTable":
    """gap: spaces between columns beside the one that every box draws."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    return RichTable(
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


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys as CSV; lists are joined by `;`, and what is missing is an empty cell."""
    text = io.StringIO()
    if rows:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows(map(_cell, row.values()) for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return ";".join(str(part) for part in value)
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True) if value else ""
    return value


def thinned(values: Sequence[_Item], most: int) -> list[_Item]:
    """At most so many of the values, evenly, ends included."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
