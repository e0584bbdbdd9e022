"""Figures of the second theory: patch association, and what it is worth on another task."""

from collections.abc import Sequence

from tokenprune.report.series import Interval
from tokenprune.report.style import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, Drawing
from tokenprune.report.theory import layout, series
from tokenprune.report.theory.settings import Case, names
from tokenprune.report.theory.words import spread
from tokenprune.theory.spatial import SpatialResult

ARMS = {"transfer": ("transferred attention", BLUE, "o"), "scratch": ("from scratch", ORANGE, "s")}
BUILT = {
    "own": ("attention on own set", GREEN, "^"),
    "other": ("on another set", PURPLE, "D"),
    "start": ("as at the start", MUTED, "x"),
}


def spatial_figure(cases: Sequence[Case[SpatialResult]]) -> Drawing:
    """Association and accuracy over training, networks that were built, accuracy on the target task against N."""
    figure, (left, middle, right), _ = layout.sheet([1, 0.85, 1], height=2.7, top=0.85)
    for index, case in enumerate(cases):
        thin = index > 0
        first, results = case.first, case.setting.results
        for name, color, dash in (("overlap", BLUE, "-"), ("exact", BLUE, (0, (4, 1.5))), ("accuracy", ORANGE, "-")):
            trials = [trial for result in results for trial in getattr(result, name)]
            layout.draw_curve(left, series.curve(first.iterations, trials), color, linestyle=dash, thin=thin)
        for arm, (_, color, marker) in ARMS.items():
            tables = [result.target_accuracy[arm] for result in results]
            layout.draw_curve(right, series.cells(first.samples, tables), color, marker=marker, thin=thin)
    first = cases[0].first
    left.axhline(first.chance, color=MUTED, linestyle=":", linewidth=1)
    for built, (_, color, marker) in BUILT.items():
        points = [
            (x, y)
            for result in cases[0].setting.results
            for x, y in zip(result.constructed_overlap[built], result.constructed_accuracy[built], strict=True)
            if x is not None and y is not None
        ]
        for x, y in points:
            middle.plot(
                [x], [y], color=color, marker=marker, markeredgecolor=color if marker == "x" else PAPER,
                markeredgewidth=1.1 if marker == "x" else 0.6,
            )  # fmt: skip
    left.set_xlabel("iterations, source task")
    left.set_ylabel("share")
    middle.set_xlabel("overlap with own set")
    middle.set_ylabel("test accuracy")
    middle.set_title("not trained")
    middle.set_xlim(-0.06, 1.06)
    right.set_xscale("log")
    layout.log_ticks(right.xaxis, first.samples, most=8)
    right.axhline(first.success, color=INK, linestyle=":", linewidth=1)
    right.set_xlabel("target samples N")
    right.set_ylabel("test accuracy, target task")
    layout.legend(
        figure,
        [
            (layout.handle(BLUE), "overlap"),
            (layout.handle(BLUE, "", (0, (4, 1.5))), "exact match"),
            (layout.handle(ORANGE), "test accuracy"),
            *((layout.handle(color, marker, ""), text) for text, color, marker in BUILT.values()),
            *((layout.handle(color, marker), text) for text, color, marker in ARMS.values()),
        ],
    )
    counts = {sum(result.trials for result in case.setting.results) for case in cases}
    caption = (
        "Left: share of each patch's strongest attention that is of its own set (overlap; dotted: chance), share of "
        "patches where all of it is (exact match), and test accuracy on the source task. Middle: networks that were "
        "built, not trained, a mark per trial. Right: test accuracy on a "
        f"target task of the same sets, from transferred attention and from scratch; dotted: success "
        f"at {first.success:g}. "
        f"Means and 95 % t intervals over {spread(counts)}; d = {first.patches}, C = {first.set_size}, N "
        f"{first.samples[0]:,} to {first.samples[-1]:,}; {names(cases)[0]}."
        + (" Thin: other settings." if len(cases) > 1 else "")
    )
    overlap = series.curve(first.iterations, [trial for result in cases[0].setting.results for trial in result.overlap])
    alt = f"Overlap {_value(overlap.y[0])} at the start, {_value(overlap.y[-1])} at the end."
    return layout.finish(figure, "spatial", "Patch association and transfer", caption, alt)


def _value(value: Interval | None) -> str:
    return "not known" if value is None else f"{value.value:.2f}"
