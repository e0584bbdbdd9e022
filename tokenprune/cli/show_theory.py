"""Results of the theory laboratory on standard output."""

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from tokenprune import claims, complexity
from tokenprune.cli import show
from tokenprune.experiments import CLAIMS
from tokenprune.runs import (
    AttentionResult,
    PhaseResult,
    SparsifyResult,
    SpatialResult,
    TheoryFolder,
    TheoryResult,
    TimeResult,
)
from tokenprune.statistics import mean_interval

_AXES = {"alpha": "alpha_*^-2", "noise": "tau", "start": "sigma", "confusion": "alpha_#"}


def result(folder: TheoryFolder, *, as_json: bool) -> None:
    """Tables of a result, and the verdicts of its claims."""
    found = folder.theory_result()
    verdicts = claims.judge(claims.laboratory_studies([(folder.name, found)]), CLAIMS)
    if as_json:
        show.json(
            {
                "run": folder.name,
                "path": str(folder.path),
                **found.model_dump(mode="json"),
                "verdicts": [verdict.model_dump(mode="json") for verdict in verdicts],
            }
        )
        return
    _TABLES[type(found)](found)
    if lost := _diverged(found):
        print(f"{lost} of {found.models:,} models diverged and count as failures; a smaller train.step_size may help")
    print()
    for verdict in verdicts:
        variant = f" ({verdict.variant})" if verdict.variant else ""
        print(f"{verdict.experiment} {verdict.claim}{variant}: {verdict.verdict}. {verdict.why}")
    show.fields({"run": folder.path, "trained": f"{found.models:,} models in {found.seconds:.1f} s on {found.device}"})


def _phase(found: PhaseResult) -> None:
    successes, names = found.successes(), [f"{value:g}" for value in found.values]
    fit = complexity.columns(found.values, found.samples, successes, found.trials)
    rows = [
        [f"{count:,}", *(str(column[row]) for column in successes)]
        for row, count in reversed(list(enumerate(found.samples)))
    ]
    below = [
        bound or (show.DASH if middle is None else f"{middle:.3g}")
        for middle, bound in zip(fit.n50, fit.bound, strict=True)
    ]
    title = f"successes of {found.trials} ({found.kind}): training samples down, {_AXES[found.axis]} across"
    _table(["N", *names], [*rows, ["N50", *below]], numbers=["N", *names], title=title)


def _diverged(found: TheoryResult) -> int:
    """Number of models whose loss is not finite at the end."""
    if isinstance(found, PhaseResult):
        return sum(map(sum, found.diverged()))
    if isinstance(found, AttentionResult):
        return sum(curve[-1] is None for curve in found.loss)
    if isinstance(found, SparsifyResult):
        # Where no token is removed, all methods have the same models.
        cells = {cell for table in (*found.loss.values(), *found.complexity.values()) for cell in table}
        return sum(loss is None for cell in cells for loss in cell)
    if isinstance(found, SpatialResult):
        return sum(curve[-1] is None for curve in found.loss)
    return found.diverged or 0 if isinstance(found, TimeResult) else 0


def _attention(found: AttentionResult) -> None:
    names = ["iteration", "attention", "95 %", "test loss", "|W_Q mu|", "others", "|W_K mu|", "others "]
    step = max(1, (len(found.iterations) - 1) // 10)
    curves = (found.loss, found.query_norm, found.query_norm_other, found.key_norm, found.key_norm_other)
    rows = [
        [
            str(found.iterations[at]),
            *_interval(found.attention, at),
            *(_interval(curve, at)[0] for curve in curves),
        ]
        for at in range(0, len(found.iterations), step)
    ]
    _table(names, rows, numbers=names, title="attention on label-relevant tokens, mean over trials")


def _sparsify(found: SparsifyResult) -> None:
    names = ["removed", *found.loss]
    rows = [
        [str(removed), *(_mean(found.loss[method][row]) for method in found.loss)]
        for row, removed in enumerate(found.removed)
    ]
    _table(
        names, rows, numbers=names, title=f"test loss, {found.tokens} tokens, {found.curve_samples} training samples"
    )
    print()
    names = ["N", *found.complexity]
    rows = [
        [f"{count:,}", *(str(_successes(found.complexity[name][row], found.success)) for name in found.complexity)]
        for row, count in enumerate(found.samples)
    ]
    title = f"successes of {len(found.complexity['none'][0])}, {found.complexity_removed} tokens removed"
    _table(names, rows, numbers=names, title=title)


def _time(found: TimeResult) -> None:
    names = ["alpha_*", *(f"eta {size:g}" for size in found.step_sizes)]
    rows = [
        [f"{value:g}", *(_median(by_size[column]) for by_size in found.iterations)]
        for column, value in enumerate(found.values)
    ]
    title = f"iterations to test loss below {found.success:g}, median over trials; given up after {found.limit:,}"
    _table(names, rows, numbers=names, title=title)


def _spatial(found: SpatialResult) -> None:
    names = ["iteration", "overlap", "95 %", "exact", "test loss", "accuracy"]
    step = max(1, (len(found.iterations) - 1) // 10)
    rows = [
        [
            str(found.iterations[at]),
            *_interval(found.overlap, at),
            *(_interval(curve, at)[0] for curve in (found.exact, found.loss, found.accuracy)),
        ]
        for at in range(0, len(found.iterations), step)
    ]
    title = f"patch association, mean over trials; overlap by chance {found.chance:.3f}"
    _table(names, rows, numbers=names, title=title)
    print()
    names = ["overlap", "exact", "test loss", "accuracy"]
    tables = (found.constructed_overlap, found.constructed_exact, found.constructed_loss, found.constructed_accuracy)
    rows = [[kind, *(_mean(table[kind], ".3f") for table in tables)] for kind in found.constructed_overlap]
    _table(["attention set by hand", *names], rows, numbers=names)
    print()
    arms = list(found.target_accuracy)
    rows = [
        [f"{count:,}", *(_mean(found.target_accuracy[arm][row], ".3f") for arm in arms)]
        for row, count in enumerate(found.samples)
    ]
    _table(["N", *arms], rows, numbers=["N", *arms], title="accuracy on the target task")


_TABLES: dict[type[TheoryResult], Callable[[Any], None]] = {
    PhaseResult: _phase,
    AttentionResult: _attention,
    SparsifyResult: _sparsify,
    TimeResult: _time,
    SpatialResult: _spatial,
}


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str], title: str = "") -> None:
    """The title is a line of its own, since the table may be narrower."""
    if title:
        print(title)
    show.rows(names, rows, numbers=numbers)


def _successes(cell: Sequence[float | None], success: float) -> int:
    return sum(loss is not None and loss < success for loss in cell)


def _mean(cell: Sequence[float | None], form: str = ".4f") -> str:
    values = [value for value in cell if value is not None]
    return f"{mean_interval(values)[0]:{form}}" if values else show.DASH


def _median(cell: Sequence[int | None]) -> str:
    """As the report has it: at least 1, and none where half of the trials or more were given up."""
    middle = median(math.inf if count is None else max(count, 1) for count in cell)
    lost = cell.count(None)
    return (f"{middle:.4g}" if math.isfinite(middle) else show.DASH) + (f" ({lost} given up)" if lost else "")


def _interval(curves: Sequence[Sequence[float | None]], at: int) -> tuple[str, str]:
    values = [curve[at] for curve in curves]
    known = [value for value in values if value is not None]
    if not known:
        return show.DASH, show.DASH
    mean, low, high = mean_interval(known)
    return f"{mean:.3f}", show.DASH if low is None else f"{low:.3f}{show.DASH}{high:.3f}"
