"""Verdicts as a matrix: claims down, depths across, a matrix per family of runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenprune.claims import CLAIMS, Verdict
from tokenprune.report.numbers import DASH, plain, signed, signed_bounds
from tokenprune.report.series import Interval


@dataclass(frozen=True)
class Cell:
    """One verdict in words. `where` is the site, with what else makes the variant; None if the claim has none."""

    verdict: str  # supported, refuted or undecided
    where: str | None
    effect: str  # in points
    interval: str
    evidence: str
    seeds: int
    why: str
    todo: str | None


@dataclass(frozen=True)
class Row:
    """A claim: at each depth of the block the cells of its sites and variants."""

    id: str
    statement: str
    source: str
    test: str
    cells: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Block:
    """The verdicts on one family of runs.

    several: there is more than one site, so that each verdict has to name its own. left_out: comparisons that
    are not shown at sites where one method of them was measured without the other.
    """

    title: str
    depths: tuple[int, ...]
    rows: tuple[Row, ...]
    several: bool
    left_out: tuple[str, ...]

    @property
    def cells(self) -> list[tuple[str, Cell]]:
        """Every cell with the words that name it: claim, depth, site."""
        return [
            (f"{row.id}, depth {depth}" + (f", site {cell.where}" if cell.where else ""), cell)
            for row in self.rows
            for depth, cells in zip(self.depths, row.cells, strict=True)
            for cell in cells
        ]


def blocks(verdicts: Sequence[Verdict]) -> list[Block]:
    """A block per family, claims and depths in order."""
    return [_block([v for v in verdicts if v.family == family]) for family in sorted({v.family for v in verdicts})]


def _block(verdicts: Sequence[Verdict]) -> Block:
    claims = {claim.id: claim for claim in CLAIMS}
    depths = sorted({v.depth for v in verdicts})
    rows = []
    left_out = []
    for name in dict.fromkeys(v.claim for v in verdicts):
        found = [v for v in verdicts if v.claim == name]
        shown = {depth: _shown([v for v in found if v.depth == depth]) for depth in depths}
        if without := sorted({where for v in found if v not in shown[v.depth] and (where := _where(v))}):
            left_out.append(f"{name} at {' and '.join(without)}")
        claim = claims.get(name)
        rows.append(
            Row(
                name,
                found[0].statement,
                claim.source if claim else "",
                claim.test if claim else "",
                tuple(tuple(map(_cell, shown[depth])) for depth in depths),
            )
        )
    recipes = " + ".join(dict.fromkeys(name for _, name in sorted({(v.depth, v.recipe) for v in verdicts})))
    sites = {where for v in verdicts if (where := _where(v))}
    at = f", site {sites.copy().pop()}" if len(sites) == 1 else ""
    title = f"{recipes}, family {verdicts[0].family}{at}"
    return Block(title, tuple(depths), tuple(rows), len(sites) > 1, tuple(left_out))


def _shown(verdicts: list[Verdict]) -> list[Verdict]:
    """Of one claim at one depth: those compared; the first where none was, whose commands say how."""
    compared = [v for v in verdicts if v.effect is not None or v.evidence or not v.site]
    return compared or verdicts[:1]


def _where(verdict: Verdict) -> str | None:
    return verdict.variant.removeprefix("site ") if verdict.variant else verdict.site


def _cell(verdict: Verdict) -> Cell:
    effect = interval = DASH
    if verdict.effect is not None:
        effect, interval = signed(verdict.effect), signed_bounds(Interval(verdict.effect, verdict.low, verdict.high))
    evidence = [f"{verdict.seeds} seed" + ("" if verdict.seeds == 1 else "s")]
    if verdict.images is not None:
        evidence.append(f"{verdict.images:,} images")
    if verdict.p_adjusted is not None:
        evidence.append(f"p {plain(verdict.p_adjusted, '.2g') if verdict.p_adjusted >= 1e-4 else '<0.0001'}")
    return Cell(
        verdict.verdict,
        _where(verdict),
        effect,
        interval,
        ", ".join(evidence),
        verdict.seeds,
        verdict.why,
        verdict.todo,
    )
