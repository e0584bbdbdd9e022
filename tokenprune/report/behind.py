"""What stands behind each cell of the matrix: the sentence, the figure, the runs and the commands that repeat them."""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenprune.claims import Published
from tokenprune.errors import counted
from tokenprune.report.arms import experiments, variant_of
from tokenprune.report.collect import Report
from tokenprune.report.commands import Commands
from tokenprune.report.experiments import figure_name
from tokenprune.report.figures import suffixes
from tokenprune.report.html import figure
from tokenprune.report.matrix import EXPERIMENTS, SIGNS, Cell, Matrix, Row
from tokenprune.report.numbers import DASH
from tokenprune.report.series import Trained
from tokenprune.report.style import Drawing, slug
from tokenprune.report.theory.words import pretty

#: Experiment, family, and the site or what else pruners share.
_Place = tuple[str, str, str]


def behind(report: Report, drawings: Sequence[Drawing], commands: Commands) -> list[dict[str, Any]]:
    """The experiments in order, with the figures that their claims read and a part for each cell of the matrix."""
    parts = _Parts(report, drawings, commands)
    found = []
    for number, claims in report.matrix.experiments:
        names = dict.fromkeys(name for _, rows in claims for row in rows for name in parts.figures.get(_place(row), ()))
        found.append(
            {
                "number": number,
                "title": EXPERIMENTS[number],
                "figures": [figure(parts.drawn[name]) for name in names],
                "claims": [
                    {
                        "id": claim.id,
                        "statement": claim.statement,
                        "test": _written(claim.test),
                        "source": _written(claim.source),
                        "published": published(claim.published),
                        "in_short": in_short(rows),
                        "rows": [
                            {
                                "label": _label(row, row.recipe),
                                "cells": [parts.cell(row, cell) for cell in row.cells if cell],
                            }
                            for row in rows
                        ],
                    }
                    for claim, rows in claims
                ],
            }
        )
    return found


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
                places.append(f"{_label(row)} at depth {', '.join(depths)}")
        if places:
            said.append(f"{verdict}: {'; '.join(places)}.")
    return " ".join(f"{words[0].upper()}{words[1:]}" for words in said)


def shown(experiments: Sequence[Mapping[str, Any]]) -> set[str]:
    """Names of the figures that stand with their experiments."""
    return {drawing["name"] for experiment in experiments for drawing in experiment["figures"]}


def head(matrix: Matrix) -> list[dict[str, Any]]:
    """The rows of the matrix as the page shows them."""
    return [
        {
            "experiment": row.claim.experiment,
            "first": place == 0,
            "name": pretty(row.claim.name),
            "id": row.claim.id,
            "where": _label(row),
            "published": published(row.claim.published),
            "cells": [cell and _verdict(cell) for cell in row.cells],
            "trend": None
            if row.slope == DASH
            else {
                "slope": row.slope,
                "interval": row.slope_interval,
                "word": row.direction,
            },
        }
        for _, claims in matrix.experiments
        for _, rows in claims
        for place, row in enumerate(rows)
    ]


def published(found: Sequence[Published]) -> list[dict[str, str]]:
    """What the paper says, each with how surely it is known."""
    return [
        {
            "text": _written(each.text),
            "mark": "recalled, not verified" if each.mark == "recalled" else f"published: {each.mark}",
        }
        for each in found
    ]


def numbers_anchor(ending: str) -> str:
    return slug("numbers", ending)


def setting_anchor(run: Trained) -> str:
    return slug("setting", run.result.setting)


def describe(run: Trained) -> str:
    """What makes this setting another than most."""
    result = run.result
    parts = [
        f"depth {result.model.depth}",
        f"{result.pruner} at keep {result.keep_ratio:g}" if result.pruner != "none" else None,
        f"{result.data.train_count:,} training images",
        run.images,
        f"start {run.start}" if run.start != "scratch" else None,
    ]
    return ", ".join(part for part in parts if part)


def _verdict(cell: Cell) -> dict[str, Any]:
    return {
        "anchor": cell.anchor,
        "verdict": cell.judged.verdict,
        "sign": cell.sign,
        "p": cell.p,
        "effect": None if cell.effect == DASH else cell.effect,
        "interval": None if cell.interval == DASH else cell.interval,
        "seeds": cell.judged.n,
    }


class _Parts:
    """What cells are explained with. figures, numbers: names and anchors by the place that they show."""

    def __init__(self, report: Report, drawings: Sequence[Drawing], commands: Commands) -> None:
        self.commands = commands
        self.runs = {run.folder: run for run in report.trained}
        self.drawn = {drawing.name: drawing for drawing in drawings}
        self.numbers: dict[_Place, str] = {}
        self.figures: dict[_Place, list[str]] = {}
        for experiment in experiments(report.verdicts, report.trained):
            self._show((experiment.number, experiment.family, experiment.variant), figure_name(experiment))
        for curves, ending in zip(report.curves, suffixes(report.curves), strict=True):
            place = ("I3", curves.group.family, curves.group.site)
            self._show(place, slug("accuracy", ending), slug("kept-relevance", ending))
            self.numbers.setdefault(place, numbers_anchor(ending))
        for family in {run.result.family for run in report.trained}:
            self._show(("I4", family, ""), slug("attention", family))

    def cell(self, row: Row, cell: Cell) -> dict[str, Any]:
        verdict = cell.judged
        names = dict.fromkeys(name.partition("/")[0] for name in verdict.evidence)
        settings: dict[str, list[Trained]] = {}
        for run in (self.runs[name] for name in names if name in self.runs):
            settings.setdefault(run.result.setting, []).append(run)
        return {
            **_verdict(cell),
            "depth": verdict.depth,
            "images": None if verdict.images is None else counted(verdict.images, "test image"),
            "why": _written(verdict.why),
            "todo": verdict.todo,
            "figures": [
                {"name": name, "title": self.drawn[name].title.partition(":")[0]}
                for name in self.figures.get(_place(row), ())
            ],
            "numbers": self.numbers.get(_place(row)),
            "count": counted(len(names), "run"),
            "settings": [
                {
                    "anchor": setting_anchor(found[0]),
                    "text": f"{found[0].result.name}, {describe(found[0])}",
                    "seeds": ", ".join(str(run.result.seed) for run in found),
                }
                for found in settings.values()
            ],
            "commands": self.commands.of(verdict.evidence),
        }

    def _show(self, place: _Place, *names: str) -> None:
        self.figures.setdefault(place, []).extend(name for name in names if name in self.drawn)


def _place(row: Row) -> _Place:
    first = next(cell.judged for cell in row.cells if cell)
    number = row.claim.experiment
    return number, row.family, (first.site or "") if number == "I3" else variant_of(first)


def _label(row: Row, *first: str) -> str:
    """What the row is of: images, site, and what else tells it from the claim's others."""
    site = f"site {row.where}" if row.where else ""
    parts = (*first, row.data, site, *(part for part in row.beside if part != row.where))
    return ", ".join(dict.fromkeys(filter(None, parts)))


def _written(text: str) -> str:
    """As it would be written by hand."""
    for plain, sign in (("->", "→"), (">=", "≥"), ("Omega", "Ω")):
        text = text.replace(plain, sign)
    return pretty(text)
