"""Verdicts as one matrix: claims down, for each kind of images and each site; depths across, then the trend.

Of the laboratory: claims and their variants down, for each setting.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tokenprune.claims import Claim, Study, Trend, Verdict, row_of
from tokenprune.claims.judge import LEVEL, side, within
from tokenprune.claims.trend import Overall
from tokenprune.claims.units import EXPONENT, in_points
from tokenprune.drawing.numbers import DASH, Interval, effect, effect_bounds, p_value
from tokenprune.drawing.style import slug
from tokenprune.experiments import CLAIMS

#: A sign for each verdict, so that colour alone distinguishes none.
SIGNS = {"supported": "✓", "refuted": "✗", "undecided": "?"}

#: Instead of the sign of undecided, where the cell's own interval is clear of the threshold: Holm's adjustment is not.
NEAR = "~"

#: A sign for each direction of a trend.
ARROWS = {"rises": "↗", "falls": "↘"}

_CLAIMS = {claim.id: claim for claim in CLAIMS}
_ORDER = {claim.id: place for place, claim in enumerate(CLAIMS)}


@dataclass(frozen=True)
class MatrixCell:
    """One verdict. anchor: where the page says more of it."""

    judged: Verdict
    anchor: str

    @property
    def near(self) -> bool:
        """Whether it is undecided though its own interval, unadjusted, is clear of the claim's threshold."""
        judged = self.judged
        if judged.verdict != "undecided" or judged.p_adjusted is None or judged.low is None or judged.high is None:
            return False
        return side(judged.low, judged.high, judged.support) != "undecided"

    @property
    def sign(self) -> str:
        return NEAR if self.near else SIGNS[self.judged.verdict]

    @property
    def p(self) -> str | None:
        """Holm-adjusted."""
        return None if self.judged.p_adjusted is None else p_value(self.judged.p_adjusted, self.judged.p_adjusted)

    @property
    def effect(self) -> str:
        """I1's is an exponent k among points."""
        k = "k " if self.judged.unit == EXPONENT and self.judged.effect is not None else ""
        return k + effect(self.judged.effect, self.judged.unit)

    @property
    def interval(self) -> str:
        return _interval(self.judged.effect, self.judged.low, self.judged.high, self.judged.unit)


@dataclass(frozen=True)
class Row:
    """A claim on one family of runs, at one site and variant of its methods: a cell per depth, None where none.

    where: the site, with what else makes the variant. beside: what distinguishes this row from the claim's
    others; the images or the site are a part of it where they differ.
    """

    claim: Claim
    data: str
    where: str | None
    recipe: str
    family: str
    beside: tuple[str, ...]
    cells: tuple[MatrixCell | None, ...]
    trend: Trend | None

    @property
    def slope(self) -> str:
        k = "k " if self.claim.unit == EXPONENT and self.trend and self.trend.slope is not None else ""
        return k + effect(self.trend.slope if self.trend else None, self.claim.unit)

    @property
    def slope_interval(self) -> str:
        return _interval(self.trend.slope, self.trend.low, self.trend.high, self.claim.unit) if self.trend else DASH

    @property
    def overall(self) -> Overall | None:
        """The mean over depths."""
        return self.trend.overall if self.trend else None

    @property
    def mean(self) -> str:
        k = "k " if self.claim.unit == EXPONENT and self.overall else ""
        return k + effect(self.overall.effect if self.overall else None, self.claim.unit)

    @property
    def mean_interval(self) -> str:
        found = self.overall
        return _interval(found.effect, found.low, found.high, self.claim.unit) if found else DASH

    @property
    def mean_sign(self) -> str:
        found = self.overall
        if found is None:
            return ""
        near = found.verdict == "undecided" and side(found.low, found.high, found.support) != "undecided"
        return NEAR if near else SIGNS[found.verdict]

    @property
    def rule(self) -> str:
        """What counts as support, where that is no effect above 0; with the unit of an effect that is not in points."""
        first = next(cell.judged for cell in self.cells if cell)
        if self.claim.laboratory:
            return f"{first.unit}; supported if {within(first.support, first.unit)}"
        if not (in_points(first.unit) or first.unit == EXPONENT):
            return f"supported if {first.unit} {within(first.support, first.unit)}"
        if first.support == (0.0, None):
            return ""
        bounds = sorted(cell.judged.support for cell in self.cells if cell)  # a margin may be relative
        least, most = within(bounds[0], first.unit).removesuffix(" points"), within(bounds[-1], first.unit)
        if bounds[0] == bounds[-1]:
            return f"supported if {most}"
        return f"supported if {least} to {most.removeprefix('above ')}"

    @property
    def direction(self) -> str:
        """Where the trend goes, if its Holm-adjusted p decides."""
        if self.trend is None or self.trend.slope is None or self.trend.p_adjusted is None:
            return ""
        if self.trend.p_adjusted >= LEVEL:
            return "no significant trend"
        return "rises" if self.trend.slope > 0 else "falls"


@dataclass(frozen=True)
class Matrix:
    """left_out: comparisons that were not made although others of their claim were. silent: claims without any run."""

    depths: tuple[int, ...]
    rows: tuple[Row, ...]
    left_out: tuple[str, ...]
    silent: tuple[str, ...]

    @property
    def experiments(self) -> list[tuple[str, list[tuple[Claim, list[Row]]]]]:
        """Experiments in order, the claims of each, the rows of each."""
        found: dict[str, dict[str, list[Row]]] = {}
        for row in self.rows:
            found.setdefault(row.claim.experiment, {}).setdefault(row.claim.id, []).append(row)
        return [(name, [(rows[0].claim, rows) for rows in claims.values()]) for name, claims in found.items()]

    def judged(self, verdict: str) -> list[tuple[Row, MatrixCell]]:
        return [(row, cell) for row in self.rows for cell in row.cells if cell and cell.judged.verdict == verdict]


def matrix(verdicts: Sequence[Verdict], trends: Iterable[Trend], studies: Sequence[Study]) -> Matrix:
    """All verdicts but those that compare nothing where others of their claim do. studies: those judged, in order."""
    shown, left_out = _compared(verdicts)
    by_setting = {study.setting: study for study in studies}
    depths = sorted({verdict.depth for verdict in shown})
    known = {row_of(trend): trend for trend in trends}
    lines = _lines(shown, by_setting)
    anchors: dict[str, int] = {}
    rows = []
    for claim in dict.fromkeys(verdict.claim for line in lines for verdict in line.values()):
        alike = [line for line in lines if next(iter(line.values())).claim == claim]
        firsts = [next((v for v in line.values() if v.effect is not None), next(iter(line.values()))) for line in alike]
        for line, first, beside in zip(alike, firsts, _apart(firsts, by_setting), strict=True):
            rows.append(
                Row(
                    _CLAIMS[claim],
                    _label(first, by_setting),
                    _where(first),
                    " + ".join(dict.fromkeys(line[depth].recipe for depth in sorted(line))),
                    first.family,
                    beside,
                    tuple(_cell(line[depth], anchors) if depth in line else None for depth in depths),
                    known.get(row_of(first)),
                )
            )
    said = {verdict.claim for verdict in verdicts}
    return Matrix(
        tuple(depths),
        tuple(_once(rows)),
        tuple(left_out),
        tuple(claim.id for claim in CLAIMS if claim.id not in said and not claim.laboratory),
    )


def _once(rows: Sequence[Row]) -> list[Row]:
    """Rows that are the same test as one that names both sites: what an oracle, or chance, removes at the input or
    before block 0 leaves the same tokens, and so the same effects."""
    found: list[Row] = []
    for row in rows:
        values = [cell and cell.judged.values for cell in row.cells]
        twin = next((each for each in found if _twins(each, row) and any(values)), None)
        if twin is None or values != [cell and cell.judged.values for cell in twin.cells]:
            found.append(row)
            continue
        both = f"{twin.where} = {row.where}"
        beside = tuple(both if part == twin.where else part for part in twin.beside)
        found[found.index(twin)] = replace(twin, where=both, beside=beside)
    return found


def _twins(first: Row, second: Row) -> bool:
    same = (first.claim.id, first.family) == (second.claim.id, second.family)
    cells = [cell for row in (first, second) for cell in row.cells if cell]
    blind = all({"oracle"} <= set(cell.judged.methods) <= {"oracle", "random"} for cell in cells)
    return same and blind and {(row.where or "").partition(",")[0] for row in (first, second)} == {"input", "before:0"}


def _compared(verdicts: Sequence[Verdict]) -> tuple[list[Verdict], list[str]]:
    """(those to show, words for the others): a claim without any comparison keeps one verdict per depth.

    Where something of a claim was compared on a family, its empty sites go; where nothing of a family was and
    something of another's, the family goes.
    """
    shown: list[Verdict] = []
    aside: dict[tuple[str, str], set[str]] = {}
    for claim in dict.fromkeys(verdict.claim for verdict in verdicts):
        found = [verdict for verdict in verdicts if verdict.claim == claim]
        measured = {v.family for v in found if v.effect is not None} or {v.family for v in found if v.evidence}
        for verdict in found:
            alike = [v for v in found if (v.family, v.depth) == (verdict.family, verdict.depth)]
            best = [v for v in alike if v.effect is not None or v.evidence or not v.site] or alike[:1]
            setting = verdict.of == "trials" or verdict.family in measured or not measured
            if any(v is verdict for v in best) and setting:
                shown.append(verdict)
            else:
                place = _where(verdict) or f"{verdict.title} images"
                aside.setdefault((claim, verdict.why.rstrip(".")), set()).add(place)
    places: dict[tuple[str, str], list[str]] = {}
    for (claim, why), names in aside.items():
        places.setdefault((" and ".join(sorted(names)), why), []).append(claim)
    return shown, [f"{', '.join(claims)} at {place} ({why})" for (place, why), claims in places.items()]


def _lines(verdicts: Sequence[Verdict], studies: Mapping[str, Study]) -> list[dict[int, Verdict]]:
    """Verdicts of one row each, by depth. What was measured nowhere joins a row of its family that lacks its depth."""
    order = {setting: place for place, (setting, study) in enumerate(studies.items()) if study.laboratory}
    lines: dict[tuple[int, str, int, str, int, str, str], list[dict[int, Verdict]]] = {}
    for verdict in sorted(verdicts, key=lambda v: v.effect is None):  # what a row is of, before what only joins one
        setting, images = verdict.setting, _size(verdict, studies)[0]
        variant, site = (verdict.variant or "", "") if setting in order else ("", _site_order(verdict))
        place = (_ORDER[verdict.claim], variant, order.get(setting, 0))
        key = (*place, verdict.title, -images, verdict.family, site)
        empty = verdict.effect is None and verdict.site is None
        near = [found for other in sorted(lines) if other[:6] == key[:6] for found in lines[other]] if empty else []
        free = [line for line in [*lines.get(key, []), *near] if verdict.depth not in line]
        if free:
            free[0][verdict.depth] = verdict
        else:
            lines.setdefault(key, []).append({verdict.depth: verdict})
    return [line for key in sorted(lines) for line in lines[key]]


def _size(verdict: Verdict, studies: Mapping[str, Study]) -> tuple[int, int]:
    """Training images and epochs; zeros where they are not known."""
    return studies[verdict.setting].size if verdict.setting in studies else (0, 0)


def _label(verdict: Verdict, studies: Mapping[str, Study]) -> str:
    return studies[verdict.setting].label if verdict.setting in studies else verdict.title


def _site_order(verdict: Verdict) -> str:
    """Sites from the input to the last block, then their variants."""
    where = _where(verdict) or ""
    return " " + where if where.startswith("input") else re.sub(r"\d+", lambda digits: digits[0].zfill(3), where)


def _where(verdict: Verdict) -> str | None:
    return verdict.variant.removeprefix("site ") if verdict.variant else verdict.site


def _apart(rows: Sequence[Verdict], studies: Mapping[str, Study]) -> list[tuple[str, ...]]:
    """What distinguishes each of a claim's rows: images or setting, site or variant, and as much more as it takes."""
    sized = [_size(verdict, studies) for verdict in rows]
    kinds = [
        [_label(verdict, studies) for verdict in rows],
        [_where(verdict) or "" for verdict in rows],
        [f"{images:,} images" for images, _ in sized],
        [f"{epochs} epochs" for _, epochs in sized],
        [verdict.recipe for verdict in rows],
        [verdict.family for verdict in rows],
    ]
    used: list[list[str]] = []
    for place, kind in enumerate(kinds):
        unique = len(set(zip(*used, strict=True))) == len(rows) if used else len(rows) == 1
        if len(set(kind)) > 1 and (place < 2 or not unique):
            used.append(kind)
    return [tuple(filter(None, parts)) for parts in zip(*used, strict=True)] if used else [() for _ in rows]


def _cell(verdict: Verdict, taken: dict[str, int]) -> MatrixCell:
    """With an id of the page, of its own."""
    name = slug("cell", verdict.claim, verdict.family, _where(verdict) or "", f"depth-{verdict.depth}")
    taken[name] = taken.get(name, 0) + 1
    return MatrixCell(verdict, name if taken[name] == 1 else f"{name}-again-{taken[name]}")


def _interval(value: float | None, low: float | None, high: float | None, unit: str) -> str:
    return DASH if value is None else effect_bounds(Interval(value, low, high), unit)
