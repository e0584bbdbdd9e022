"""The laboratory's verdicts as a matrix: claims down, settings across."""

import itertools
from dataclasses import dataclass
from typing import Any

from tokenprune.claims import Verdict
from tokenprune.claims.judge import within
from tokenprune.experiments import CLAIMS
from tokenprune.report.numbers import p_value, plain
from tokenprune.report.theory.collect import Laboratory
from tokenprune.report.theory.settings import Case, rank
from tokenprune.report.theory.words import pretty, trials


@dataclass(frozen=True)
class Cell:
    """One verdict in words. where: its recipe, if the claim was tested under the setting with more than one.

    beside: what must be read with the effect.
    """

    verdict: str  # supported, refuted or undecided
    effect: str
    evidence: str
    where: str
    beside: str
    title: str
    why: str
    change: tuple[tuple[bool, str], ...]  # whether it is a command, and the text


@dataclass(frozen=True)
class Row:
    """A claim, or a variant of it: its cells under each setting. effect: of what, and what counts as support."""

    number: str
    id: str
    statement: str
    variant: str | None
    source: str
    test: str
    effect: str
    cells: tuple[tuple[Cell, ...], ...]

    @property
    def name(self) -> str:
        return f"{self.number} {self.id}" + (f", {self.variant}" if self.variant else "")


@dataclass(frozen=True)
class Matrix:
    """columns: names of the settings, the default first. unread: recipes whose results no claim reads."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    unread: tuple[str, ...]

    @property
    def note(self) -> str | None:
        """On what was measured beside the claims."""
        if not self.unread:
            return None
        return f"No claim reads {', '.join(self.unread)}: figures and numbers only."

    def told(self, verdict: str) -> list[tuple[str, Cell]]:
        """The cells of one verdict, with the words that name them."""
        return [
            (f"{row.name}; {column}" + (f", {cell.where}" if len(cells) > 1 else ""), cell)
            for row in self.rows
            for column, cells in zip(self.columns, row.cells, strict=True)
            for cell in cells
            if cell.verdict == verdict
        ]


def matrix(laboratory: Laboratory) -> Matrix:
    """Settings with fewer differences from the default first."""
    owner: dict[str, Case[Any]] = {folder: case for case in laboratory.cases for folder in case.setting.folders}
    settings = [owner[verdict.evidence[0]] for verdict in laboratory.verdicts]
    ranks = {case.label: rank(case.first.recipe) for case in reversed(settings)}
    columns = tuple(sorted(ranks, key=lambda label: (*ranks[label], label)))
    tests = {claim.id: claim.test for claim in CLAIMS}
    rows = []
    for claim, variant in dict.fromkeys((verdict.claim, verdict.variant) for verdict in laboratory.verdicts):
        found = [
            (case, verdict)
            for case, verdict in zip(settings, laboratory.verdicts, strict=True)
            if (verdict.claim, verdict.variant) == (claim, variant)
        ]
        first = found[0][1]
        rows.append(
            Row(
                first.experiment,
                claim,
                pretty(first.statement),
                variant,
                pretty(first.source),
                pretty(tests.get(claim, "")),
                pretty(f"{first.unit}; supported if {within(first.support, first.unit)}"),
                tuple(
                    tuple(_cell(case, verdict) for case, verdict in found if case.label == column) for column in columns
                ),
            )
        )
    read = {folder for verdict in laboratory.verdicts for folder in verdict.evidence}
    unread = dict.fromkeys(case.first.name for case in laboratory.cases if not read.intersection(case.setting.folders))
    return Matrix(columns, tuple(rows), tuple(unread))


def estimate(value: float | None, low: float | None, high: float | None) -> str:
    """1.28 (1.1 to 1.46)"""
    scale = max((abs(bound) for bound in (low, high) if bound is not None), default=0.0)
    shown = [0.0 if each is not None and abs(each) < 1e-9 * scale else each for each in (value, low, high)]
    first, *bounds = map(plain, shown)
    return first + (f" ({bounds[0]} to {bounds[1]})" if low is not None and high is not None else "")


def _cell(case: Case[Any], verdict: Verdict) -> Cell:
    evidence = trials(verdict.n)
    if verdict.p_adjusted is not None:
        evidence += f", p {p_value(verdict.p_adjusted, verdict.p_adjusted)}"
    return Cell(
        verdict.verdict,
        estimate(verdict.effect, verdict.low, verdict.high),
        evidence,
        case.first.name,
        pretty(verdict.beside or ""),
        pretty(verdict.title),
        pretty(verdict.why),
        tuple(
            (command, "\n".join(lines))
            for command, lines in itertools.groupby(
                (verdict.todo or "").splitlines(), lambda line: line.startswith("tokenprune ")
            )
        ),
    )
