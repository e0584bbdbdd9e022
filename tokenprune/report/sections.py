"""A page of one matrix and its experiments: verdicts, and behind each cell its sentence, figures, runs and commands."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenprune
from tokenprune.claims import Claim, Published, Verdict
from tokenprune.drawing.numbers import DASH, p_value, pretty
from tokenprune.drawing.style import Drawing
from tokenprune.drawing.table import Table
from tokenprune.errors import counted
from tokenprune.experiments import Experiment
from tokenprune.report import conclusion
from tokenprune.report.html import figure, template
from tokenprune.report.matrix import SIGNS, Matrix, MatrixCell, Row

_TREND = (
    " All depths: the mean over depths, its p adjusted over the claim’s such means alone. Trend (I8): change of the "
    "effect per doubling of depth; it rises or falls where its p, Holm-adjusted over the claim’s trends, is below 5 %."
)


@dataclass(frozen=True)
class Shown:
    """An experiment with what was drawn and listed of it."""

    experiment: Experiment
    drawings: tuple[Drawing, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Links:
    """What is behind a verdict.

    settings: anchor and words, by the names of the runs. seeds: by the name of a run. commands: of evidence.
    """

    settings: Mapping[tuple[str, ...], tuple[str, str]]
    seeds: Mapping[str, int]
    commands: Callable[[Sequence[str]], str]


def render_page(
    matrix: Matrix, parts: Sequence[Shown], links: Links, *, further: Sequence[Table] = (), **context: Any
) -> str:
    """The page of one matrix and its experiments."""
    rows = dict(matrix.experiments)
    context["caption"] += (_TREND if context["trends"] else "") + (
        " What stands in the paper's column was not measured here." if context["paper"] else ""
    )
    return template("page.html.j2").render(
        conclusion=conclusion.sentences(matrix),
        matrix=_matrix(matrix),
        left_out=matrix.left_out,
        experiments=[
            _experiment(part, rows.get(part.experiment.number, []), links)
            for part in parts
            if part.drawings or part.experiment.number in rows
        ],
        tables=[*(table for part in parts for table in part.tables), *further],
        version=tokenprune.__version__,
        **context,
    )


def _matrix(matrix: Matrix) -> list[dict[str, Any]]:
    """The rows of the matrix, with an anchor in each cell."""
    return [
        {
            "experiment": row.claim.experiment,
            "first": place == 0,
            "name": row.claim.id,
            "where": pretty(_label(row)),
            "rule": pretty(row.rule) if row.rule and (not place or row.rule != rows[place - 1].rule) else None,
            "published": _published(row.claim.published),
            "cells": [cell and _verdict(cell) for cell in row.cells],
            "mean": row.overall
            and {
                "verdict": row.overall.verdict,
                "text": f"{row.mean_sign} {row.mean}",
                "interval": row.mean_interval,
                "n": f"{row.overall.verdict}, n {row.overall.seeds}",
                "p": p_value(row.overall.p_adjusted, row.overall.p_adjusted),
            },
            "trend": None
            if row.slope == DASH
            else {"slope": row.slope, "interval": row.slope_interval, "word": row.direction},
        }
        for _, claims in matrix.experiments
        for _, rows in claims
        for place, row in enumerate(rows)
    ]


def _experiment(part: Shown, claims: Sequence[tuple[Claim, Sequence[Row]]], links: Links) -> dict[str, Any]:
    """Its figures, and for each cell of the matrix the sentence, the runs and the commands that repeat them."""
    return {
        "number": part.experiment.number,
        "title": pretty(part.experiment.title),
        "figures": [figure(drawing) for drawing in part.drawings],
        "claims": [
            {
                "id": claim.id,
                "statement": pretty(claim.statement),
                "test": pretty(claim.test),
                "source": pretty(claim.source),
                "published": _published(claim.published),
                "in_short": in_short(rows),
                "rows": [
                    {
                        "label": pretty(_label(row, row.recipe)),
                        "cells": [_cell(cell, part, links) for cell in row.cells if cell],
                    }
                    for row in rows
                ],
            }
            for claim, rows in claims
        ],
    }


def _cell(cell: MatrixCell, part: Shown, links: Links) -> dict[str, Any]:
    verdict = cell.judged
    names = dict.fromkeys(name.partition("/")[0] for name in verdict.evidence)
    read = {folders: link for folders, link in links.settings.items() if any(name in names for name in folders)}
    todo = itertools.groupby((verdict.todo or "").splitlines(), lambda line: line.startswith(("tokenprune ", "#")))
    return {
        **_verdict(cell),
        "place": f"depth {verdict.depth} " if verdict.of == "seeds" else "",
        "images": None if verdict.images is None else counted(verdict.images, "test image"),
        "why": pretty(verdict.why),
        "todo": [(command, "\n".join(lines)) for command, lines in todo],
        "figures": [
            {"name": drawing.name, "title": drawing.title.partition(":")[0]}
            for drawing in part.drawings
            if _belongs(drawing, verdict)
        ],
        "numbers": [table.anchor for table in part.tables if table.anchor and _belongs(table, verdict)],
        "count": counted(len(names), "run"),
        "settings": [
            {
                "anchor": anchor,
                "text": text,
                "seeds": ", ".join(str(links.seeds[name]) for name in folders if name in names),
            }
            for folders, (anchor, text) in read.items()
        ],
        "commands": links.commands(verdict.evidence),
    }


def _belongs(shown: Drawing | Table, verdict: Verdict) -> bool:
    """Whether a figure or a table is of the models that a verdict is on."""
    return shown.family in (None, verdict.family) and shown.where in (None, verdict.site, verdict.variant)


def in_short(rows: Sequence[Row]) -> str | None:
    """Where a claim of several rows holds, where it does not, where nobody knows; None for a single row."""
    if len(rows) < 2:
        return None
    said = []
    for verdict in SIGNS:
        places = []
        for row in rows:
            depths = [str(cell.judged.depth) for cell in row.cells if cell and cell.judged.verdict == verdict]
            if depths:
                at = "" if row.claim.laboratory else f" at depth {', '.join(depths)}"
                places.append(f"{pretty(_label(row))}{at}")
        if places:
            said.append(f"{verdict}: {'; '.join(places)}.")
    return " ".join(f"{words[0].upper()}{words[1:]}" for words in said)


def _published(found: Sequence[Published]) -> list[dict[str, str]]:
    """What the paper says, each with how surely it is known."""
    return [
        {
            "text": pretty(each.text),
            "mark": "recalled, not verified" if each.mark == "recalled" else f"published: {each.mark}",
        }
        for each in found
    ]


def _verdict(cell: MatrixCell) -> dict[str, Any]:
    return {
        "anchor": cell.anchor,
        "verdict": cell.judged.verdict,
        "sign": cell.sign,
        "p": cell.p,
        "effect": cell.effect
        if cell.effect != DASH
        else "no estimate"
        if cell.judged.of == "trials"
        else "not measured",
        "interval": None if cell.interval == DASH else cell.interval,
        "n": counted(cell.judged.n, "trial") if cell.judged.of == "trials" else f"n {cell.judged.n}",
        "beside": pretty(cell.judged.beside or "") if cell.judged.of == "trials" else "",
    }


def _label(row: Row, *first: str) -> str:
    """Images, site, and what else distinguishes the row from the claim's others."""
    site = f"site {row.where}" if row.where and not row.claim.laboratory else row.where or ""
    parts = (*first, row.data, site, *(part for part in row.beside if part != row.where))
    return ", ".join(dict.fromkeys(filter(None, parts)))
