"""The matrix of claims as a figure: what the report says, on one picture."""

from typing import TYPE_CHECKING

from tokenprune.drawing.numbers import DASH
from tokenprune.drawing.style import GRID, INK, MUTED, VERDICTS, Drawing, blank, render
from tokenprune.report.matrix import ARROWS, NEAR, SIGNS, Matrix, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches: number of the experiment, a depth, the trend; heights of a row, of what stands above, between experiments.
_NUMBER, _CELL, _TREND, _ROW, _HEAD, _GAP, _EDGE = 0.3, 0.98, 1.1, 0.335, 0.62, 0.09, 0.08
_LEGEND = 7.4  # inches
_SMALL = 7.4  # points


def matrix_figure(matrix: Matrix) -> Drawing:
    """Claims down, depths across: sign, effect and interval of each verdict. Call inside `style()`."""
    names = max((len(_name(row.claim.id, row)) for row in matrix.rows), default=0)
    beside = max((len(_beside(row)) for row in matrix.rows), default=0)
    left = _EDGE + _NUMBER + 0.073 * names + 0.059 * beside + 0.25
    trend = len(matrix.depths) > 1
    right = _CELL * len(matrix.depths) + (_CELL + _TREND if trend else 0) + _EDGE
    left = max(left, _LEGEND - right)
    width = left + right
    height = _HEAD + sum(_ROW * len(rows) for _, claims in matrix.experiments for _, rows in claims)
    height += _GAP * len(matrix.experiments) + _EDGE
    figure = blank(width, height)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    _heading(ax, matrix, left, trend)
    y = _HEAD
    for number, claims in matrix.experiments:
        ax.plot([_EDGE, width - _EDGE], [y + 0.03, y + 0.03], color=GRID, linewidth=0.8)
        y += _GAP
        ax.text(_EDGE, y + _ROW / 2, number, fontweight="bold", va="center")
        for place, (claim, rows) in enumerate(claims):
            if place:
                ax.plot([_EDGE + _NUMBER, width - _EDGE], [y, y], color=GRID, linewidth=0.4)
            ax.text(_EDGE + _NUMBER, y + _ROW / 2, _name(claim.id, rows[0]), va="center")
            for row in rows:
                ax.text(left - 0.1, y + _ROW / 2, _beside(row), fontsize=_SMALL, color=MUTED, ha="right", va="center")
                _row(ax, row, left, y, trend)
                y += _ROW
    svg, png = render(figure)
    return Drawing(
        "claims-matrix",
        "Claims by depth",
        "Each cell: the verdict's sign, the effect (points, or the exponent k where that is said) as the mean over "
        "training seeds, and its 95 % interval below. Verdicts go by Holm-adjusted p at 5 % over all findings of a "
        "claim and need three seeds; the threshold is 0 if none is named. All depths: the mean over "
        "depths, its p adjusted over the claim's such means alone. Trend: change of the effect per doubling of "
        "depth (I8), with an arrow where its Holm-adjusted p is below 5 %.",
        _say(matrix),
        svg,
        png,
    )


def _heading(ax: "Axes", matrix: Matrix, left: float, trend: bool) -> None:
    x = _EDGE
    for word, sign in SIGNS.items():
        ax.text(x, 0.17, f"{sign} {word}", color=VERDICTS[word][0], fontweight="bold", va="center")
        x += 0.4 + 0.083 * len(word)
    ax.text(x, 0.17, f"{NEAR} not after Holm", color=MUTED, fontsize=8, va="center")
    x += 1.05
    ax.text(x, 0.17, "effect in points, 95 % interval below", color=MUTED, fontsize=8, va="center")
    for column, depth in enumerate(matrix.depths):
        ax.text(left + (column + 0.5) * _CELL, 0.47, f"depth {depth}", fontweight="bold", ha="center", va="center")
    if trend:
        x = left + (len(matrix.depths) + 0.5) * _CELL
        ax.text(x, 0.47, "all depths", fontweight="bold", ha="center", va="center")
        x += (_CELL + _TREND) / 2
        ax.text(x, 0.4, "trend", fontweight="bold", ha="center", va="center")
        ax.text(x, 0.53, "per doubling of depth", color=MUTED, fontsize=_SMALL, ha="center", va="center")


def _row(ax: "Axes", row: Row, left: float, y: float, trend: bool) -> None:
    for column, cell in enumerate(row.cells):
        x = left + column * _CELL
        if cell is None:
            ax.text(x + _CELL / 2, y + _ROW / 2, DASH, color=MUTED, ha="center", va="center")
        else:
            below = cell.interval if cell.judged.low is not None else "1 seed"
            effect = cell.effect if cell.judged.effect is not None else None
            _cell(ax, x, y, cell.judged.verdict, cell.sign, effect, below)
    after = left + len(row.cells) * _CELL
    if trend and row.overall:
        _cell(ax, after, y, row.overall.verdict, row.mean_sign, row.mean, row.mean_interval)
    if trend and row.slope != DASH:
        x = after + _CELL + _TREND / 2
        arrow = ARROWS.get(row.direction)
        text = f"{arrow} {row.slope}" if arrow else row.slope
        _two_lines(ax, x, y, text, row.slope_interval, INK, "bold" if arrow else "normal")


def _cell(ax: "Axes", x: float, y: float, verdict: str, sign: str, effect: str | None, below: str) -> None:
    from matplotlib.patches import Rectangle

    ink, ground = VERDICTS[verdict]
    ax.add_patch(Rectangle((x + 0.02, y + 0.015), _CELL - 0.04, _ROW - 0.03, facecolor=ground, linewidth=0))
    if effect is None:
        _two_lines(ax, x + _CELL / 2, y, sign, "not measured", ink, "bold")
    else:
        _two_lines(ax, x + _CELL / 2, y, f"{sign} {effect}", below, ink, "bold")


def _two_lines(ax: "Axes", x: float, y: float, text: str, below: str, color: str, weight: str) -> None:
    ax.text(x, y + 0.115, text, color=color, fontsize=8.5, fontweight=weight, ha="center", va="center")
    ax.text(x, y + 0.245, below, color=INK, fontsize=_SMALL, ha="center", va="center")


def _name(name: str, row: Row) -> str:
    """With the threshold, where that is not 0."""
    return name + (f" ({row.rule.removeprefix('supported if ')})" if row.rule else "")


def _beside(row: Row) -> str:
    text = ", ".join(row.beside)
    return text if len(text) <= 34 else text[:33] + "…"


def _say(matrix: Matrix) -> str:
    lines = []
    for row in matrix.rows:
        cells = [
            f"depth {depth} {cell.judged.verdict} {cell.effect}"
            for depth, cell in zip(matrix.depths, row.cells, strict=True)
            if cell
        ]
        name = f"{row.claim.experiment} {row.claim.id}" + (f" ({', '.join(row.beside)})" if row.beside else "")
        lines.append(f"{name}: {', '.join(cells)}.")
    return "Matrix of claims by depth. " + " ".join(lines)
