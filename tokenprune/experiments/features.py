"""I11: what attention, MLPs and convolutions do to feature maps."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tokenprune.claims import Claim, Verdict
from tokenprune.claims.features import (
    AMPLITUDE,
    FOURIER,
    UNIT,
    VARIANCE,
    at_pi,
    frequencies_across_attention,
    frequencies_across_others,
    units,
    variance_across_attention,
)
from tokenprune.claims.measured import Missing, Selected, select
from tokenprune.claims.published import PARK, Published
from tokenprune.claims.readings import by_seed
from tokenprune.claims.study import TrainedStudy
from tokenprune.drawing import plots
from tokenprune.drawing.numbers import Interval
from tokenprune.drawing.style import INK, MUTED, Drawing
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.measured import OTHER, UNITS, names, over, picture, shown
from tokenprune.runs import MeasureResult


def _figures(studies: Sequence[TrainedStudy], verdicts: Sequence[Verdict]) -> list[Figure]:
    figures: list[Figure] = [
        partial(_frequencies, group) for group in shown(studies, FOURIER, partial(at_pi, method="none"))
    ]
    return figures + [partial(_variance, group) for group in shown(studies, VARIANCE, _variances)]


def _frequencies(studies: Sequence[TrainedStudy]) -> Drawing:
    """Log amplitude: above at frequency pi by half-block, below over frequency, a line for each half-block."""
    entries = _entries(studies, FOURIER)
    entries += [
        (plots.sequence(share), "", "-", name) for share, name in ((0, "before the first"), (1, "after the last"))
    ]
    figure, (above, below) = plots.panels(names(studies), entries, stacked=2, height=1.9)
    said = []
    for top, ax, study, name in zip(above, below, studies, names(studies), strict=True):
        means = _by_unit(top, list(by_seed(study, FOURIER, partial(at_pi, method="none")).values()))
        top.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
        maps = list(by_seed(study, FOURIER, _amplitudes).values())
        columns, rows = maps[0].values.shape[1], len(maps[0].values)
        alike = np.mean([each.values for each in maps if each.values.shape == maps[0].values.shape], axis=0)
        for row, values in enumerate(alike):
            ax.plot(np.linspace(0, 1, columns), values, color=plots.sequence(row / max(1, rows - 1)), linewidth=1.1)
        said.append(f"{name}, at pi: {_ends(means)}.")
    plots.label_outer(above, "unit", "log amplitude at π")
    plots.label_outer(below, "frequency, π", "log amplitude")
    return picture(
        "frequencies",
        "High frequencies, unit by unit",
        "Log amplitude of feature maps relative to frequency 0: above at the highest frequency, unit by unit, marked "
        "by what the unit is; below over frequency, what enters the first unit dark, what leaves the last light.",
        " ".join(said),
        figure,
        studies,
        FOURIER,
        partial(at_pi, method="none"),
    )


def _variance(studies: Sequence[TrainedStudy]) -> Drawing:
    """Variance of features over the picture by half-block, marked by the unit that made them."""
    figure, (axes,) = plots.panels(names(studies), _entries(studies, VARIANCE), height=2.1)
    said = []
    for ax, study, name in zip(axes, studies, names(studies), strict=True):
        means = _by_unit(ax, list(by_seed(study, VARIANCE, _variances).values()))
        said.append(f"{name}: {_ends(means)}.")
    plots.label_outer(axes, "unit", "log variance")
    return picture(
        "variance",
        "Variance of feature maps, unit by unit",
        "Logarithm of the variance over the patches of an image, mean over images and channels, unit by unit, marked "
        "by what the unit is.",
        " ".join(said),
        figure,
        studies,
        VARIANCE,
        _variances,
    )


def _entries(studies: Sequence[TrainedStudy], measurement: str) -> list[plots.Entry]:
    """The units that there are."""
    present = {kind for study in studies for kind in units(study, measurement)}
    return [(*UNITS[kind], "", f"after {kind}") for kind in UNITS if kind in present]


def _amplitudes(result: MeasureResult) -> Selected:
    """[half-block, frequency] of the unpruned model."""
    return select(result, AMPLITUDE, method="none")


def _variances(result: MeasureResult) -> Selected:
    """Logarithms, [half-block]. Raises Missing."""
    found = select(result, VARIANCE, method="none")
    if (found.along(UNIT[0]) <= 0).any():
        raise Missing("a variance is not above 0")
    return replace(found, values=np.log(found.values))


def _by_unit(ax: Any, found: Sequence[Selected]) -> list[Interval]:
    """A line through the half-blocks, each marked by the unit before it; their means."""
    from matplotlib.ticker import MaxNLocator

    means = over(each.values for each in found)
    kinds = found[0].labels.get(UNIT[0], {}).get(UNIT[1], ("",) * len(means))
    plots.line(ax, range(len(means)), means, (INK, "", "-"), width=0.9, scale=1)
    for place, (mean, kind) in enumerate(zip(means, kinds, strict=True)):
        color, marker = UNITS.get(str(kind), OTHER)
        ax.plot([place], [mean.value], color=color, marker=marker, zorder=4, **plots.EDGE)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return means


def _ends(means: Sequence[Interval]) -> str:
    return f"{means[0].value:.3g} at first, {means[-1].value:.3g} at last"


EXPERIMENT = Experiment(
    "I11",
    "What attention does to features",
    "how",
    (
        Claim(
            id="attention-lowers-high-frequencies",
            statement="Attention lowers the high frequencies of feature maps.",
            source=f"{PARK}, figure 2",
            reads="measurement fourier of runs without a pruner",
            test="log amplitude at the highest frequency, relative to frequency 0, after an attention less before it, "
            "mean over attentions, is below 0",
            unit="log amplitude",
            support=(None, 0.0),
            find=frequencies_across_attention,
            measurement=FOURIER,
            published=(Published("falls in attentions, rises in MLPs (figure, no numbers)", "recalled"),),
        ),
        Claim(
            id="mlps-and-convolutions-raise-high-frequencies",
            statement="MLPs and convolutions raise the high frequencies of feature maps.",
            source=f"{PARK}, figure 2",
            reads="measurement fourier of runs without a pruner",
            test="log amplitude at the highest frequency, relative to frequency 0, after a unit less before it, mean "
            "over the units of a kind, is above 0; for each kind of unit",
            unit="log amplitude",
            find=frequencies_across_others,
            measurement=FOURIER,
        ),
        Claim(
            id="attention-lowers-variance",
            statement="Attention lowers the variance of feature maps.",
            source=f"{PARK}, figure 9",
            reads="measurement variance of runs without a pruner",
            test="log(variance over the picture after an attention / before it), mean over attentions, is below 0",
            unit="log ratio",
            support=(None, 0.0),
            find=variance_across_attention,
            measurement=VARIANCE,
            published=(Published("falls in attentions, rises in others (figure, no numbers)", "recalled"),),
        ),
    ),
    _figures,
)
