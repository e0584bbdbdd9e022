"""Figures of the second theory: patch association, and what it is worth on another task."""

from collections.abc import Sequence

from tokenprune.claims.theory.trials import SpatialStudy
from tokenprune.report.series import Interval
from tokenprune.report.style import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, Drawing
from tokenprune.report.theory import layout, series
from tokenprune.report.theory.settings import names
from tokenprune.report.theory.words import spread

ARMS = {"transfer": ("transferred attention", BLUE, "o"), "scratch": ("from scratch", ORANGE, "s")}
BUILT = {
    "own": ("attention on own set", GREEN, "^"),
    "other": ("on another set", PURPLE, "D"),
    "start": ("as at the start", MUTED, "x"),
}


def spatial_figure(studies: Sequence[SpatialStudy]) -> Drawing:
    """Association and accuracy over training, networks that were built, accuracy on the target task against N."""
    figure, (left, middle, right), _ = layout.sheet([1, 0.85, 1], height=2.7, top=0.85)
    for index, each in enumerate(studies):
        thin = index > 0
        for name, color, dash in (("overlap", BLUE, "-"), ("exact", BLUE, (0, (4, 1.5))), ("accuracy", ORANGE, "-")):
            layout.draw_curve(left, each.first.iterations, each.curve(name), color, linestyle=dash, thin=thin)
        for arm, (_, color, marker) in ARMS.items():
            layout.draw_curve(right, each.first.samples, each.target(arm), color, marker=marker, thin=thin)
    study, first = studies[0], studies[0].first
    left.axhline(first.chance, color=MUTED, linestyle=":", linewidth=1)
    for built, (_, color, marker) in BUILT.items():
        middle.plot(
            study.constructed("overlap", built), study.constructed("accuracy", built), color=color, marker=marker,
            linestyle="", markeredgecolor=color if marker == "x" else PAPER,
            markeredgewidth=1.1 if marker == "x" else 0.6,
        )  # fmt: skip
    left.set(xlabel="iterations, source task", ylabel="share")
    middle.set(title="not trained", xlabel="overlap with own set", ylabel="test accuracy", xlim=(-0.06, 1.06))
    right.set_xscale("log")
    layout.log_ticks(right.xaxis, first.samples, most=8)
    right.axhline(first.success, color=INK, linestyle=":", linewidth=1)
    right.set(xlabel="target samples N", ylabel="test accuracy, target task")
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
    caption = (
        "Left: share of each patch's strongest attention that is of its own set (overlap; dotted: chance), share of "
        "patches where all of it is (exact match), and test accuracy on the source task. Middle: networks that were "
        "built, not trained, a mark per trial. Right: test accuracy on a "
        f"target task of the same sets, from transferred attention and from scratch; dotted: success "
        f"at {first.success:g}. "
        f"Means and 95 % t intervals over "
        f"{spread({study.trials for study in studies})}; d = {first.patches}, C = {first.set_size}, N "
        f"{first.samples[0]:,} to {first.samples[-1]:,}; {names(studies)[0]}."
        + (" Thin: other settings." if len(studies) > 1 else "")
    )
    start, end = (series.mean(study.curve("overlap")[at]) for at in (0, -1))
    alt = f"Overlap {_value(start)} at the start, {_value(end)} at the end."
    return layout.finish(figure, "spatial", "Patch association and transfer", caption, alt)


def _value(value: Interval | None) -> str:
    return "not known" if value is None else f"{value.value:.2f}"
