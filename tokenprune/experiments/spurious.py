"""I5: images whose background goes with the class in training, and not in test."""

from typing import Any

from tokenprune.claims import Claim
from tokenprune.claims.published import PAPER, SPURIOUS, Published
from tokenprune.claims.training import grouped, groups_of, spurious, worst_by_magnitude, worst_group
from tokenprune.drawing import plots
from tokenprune.drawing.numbers import bounds, percent
from tokenprune.drawing.style import INK, MUTED, ORANGE, RED, Drawing, looks
from tokenprune.drawing.table import Column, Table
from tokenprune.experiments.arms import Compared, by_keep, drawing, drawn, mean, of_group, shown, worst
from tokenprune.experiments.experiment import Experiment

_CURVES = (SPURIOUS["cifar100"], SPURIOUS["cifar10"])
_DASHES = ((0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)), (0, (6, 1, 1, 1, 1, 1)))


def _spurious(found: Compared) -> Drawing:
    """Accuracy over alpha_*: mean, worst group, groups; what the paper published in a panel of its own."""
    names = sorted({name for arm in found.arms for name in arm.groups or {}})
    blind = [method for method in found.methods if method not in ("none", "oracle")]
    look = looks(blind)
    published = list(zip(SPURIOUS.values(), "sD", strict=True))
    figure, (axes,) = plots.panels(
        [*found.titles, f"paper ({published[0][0].mark})"],
        [
            (INK, "o", "-", "mean"),
            (RED, "v", "-", "worst group"),
            *((*look[method], "", f"{method}, worst group") for method in blind),
            *((MUTED, "", dash, name) for name, dash in zip(names, _DASHES, strict=False)),
            *((ORANGE, marker, "--", f"paper, {curve.name}") for curve, marker in published),
        ],
    )
    for ax, group in zip(axes, found.groups, strict=False):
        arms = sorted(
            (arm for arm in group.of("none", "oracle") if arm.alpha is not None), key=lambda arm: arm.alpha or 0
        )
        xs = [arm.alpha or 0 for arm in arms]
        for name, dash in zip(names, _DASHES, strict=False):
            plots.line(ax, xs, [of_group(arm, name) for arm in arms], (MUTED, "", dash), width=0.9, spread="none")
        plots.line(ax, xs, [worst(arm) for arm in arms], (RED, "v", "-"))
        plots.line(ax, xs, [mean(arm) for arm in arms], (INK, "o", "-"))
        for method in blind:
            known = [arm for arm in group.of(method) if arm.alpha is not None]
            plots.line(ax, [arm.alpha or 0 for arm in known], [worst(arm) for arm in known], (*look[method], ""))
    for curve, marker in published:
        axes[-1].plot(
            curve.x, [100 * y for y in curve.y], color=ORANGE, marker=marker, linestyle="--", zorder=3, **plots.EDGE
        )
    least = min(arm.alpha or 1 for arm in found.arms)
    for ax in axes:
        ax.set_xlim(min(least, published[0][0].x[0]) - 0.03, 1.03)
    plots.label_outer(axes, "label-relevant share α* of kept tokens", "test accuracy, %")
    others = f" Points: each seed's worst group with {' and '.join(blind)}." if blind else ""
    return drawing(
        "spurious",
        found,
        figure,
        "Accuracy with spurious backgrounds",
        "Test accuracy over the label-relevant share α* of the tokens kept in training and test. Lines, of all tokens "
        f"and of the oracle: all test images, each group, each seed's worst group.{others} The last panel is not "
        "measured here: "
        + "; ".join(f"{curve.name} ({curve.mark}; {curve.source})" for curve in SPURIOUS.values())
        + ".",
    )


def _table(found: Compared) -> Table:
    both: dict[str, Any] = {"form": lambda value: percent(value.value), "under": bounds}
    methods = {"none": "all tokens", **{method: method for method in found.methods if method != "none"}}
    rows = [
        (group.depth, name, arm.keep, arm.alpha, mean(arm), worst(arm), len(arm.runs))
        for group in found.groups
        for method, name in methods.items()
        for arm in reversed(by_keep(group, method))
    ]
    return Table(
        f"Mean and worst group: {found.groups[0].subject.title}",
        "Test accuracy in %, means over n seeds; below it the 95 % t interval. Worst group: that of each seed. α*: "
        "label-relevant share of the tokens kept in test.",
        (
            Column("depth"),
            Column("method", look="word"),
            Column("keep", "{:g}".format),
            Column("α*, %", percent),
            Column("mean", **both),
            Column("worst group", **both),
            Column("n"),
        ),
        tuple(rows),
        parts=True,
        family=found.family,
        where=found.variant or None,
    )


EXPERIMENT = Experiment(
    "I5",
    "Spurious correlation",
    "spurious",
    (
        Claim(
            id="sparsification-cures-spurious",
            statement=(
                "Under a spurious correlation, removing label-irrelevant tokens raises the accuracy of the worst group."
            ),
            source=f"{PAPER}, corollary: sparsification can also drop spurious correlations",
            reads="runs of spurious scenes, trained without a pruner and with oracle",
            test="accuracy of the worst group of test images at the largest alpha_* less that at the smallest is above "
            "0",
            unit="accuracy",
            find=grouped(worst_group, spurious),
            published=tuple(
                Published(
                    f"accuracy {curve.y[0]:g} -> {curve.y[-1]:g}, {curve.name}, alpha_* {curve.x[0]:g} -> "
                    f"{curve.x[-1]:g}; mean accuracy, not of the worst group",
                    "slides, read off axes",
                )
                for curve in _CURVES
            ),
        ),
        Claim(
            id="magnitude-cures-spurious",
            statement=(
                "Under a spurious correlation, keeping the tokens of largest attention raises the accuracy of the "
                "worst group: nobody has to say which tokens are relevant."
            ),
            source=f"{PAPER}, corollary: sparsification can also drop spurious correlations",
            reads="runs of spurious scenes, trained without a pruner and with magnitude",
            test="accuracy of the worst group of test images with magnitude at the keep ratio nearest alpha_* of all "
            "tokens less that without a pruner is above 0",
            unit="accuracy",
            find=grouped(worst_by_magnitude, spurious),
        ),
    ),
    drawn(groups_of(spurious), _spurious),
    shown(groups_of(spurious), _table),
)
