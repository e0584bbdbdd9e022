"""I1: images needed for an accuracy, over the label-relevant share of the tokens."""

from collections.abc import Sequence
from statistics import fmean

from tokenprune.claims import Claim
from tokenprune.claims.published import PAPER, Published
from tokenprune.claims.samples import Needed, fewer_samples, images_needed, over_samples, relevance_counts
from tokenprune.claims.study import Group, TrainedStudy
from tokenprune.drawing import plots
from tokenprune.drawing.numbers import percent
from tokenprune.drawing.style import Drawing
from tokenprune.drawing.table import Column, Table
from tokenprune.experiments.arms import Compared, drawing, drawn, mean, shown
from tokenprune.experiments.experiment import Experiment

_MARKERS = "osD^vPX"
_NEEDED = (
    " Triangles: N needed for {}; one at the edge of the N measured is clipped there, and the N needed lies beyond."
)


def _samples(found: Compared) -> Drawing:
    """Accuracy over training images, a line per alpha_*."""
    conditions = _alphas(found.groups)
    look = {
        key: (plots.sequence(i / max(1, len(conditions) - 1)), _MARKERS[i % len(_MARKERS)], "-")
        for i, key in enumerate(conditions)
    }
    tokens = {key: "all tokens" if key[0] == "none" else f"{key[0]}, keep {key[1]:g}" for key in conditions}
    entries = [(*look[key], f"α* {alpha:.2f} ({tokens[key]})") for key, alpha in conditions.items()]
    figure, (axes,) = plots.panels(found.titles, entries)
    extra, said = "", []
    for ax, group in zip(axes, found.groups, strict=True):
        ax.set_xscale("log")
        for key in conditions:
            arms = sorted((arm for arm in group.settings if (arm.method, arm.keep) == key), key=lambda arm: arm.samples)
            plots.line(ax, [arm.samples for arm in arms], [mean(arm) for arm in arms], look[key])
        needed = images_needed(group)
        for alpha, count in _at_middle(needed):
            nearest = min(conditions, key=lambda key: abs(conditions[key] - alpha))
            ax.plot(
                [count], [0.02], transform=ax.get_xaxis_transform(), color=look[nearest][0], marker="v",
                markersize=7, clip_on=False, zorder=4, linestyle="", **plots.EDGE,
            )  # fmt: skip
            extra = _NEEDED.format(_target(found.groups))
            said.append(f"N needed at depth {group.depth}, α* {alpha:.2f}: {count:,.0f}")
        sizes = sorted({arm.samples for arm in group.of("none", "oracle")})
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=40 if len(sizes) > 5 else 0)
        ax.set_xticks([], minor=True)
        ax.margins(x=0.08)
    plots.label_outer(axes, "training images N", "test accuracy, %")
    return drawing(
        "samples",
        found,
        figure,
        "Accuracy over the number of training images",
        "Test accuracy over the number N of different training images (log axis), a line per label-relevant share α* "
        f"of the tokens kept in training and test.{extra}",
        f" {'; '.join(said)}." if said else "",
    )


def _table(found: Compared) -> Table:
    rows = []
    for group in found.groups:
        needed = images_needed(group)
        rows += (
            []
            if needed is None
            else [
                (group.depth, alpha, count, censored, len(needed.by_seed))
                for alpha, count, censored in zip(needed.alphas, needed.at_middle, needed.censored, strict=True)
            ]
        )
    return Table(
        f"Images needed: {found.groups[0].subject.title}",
        f"N needed for {_target(found.groups)}, geometric mean over seeds; censored: share of seeds for "
        "which it lies at the edge of the N measured, or beyond, and counts as that edge.",
        (
            Column("depth"),
            Column("α*", "{:.2f}".format),
            Column("N needed", "{:,.0f}".format),
            Column("censored, %", percent),
            Column("n"),
        ),
        tuple(rows),
        parts=True,
        family=found.family,
        where=found.variant or None,
    )


def _target(groups: Sequence[Group]) -> str:
    """The accuracy that N needed is shown for."""
    known = {needed.middle for group in groups if (needed := images_needed(group))}
    return f"the accuracy that the least α* has at N {' or '.join(f'{n:,}' for n in sorted(known))}"


def _at_middle(needed: Needed | None) -> list[tuple[float, float]]:
    return list(zip(needed.alphas, needed.at_middle, strict=True)) if needed else []


def _alphas(groups: Sequence[Group]) -> dict[tuple[str, float], float]:
    """alpha_* of each (method, ratio) that was trained with several N: no pruner's and the oracle's, rising."""
    found: dict[tuple[str, float], list[TrainedStudy]] = {}
    for arm in (arm for group in groups for arm in group.of("none", "oracle") if arm.alpha is not None):
        found.setdefault((arm.method, arm.keep), []).append(arm)
    several = {key: arms for key, arms in found.items() if len({arm.samples for arm in arms}) > 1}
    shares = {key: fmean(arm.alpha or 0 for arm in arms) for key, arms in several.items()}
    return dict(sorted(shares.items(), key=lambda item: item[1]))


EXPERIMENT = Experiment(
    "I1",
    "Samples needed",
    "samples",
    (
        Claim(
            id="fewer-samples",
            statement="With fewer label-irrelevant tokens a test accuracy needs fewer samples.",
            source=f"{PAPER}, Theorem 1: N >= Omega(alpha_*^-2) samples suffice",
            reads="runs trained without a pruner and with oracle, on three or more train sizes",
            test=(
                "k is above 0 in accuracy = A - B (N alpha_*^k)^-c, fitted to all cells by least squares; interval and "
                "p by a bootstrap over seeds and test images, widened for few seeds. Its rival, a shift of accuracy "
                "that is the same at every N, is compared by AIC: where that is lower by 2 or more, k is no exponent"
            ),
            unit="exponent",
            find=fewer_samples,
            published=(Published("N >= Omega(alpha_*^-2)", "slides"),),
        ),
        Claim(
            id="relevance-counts",
            statement="Of as many tokens, label-relevant ones give more accuracy than random ones, on average over the "
            "number of training images.",
            source=f"{PAPER}, Theorem 1: samples needed hang on alpha_*, not on the number of tokens",
            reads="runs trained with oracle and with random at one keep ratio, on three or more train sizes",
            test="accuracy(oracle) - accuracy(random), trained and tested at one keep ratio, mean over train sizes, is "
            "above 0",
            unit="accuracy",
            find=relevance_counts,
        ),
    ),
    drawn(over_samples, _samples),
    shown(over_samples, _table),
)
