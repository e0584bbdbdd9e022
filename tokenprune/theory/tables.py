"""Tables of a result in a terminal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tokenprune.statistics import mean_interval
from tokenprune.theory.result import Numbers


@dataclass(frozen=True)
class Table:
    """words: the first column is no number. None: a number that is missing."""

    title: str
    names: Sequence[str]
    rows: Sequence[Sequence[str | None]]
    words: bool = False


def over_iterations(title: str, iterations: Sequence[int], curves: Mapping[str, Sequence[Numbers]]) -> Table:
    """Means over trials at about ten iterations. curves: by name, of each trial; the first gets its 95 % interval."""
    (first, most), *others = curves.items()
    step = max(1, (len(iterations) - 1) // 10)
    rows = [
        [
            str(iterations[at]),
            *_interval([curve[at] for curve in most]),
            *(mean([curve[at] for curve in table], ".3f") for _, table in others),
        ]
        for at in range(0, len(iterations), step)
    ]
    return Table(title, ["iteration", first, "95 %", *(name for name, _ in others)], rows)


def mean(cell: Sequence[float | None], form: str = ".4f") -> str | None:
    """Mean of the numbers that are there, None where there are none."""
    values = [value for value in cell if value is not None]
    return f"{mean_interval(values)[0]:{form}}" if values else None


def middle(cell: Sequence[float | None]) -> str | None:
    """Median count, at least 1, as the report has it; none where half of the trials or more were given up."""
    found = median(math.inf if count is None else max(count, 1) for count in cell)
    lost = sum(count is None for count in cell)
    return (f"{found:.4g}" if math.isfinite(found) else "–") + (f" ({lost} given up)" if lost else "")


def below(cell: Sequence[float | None], success: float) -> str:
    """Number of trials whose loss is below `success`."""
    return str(sum(loss is not None and loss < success for loss in cell))


def _interval(cell: Sequence[float | None]) -> list[str | None]:
    values = [value for value in cell if value is not None]
    if not values:
        return [None, None]
    center, low, high = mean_interval(values)
    return [f"{center:.3f}", None if low is None else f"{low:.3f}–{high:.3f}"]
