"""I9: accuracy against latency, measured on whole forward passes at several batch sizes."""

from typing import Any

from tokenprune.claims.front import MeanTiming, Timed, TimedPoint
from tokenprune.drawing import plots
from tokenprune.drawing.numbers import Interval, percent
from tokenprune.drawing.style import INK, Drawing, render, slug
from tokenprune.drawing.table import Column, Table, thinned
from tokenprune.experiments.looks import method_looks

_FRONT = (INK, "", "-")
_UNPRUNED = (INK, "o", "")


def latency_table(found: Timed) -> Table:
    """A row a method and ratio; a terminal shows the front at each batch size, beside the unpruned model."""
    columns = [Column("method", look="word"), Column("keep", _keep), Column("n"), Column("accuracy, %", percent)]
    batches = _shown(found)
    for batch in batches:
        columns += [Column(f"batch {batch}, ms", _median, _p90), Column("x", "{:.2f}".format)]
    columns.append(Column("front at batch", _sizes))
    rows = []
    for point in found.points:
        cells: list[Any] = [point.name, point.keep, point.seeds, point.accuracy]
        for spread in (point.timings.get(batch) for batch in batches):
            cells += [spread, None if spread is None else spread.speedup]
        rows.append((*cells, [batch for batch in found.batches if point in found.fronts[batch]] or None))
    comparison = found.comparison
    return Table(
        f"Latency of methods at depth {comparison.study.depth}, {_where(found)}",
        f"Milliseconds a batch: the median of whole forward passes, below it the 90th percentile; {found.machine}",
        tuple(columns),
        tuple(rows),
        f"On {found.machine}. All models of a measurement took turns on the same test images, read and normalised "
        "before. x: times as fast as the unpruned model, median over turns of the same measurement; with several "
        "measurements (runs that differ by their seed alone, or one run again) means, and in brackets their smallest "
        "and largest median. Front: no other point is as fast and as accurate, and better in one of both; without the "
        "oracle, and by means as they are, so that small differences may be chance. n: seeds of the accuracy.",
        family=comparison.study.family,
        where=comparison.condition.site,
        anchor=f"numbers-{_name(found)}",
        brief=_brief(found),
    )


def _brief(found: Timed) -> Table:
    columns = (
        Column("batch"),
        Column("method", look="word"),
        Column("keep", _keep),
        Column("accuracy, %", percent),
        Column("median, ms", _number),
        Column("p90, ms", _number),
        Column("speed-up", "{:.2f}x".format),
    )
    rows = []
    for batch in _shown(found):
        front = found.fronts[batch]
        for point in (*front, *(each for each in found.points[:1] if each not in front)):
            spread = point.timings[batch]
            rows.append((batch, point.name, point.keep, point.accuracy, spread.median, spread.p90, spread.speedup))
    return Table(
        f"Accuracy against latency at depth {found.comparison.study.depth}, {found.comparison.condition}",
        f"The front on {found.machine}",
        columns,
        tuple(rows),
        parts=True,
        every=True,
    )


def latency_rows(found: Timed) -> list[dict[str, Any]]:
    """A row a point and batch size, for programs. Times in milliseconds a batch."""
    study, condition = found.comparison.study, found.comparison.condition
    return [
        {
            "family": study.family,
            "setting": study.setting,
            "depth": study.depth,
            "site": condition.site,
            "images": condition.images,
            **found.machine._asdict(),
            "method": point.method,
            "name": point.name,
            "keep": point.keep,
            "accuracy": point.accuracy,
            "seeds": point.seeds,
            "batch": batch,
            "median_ms": spread.median,
            "p90_ms": spread.p90,
            "speedup": spread.speedup,
            "least_median_ms": spread.least,
            "most_median_ms": spread.most,
            "measurements": spread.n,
            "front": point in found.fronts[batch],
        }
        for point in found.points
        for batch, spread in point.timings.items()
    ]


def latency_figure(found: Timed) -> Drawing:
    """Accuracy over median latency, a panel a batch size, with the front as steps."""
    methods = {point.name: point.method for point in found.points if not point.whole}
    batches = _shown(found)
    looks = method_looks(methods)
    entries = [(*looks[name], name) for name in methods]
    entries = [(*_UNPRUNED, "unpruned"), *entries, (*_FRONT, "front")]
    figure, (axes,) = plots.panels([f"batch {batch}" for batch in batches], entries, height=2.9)
    for ax, batch in zip(axes, batches, strict=True):
        known = [point for point in found.points if batch in point.timings]
        ax.set_xscale("log")
        for name in methods:
            _line(ax, [point for point in known if point.name == name and not point.whole], batch, looks[name])
        _line(ax, known[:1], batch, _UNPRUNED)
        ax.axvline(known[0].timings[batch].median, color=INK, linestyle=":", linewidth=0.9, zorder=1.5)
        front = found.fronts[batch]
        xs, ys = [point.timings[batch].median for point in front], [100 * point.accuracy for point in front]
        right = max(point.timings[batch].median for point in known)
        ax.step([*xs, right], [*ys, ys[-1]], where="post", color=INK, linewidth=1.1, zorder=2.8)
        plots.log_ticks(ax.xaxis)
    plots.label_outer(axes, "median latency, ms a batch", "test accuracy, %")
    svg, png = render(figure)
    comparison = found.comparison
    said = [
        f"Batch {batch}: {', '.join(f'{point.name} at {_keep(point.keep)}' for point in found.fronts[batch])}."
        for batch in batches
    ]
    return Drawing(
        _name(found),
        f"Accuracy against latency at depth {comparison.study.depth}: {_where(found)}",
        f"Test accuracy over the median latency of whole forward passes, on {found.machine}; a point for each ratio. "
        "Steps: the front, what no other point beats in both, without the oracle, which no model has. Grey and dashed "
        "the floors, dotted the oracle; a vertical line at the unpruned model. Horizontal lines: smallest and largest "
        "median of several measurements.",
        " ".join(["On the front, the fastest first.", *said]),
        svg,
        png,
        comparison.study.family,
        comparison.condition.site,
    )


def _line(ax: Any, points: list[TimedPoint], batch: int, look: tuple[Any, str, Any]) -> None:
    timings = [point.timings[batch] for point in points]
    accuracies = [Interval(point.accuracy, None, None) for point in points]
    plots.line(ax, [each.median for each in timings], accuracies, look, width=0.9, spread="none")
    for each, point in zip(timings, points, strict=True):
        if each.n > 1:
            height = 100 * point.accuracy
            ax.hlines(height, each.least, each.most, color=look[0], linewidth=1, alpha=0.6, zorder=2.5)


def _shown(found: Timed) -> list[int]:
    """Batch sizes that there is room for; the files have all."""
    return thinned(found.batches, 6)


def _name(found: Timed) -> str:
    study, condition = found.comparison.study, found.comparison.condition
    machine = f"machine-{found.place + 1}" if found.place else ""
    return slug("method-latency", study.family, str(condition), f"depth-{study.depth}", machine)


def _where(found: Timed) -> str:
    return f"{found.comparison.study.title}, {found.comparison.condition}"


def _keep(keep: float | str) -> str:
    return keep if isinstance(keep, str) else f"{keep:g}"


def _number(milliseconds: float) -> str:
    return f"{milliseconds:.3g}" if milliseconds < 1000 else f"{milliseconds:,.0f}"


def _median(spread: MeanTiming) -> str:
    several = f" ({_number(spread.least)} to {_number(spread.most)})" if spread.n > 1 else ""
    return f"{_number(spread.median)}{several}"


def _p90(spread: MeanTiming) -> str:
    return f"p90 {_number(spread.p90)}"


def _sizes(batches: list[int]) -> str:
    return ", ".join(map(str, batches))
