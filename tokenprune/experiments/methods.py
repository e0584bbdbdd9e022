"""I9: every method on the same trained models, between the floors and the oracle."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tokenprune.claims import Claim, Verdict
from tokenprune.claims.accuracy import Condition, curve_name
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.front import Timed, timed
from tokenprune.claims.methods import (
    CEILING,
    FLOORS,
    SHARES,
    SPEEDS,
    Comparison,
    MethodSummary,
    against,
    compared,
    comparisons,
    place_of_magnitude,
    recall_as_proxy,
)
from tokenprune.claims.study import TrainedStudy, each
from tokenprune.claims.study import measured as with_curves
from tokenprune.drawing import plots
from tokenprune.drawing.numbers import Interval, bounds, percent, signed, signed_bounds
from tokenprune.drawing.style import BLUE, INK, MUTED, Drawing, render, slug
from tokenprune.drawing.table import Column, Table
from tokenprune.errors import counted
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.latency import latency_figure, latency_table
from tokenprune.experiments.looks import method_looks
from tokenprune.experiments.series import marks

_SOURCE = "this program: what a table of token-reduction methods is read for"


def comparison_groups(studies: Sequence[TrainedStudy], least: int = 0) -> list[list[Comparison]]:
    """Comparisons that differ in depth alone, the shallowest first.

    least: so many methods are enough; 0 asks for others than I3's.
    """
    groups: dict[tuple[str, Condition], list[Comparison]] = {}
    for study in studies:
        for found in comparisons(study) if least or compared(study) else ():
            groups.setdefault((study.family, found.condition), []).append(found)
    return [sorted(group, key=lambda found: found.study.depth) for group in groups.values()]


def latencies(groups: Sequence[Sequence[Comparison]]) -> list[Timed]:
    """What was timed of the comparisons, machine by machine."""
    return [each for group in groups for found in group for each in timed(found)]


def comparison_table(group: Sequence[Comparison]) -> Table:
    """A row a method, a part a depth; a terminal has room for some of the columns."""
    columns = (
        Column("depth"),
        Column("method", look="word"),
        Column("n"),
        Column("area", _percent, _bounds),
        Column("rank", "{:.1f}".format),
        *(Column(f"less {floor}", _signed, _signed_bounds) for floor in FLOORS),
        Column("agree, %", percent),
        *(Column(f"at {share:.0%} FLOPs", _percent, _bounds) for share in SHARES),
        *(Column(f"at {speed:g}x speed", _percent, _bounds) for speed in SPEEDS),
        Column("relevant, %", percent),
        Column("own time, %", percent),
        Column("answered", percent),
        Column("failed", percent),
    )
    rows = tuple((found.study.depth, *_cells(row)) for found in group for row in found.rows)
    first = group[0]
    low = ", ".join(f"{found.low:.0%} at depth {found.study.depth}" for found in group)
    whole = Table(
        f"Methods on {first.study.title}, {first.condition}",
        "Area: mean accuracy in % over FLOPs, from the least that all methods reach; below it the 95 % interval.",
        columns,
        rows,
        f"Least share of FLOPs: {low}; methods that save less than three quarters of what the most sparing one saves "
        "have no area. Rank by area, 1 the best, mean over seeds; the oracle has none. Less random, "
        "less downsample: difference of areas, paired by seed and image. Agree: with the unpruned model's answers. At "
        "so many FLOPs or so fast (measured): accuracy straight between points. Relevant: share of the label-relevant "
        "area that is kept. Own time: the method's share of the time. Answered, failed: accuracy on images that "
        "downsample at as many tokens answers and fails. Intervals hold seeds, and images where answers by image are "
        "known.",
        parts=True,
        family=first.study.family,
        where=first.condition.site,
        anchor=slug("numbers-methods", first.study.family, str(first.condition)),
    )
    shown = [0, 1, 3, 4, 5, 6]
    few = (*(columns[i] for i in shown[:4]), *(Column(f"less {floor}", _signed_with_bounds) for floor in FLOORS))
    brief = replace(whole, columns=few, rows=tuple(tuple(row[i] for i in shown) for row in rows), every=True)
    return replace(whole, brief=brief)


def _cells(row: MethodSummary) -> tuple[Any, ...]:
    return (
        row.name,
        row.seeds,
        row.area,
        row.rank,
        *(row.less.get(floor) for floor in FLOORS),
        row.agreement,
        *(row.flops[share] for share in SHARES),
        *(row.speed[speed] for speed in SPEEDS),
        row.recall,
        row.own_time,
        row.answered,
        row.failed,
    )


def comparison_rows(group: Sequence[Comparison]) -> list[dict[str, Any]]:
    """The table's numbers for programs."""
    rows = []
    for found in group:
        for row in found.rows:
            values: dict[str, Any] = {
                "family": found.study.family,
                "setting": found.study.setting,
                "depth": found.study.depth,
                "site": found.condition.site,
                "finetune_epochs": found.condition.finetune_epochs,
                "images": found.condition.images,
                "method": row.method,
                "name": row.name,
                "seeds": row.seeds,
                "least_flops": found.low,
                "rank": row.rank,
                "agreement": row.agreement,
                "relevant_recall": row.recall,
                "own_time": row.own_time,
                "accuracy_where_downsample_is_right": row.answered,
                "accuracy_where_downsample_is_wrong": row.failed,
            }
            named = {"area": row.area, **{f"area_less_{floor}": row.less.get(floor) for floor in FLOORS}}
            named |= {f"accuracy_at_{share:g}_flops": row.flops[share] for share in SHARES}
            named |= {f"accuracy_at_{speed:g}x_speed": row.speed[speed] for speed in SPEEDS}
            named |= {f"agreement_at_{share:g}_flops": row.agree_flops[share] for share in SHARES}
            named |= {f"agreement_at_{speed:g}x_speed": row.agree_speed[speed] for speed in SPEEDS}
            for name, estimate in named.items():
                values |= dict(zip((name, f"{name}_low", f"{name}_high"), _parts(estimate), strict=True))
            rows.append(values)
    return rows


def area_figure(group: Sequence[Comparison]) -> Drawing:
    """Areas of all methods with their intervals, the best on top, a panel a depth; lines at floors and oracle."""
    shown = [[row for row in found.rows if row.area is not None][::-1] for found in group]
    titles = [f"depth {found.study.depth}, {counted(len(found.study.runs), 'seed')}" for found in group]
    figure, (axes,) = plots.panels(titles, height=0.4 + 0.17 * max(map(len, shown)), share=False)
    for ax, rows in zip(axes, shown, strict=True):
        for place, row in enumerate(rows):
            assert row.area is not None
            plain = row.method in (*FLOORS, CEILING)
            color = INK if row.method == CEILING else MUTED if plain else BLUE
            if row.area.low is not None and row.area.high is not None:
                ax.hlines(place, 100 * row.area.low, 100 * row.area.high, color=color, linewidth=1.4, zorder=2.5)
            ax.plot(100 * row.area.value, place, color=color, marker="s" if plain else "o", zorder=3, **plots.EDGE)
            if plain:
                ax.axvline(
                    100 * row.area.value, color=color, linestyle=":" if row.method == CEILING else "--", linewidth=0.9
                )
        ax.set_yticks(range(len(rows)), [row.name for row in rows])
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.grid(visible=False, axis="y")
    plots.label_outer(axes, "mean accuracy over FLOPs, %", "")
    svg, png = render(figure)
    first = group[0]
    best = [
        f"Depth {found.study.depth}: {', '.join(row.name for row in rows[::-1])}."
        for found, rows in zip(group, shown, strict=True)
    ]
    return Drawing(
        slug("methods", first.study.family, str(first.condition)),
        f"Methods: {first.study.title}, {first.condition}",
        "Mean test accuracy over FLOPs, from the least share of FLOPs that all methods reach to all, with 95 % "
        "intervals over seeds and, where answers by image are known, images. Dashed: the floors, a draw and average "
        "pooling of the patch grid; dotted: the oracle. Methods whose own work costs too much to come near that share "
        "are in the table alone.",
        " ".join(["Methods by mean accuracy over FLOPs, the best first.", *best]),
        svg,
        png,
        first.study.family,
        first.condition.site,
    )


def curve_figure(group: Sequence[Comparison]) -> Drawing:
    """Accuracy over FLOPs of all methods, a panel a depth; the floors in grey, the oracle in black."""
    names = sorted({row.name for found in group for row in found.rows})
    methods = {row.name: row.method for found in group for row in found.rows}
    styles = method_looks(methods)
    titles = [f"depth {found.study.depth}, {counted(len(found.study.runs), 'seed')}" for found in group]
    figure, (axes,) = plots.panels(titles, [(*styles[name], name) for name in names], height=3.2)
    said = []
    for ax, found in zip(axes, group, strict=True):
        for row in found.rows:
            xs, ys = _line(found, row)
            floor_or_ceiling = row.method in (*FLOORS, CEILING)
            plots.line(ax, xs, ys, styles[row.name], width=1.2 if floor_or_ceiling else 1.6, spread="none")
        best = found.rows[0]
        if best.area is not None:
            said.append(f"Depth {found.study.depth}: the largest area is that of {best.name}.")
    plots.label_outer(axes, "MFLOPs per image, scores included", "test accuracy, %")
    svg, png = render(figure)
    first = group[0]
    return Drawing(
        slug("method-curves", first.study.family, str(first.condition)),
        f"Curves of methods: {first.study.title}, {first.condition}",
        "Test accuracy over FLOPs per image, means over seeds; grey and dashed the floors (a draw, average pooling of "
        "the patch grid, the tokens nearest to its centre), dotted the oracle. Intervals are in the table.",
        " ".join(["Methods compared.", *said]),
        svg,
        png,
        first.study.family,
        first.condition.site,
    )


def _line(found: Comparison, row: MethodSummary) -> tuple[list[float], list[Interval | None]]:
    """MFLOPs and accuracy of a method's points, over seeds."""
    runs = [
        [
            point
            for _, prune in run.prunes
            if Condition.of(prune) == found.condition and curve_name(prune.method, prune.options) == row.name
            for point in prune.points
        ]
        for run in found.study.runs
    ]
    shown = marks([points for points in runs if points], found.condition.images)
    return [mark.flops / 1e6 for mark in shown], [mark.accuracy for mark in shown]


def _parts(estimate: Estimate | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)


def _interval(estimate: Estimate) -> Interval:
    return Interval(estimate.value, estimate.low, estimate.high)


def _percent(estimate: Estimate) -> str:
    return percent(estimate.value)


def _bounds(estimate: Estimate) -> str:
    return bounds(_interval(estimate))


def _signed(estimate: Estimate) -> str:
    return signed(estimate.value)


def _signed_with_bounds(estimate: Estimate) -> str:
    return f"{_signed(estimate)} ({_signed_bounds(estimate)})" if estimate.low is not None else _signed(estimate)


def _signed_bounds(estimate: Estimate) -> str:
    return signed_bounds(_interval(estimate))


def _figures(studies: Sequence[TrainedStudy], verdicts: Sequence[Verdict]) -> list[Figure]:
    drawn = [partial(draw, group) for group in comparison_groups(studies) for draw in (area_figure, curve_figure)]
    return [*drawn, *(partial(latency_figure, found) for found in latencies(comparison_groups(studies, least=2)))]


def _tables(studies: Sequence[TrainedStudy], verdicts: Sequence[Verdict]) -> list[Table]:
    found = [comparison_table(group) for group in comparison_groups(studies)]
    return [*found, *map(latency_table, latencies(comparison_groups(studies, least=2)))]


EXPERIMENT = Experiment(
    "I9",
    "Which method?",
    "methods",
    (
        Claim(
            id="methods-beat-random",
            statement="A method loses less accuracy than keeping random tokens.",
            source=_SOURCE,
            reads="prune results of random and of any other method but the oracle, where there are more than I3's",
            test="for each method, mean over common keep ratios below 1 of accuracy(method) - accuracy(random, mean of "
            "draws) is above 0",
            unit="accuracy",
            find=each(lambda study: against(study, "random"), with_curves),
        ),
        Claim(
            id="methods-beat-downsample",
            statement="A method loses less accuracy than pooling the patch grid to as many tokens.",
            source=_SOURCE,
            reads="prune results of downsample and of any other method but the oracle",
            test="for each method, mean over common keep ratios below 1 of accuracy(method) - accuracy(downsample) is "
            "above 0",
            unit="accuracy",
            find=each(lambda study: against(study, "downsample"), with_curves),
        ),
        Claim(
            id="magnitude-is-in-the-upper-half",
            statement="Magnitude is better than half of the other methods.",
            source=_SOURCE,
            reads="prune results of magnitude and of three others or more",
            test="the share of methods (but the oracle) whose mean accuracy over FLOPs is below magnitude's is above "
            "one half; its trend over depth says whether its place changes",
            unit="share of methods",
            find=each(place_of_magnitude, with_curves),
            support=(0.5, None),
        ),
        Claim(
            id="likeness-to-the-oracle-is-a-proxy",
            statement="The more of the relevant area a method keeps, as the oracle does, the better its accuracy.",
            source="the practice of judging methods by where their tokens lie",
            reads="prune results of four methods or more but the oracle, on images whose relevance is known",
            test="Spearman's correlation, over methods, of the relevant area kept (mean over ratios) with the mean "
            "accuracy over FLOPs is above 0",
            unit="rank correlation",
            find=each(recall_as_proxy, with_curves),
        ),
    ),
    _figures,
    _tables,
)
