"""Verdicts as a matrix: claims down, depths across, a matrix per family of runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenprune.claims import CLAIMS, Verdict
from tokenprune.report.numbers import DASH, plain, signed, signed_bounds
from tokenprune.report.series import Interval


@dataclass(frozen=True)
class Cell:
    """One verdict in words. `where` is the site or variant, if the claim has one."""

    verdict: str  # supported, refuted or undecided
    where: str | None
    effect: str
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
    """The verdicts on one family of runs."""

    title: str
    depths: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def cells(self) -> list[tuple[str, Cell]]:
        """Every cell with the words that name it: claim, depth, site."""
        return [
            (f"{row.id}, depth {depth}" + (f", {cell.where}" if cell.where else ""), cell)
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
    for name in dict.fromkeys(v.claim for v in verdicts):
        found = [v for v in verdicts if v.claim == name]
        claim = claims.get(name)
        rows.append(
            Row(
                name,
                found[0].statement,
                claim.source if claim else "",
                claim.test if claim else "",
                tuple(tuple(_cell(v) for v in found if v.depth == depth) for depth in depths),
            )
        )
    recipes = " + ".join(dict.fromkeys(name for _, name in sorted({(v.depth, v.recipe) for v in verdicts})))
    return Block(f"{recipes}, family {verdicts[0].family}", tuple(depths), tuple(rows))


def _cell(verdict: Verdict) -> Cell:
    effect = DASH
    if verdict.effect is not None:
        between = signed_bounds(Interval(verdict.effect, verdict.low, verdict.high))
        effect = f"{signed(verdict.effect)} points" + (f" ({between})" if between != DASH else "")
    evidence = [f"{verdict.seeds} seed" + ("" if verdict.seeds == 1 else "s")]
    if verdict.images is not None:
        evidence.append(f"{verdict.images:,} images")
    if verdict.p_adjusted is not None:
        evidence.append(f"p {plain(verdict.p_adjusted, '.2g') if verdict.p_adjusted >= 1e-4 else '<0.0001'}")
    return Cell(
        verdict.verdict,
        verdict.variant or (f"site {verdict.site}" if verdict.site else None),
        effect,
        ", ".join(evidence),
        verdict.seeds,
        verdict.why,
        verdict.todo,
    )
