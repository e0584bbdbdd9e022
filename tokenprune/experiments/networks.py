"""I12: attention among convolutions, and which frequencies of noise ViTs and CNNs fail under."""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate

import numpy as np

from tokenprune.claims import Claim, Verdict
from tokenprune.claims.kinds import attentions, stages
from tokenprune.claims.measured import Missing, select
from tokenprune.claims.networks import (
    FREQUENCY,
    LESION,
    NOISE,
    attention_against_cnn,
    by_attentions,
    fragile_at_low_frequencies,
    last_of_stage,
    lesions,
)
from tokenprune.claims.published import ATTENTIONS, PARK, Published, PublishedCurve
from tokenprune.claims.published import NOISE as PUBLISHED_NOISE
from tokenprune.claims.readings import by_seed
from tokenprune.claims.study import Group, TrainedStudy
from tokenprune.drawing import plots
from tokenprune.drawing.numbers import signed
from tokenprune.drawing.style import BLUE, INK, MUTED, Drawing
from tokenprune.errors import counted
from tokenprune.experiments.arms import mean
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.measured import LOOKS, UNITS, names, over, picture, shown
from tokenprune.runs import MeasureResult


def _figures(studies: Sequence[TrainedStudy], verdicts: Sequence[Verdict]) -> list[Figure]:
    figures: list[Figure] = [partial(_lesions, group) for group in shown(studies, LESION, _losses)]
    figures += [partial(_noise, group) for group in shown(studies, NOISE, _by_frequency)]
    return figures + [partial(_accuracies, group) for group in by_attentions(studies) if len(group.settings) > 1]


def _lesions(studies: Sequence[TrainedStudy]) -> Drawing:
    """Loss of accuracy without each unit, in their order; vertical lines between stages."""
    present = {kind for study in studies for each in by_seed(study, LESION, _losses).values() for kind, _ in each}
    entries = [(*UNITS[kind], "", kind) for kind in UNITS if kind in present]
    figure, (axes,) = plots.panels(names(studies), entries, height=2.1)
    said = []
    for ax, study, name in zip(axes, studies, names(studies), strict=True):
        found = list(by_seed(study, LESION, _losses).values())
        units = [unit for unit in found[0] if all(unit in each for each in found)]
        means = over(np.array([each[unit] for unit in units]) for each in found)
        for place, ((kind, _), value) in enumerate(zip(units, means, strict=True)):
            plots.line(ax, [place], [value], (*UNITS[kind], ""))
        ax.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
        blocks = [block for _, block in units]
        ax.set_xticks(range(len(units)), [f"{b}" if b not in blocks[:i] else "" for i, b in enumerate(blocks)])
        for end in list(accumulate(stages(study) or ()))[:-1]:
            if end in blocks:
                ax.axvline(blocks.index(end) - 0.5, color=INK, linestyle=":", linewidth=0.9, zorder=1)
        worst = max(zip(means, units, strict=True), key=lambda each: each[0].value)
        said.append(f"{name}: most without the {worst[1][0]} of block {worst[1][1]}, {signed(worst[0].value)} points.")
    plots.label_outer(axes, "block", "loss of accuracy, points")
    return picture(
        "lesions",
        "Accuracy lost without one unit",
        "Loss of test accuracy without one unit, not trained again, in the order of the network; dotted lines stand "
        "between stages.",
        " ".join(said),
        figure,
        studies,
        LESION,
        _losses,
    )


def _losses(result: MeasureResult) -> dict[tuple[str, int], float]:
    """By kind and block. Raises Missing."""
    if not (found := lesions(result, method="none")):
        raise Missing("no lesion of it has a known name")
    return found


def _noise(studies: Sequence[TrainedStudy]) -> Drawing:
    """Loss of accuracy over the frequency of noise, a line for each setting; beside it what was published."""
    looks = [LOOKS[i % len(LOOKS)] for i in range(len(studies))]
    entries = [(*look, name) for look, name in zip(looks, names(studies), strict=True)]
    entries += [(MUTED, marker, dash, f"paper, {curve.name}") for marker, dash, curve in _published()]
    titles = ["measured here", "Park & Kim (read off axes)"]
    figure, (axes,) = plots.panels(titles, entries, height=2.4, share=False)
    said = []
    for study, name, look in zip(studies, names(studies), looks, strict=True):
        found = list(by_seed(study, NOISE, _by_frequency).values())
        means = over(losses for _, losses in found)
        plots.line(axes[0], found[0][0].tolist(), means, look)
        said.append(f"{name}: {signed(means[0].value)} points at .1 pi, {signed(means[-1].value)} at .9.")
    for marker, dash, curve in _published():
        axes[1].plot(curve.x, [-100 * y for y in curve.y], color=MUTED, marker=marker, linestyle=dash, **plots.EDGE)
    plots.label_outer(axes, "frequency of the noise, π", "loss of accuracy, points")
    return picture(
        "noise",
        "Accuracy lost under noise of one frequency",
        "Loss of test accuracy under noise in a ring of frequencies, of the same power in every ring. The paper's "
        "noise grows with the ring, and its models are of ImageNet (read off axes): compare directions.",
        " ".join(said),
        figure,
        studies,
        NOISE,
        _by_frequency,
    )


def _published() -> list[tuple[str, str, PublishedCurve]]:
    """Marker, dash and curve."""
    return list(zip("so", ("--", "-"), PUBLISHED_NOISE.values(), strict=True))


def _by_frequency(result: MeasureResult) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies of the noise, in pi, and losses of accuracy. Raises Missing."""
    found = select(result, "accuracy", method="none")
    frequencies = found.places("noise", FREQUENCY)
    losses = found.at("noise", **{FREQUENCY: 0.0}).number - found.along("noise")
    return frequencies[frequencies > 0], losses[frequencies > 0]


def _accuracies(group: Group) -> Drawing:
    """Accuracy by number of attentions; beside it what was published."""
    arms = group.settings
    titles = ["measured here", "Park & Kim, CIFAR-100 (read off axes)"]
    figure, (axes,) = plots.panels(titles, height=2.2, share=False)
    plots.line(axes[0], [attentions(arm) for arm in arms], [mean(arm) for arm in arms], (BLUE, "o", "-"))
    axes[1].plot(ATTENTIONS.x, [100 * y for y in ATTENTIONS.y], color=MUTED, marker="o", **plots.EDGE)
    for ax, counts in zip(axes, ([attentions(arm) for arm in arms], ATTENTIONS.x), strict=True):
        ax.set_xticks(list(counts), [f"{count:g}" for count in counts])
    plots.label_outer(axes, "attentions", "test accuracy, %")
    said = "; ".join(f"{counted(attentions(arm), 'attention')} {100 * mean(arm).value:.1f} %" for arm in arms)
    return picture(
        f"attentions-{arms[0].setting}",
        "Accuracy by number of attentions",
        "Test accuracy of one convolutional network whose blocks, from the end, are replaced by attention.",
        f"{said}.",
        figure,
        arms,
    )


EXPERIMENT = Experiment(
    "I12",
    "Attention and convolutions",
    "how",
    (
        Claim(
            id="attention-at-a-stage-end-matters-most",
            statement="Of a stage's units the attention at its end matters most.",
            source=f"{PARK}, figure 10",
            reads="measurement lesion of convolutional networks with attention, without a pruner",
            test="loss of accuracy without the attention at the end of a stage less the mean loss without a "
            "convolution of the same stage, mean over stages that have both, is above 0",
            unit="accuracy",
            find=last_of_stage,
            measurement=LESION,
        ),
        Claim(
            id="vits-fail-under-low-frequencies",
            statement="ViTs fail under noise of low frequency, CNNs under noise of high frequency.",
            source=f"{PARK}, figure 3",
            reads="measurement frequency-noise of a ViT and a CNN trained alike, without a pruner",
            test="(mean loss of accuracy under noise of .1, .2, .3 pi less that of .7, .8, .9 pi) of the ViT less the "
            "same of the CNN is above 0",
            unit="accuracy",
            find=fragile_at_low_frequencies,
            measurement=NOISE,
            across=True,
            published=(
                Published(
                    "by the same rule +9.8 points: at .1 to .3 pi ViT 5.5, 12.1, 14.9, ResNet 5, 8.8, 12.7; at .7 to "
                    ".9 pi ViT 6.3, 4.3, 4.8, ResNet 9.7, 13.6, 15.4",
                    "read off axes",
                ),
            ),
        ),
        Claim(
            id="attention-improves-a-cnn",
            statement="A CNN whose last blocks are attention is more accurate than the CNN.",
            source=f"{PARK}, AlterNet",
            reads="runs with model.attentions above 0 and 0, without a pruner",
            test="accuracy(most attentions) - accuracy(no attention) is above 0",
            unit="accuracy",
            find=attention_against_cnn,
            across=True,
            published=(Published("CIFAR-100, 0 to 4 attentions: 82.48, 83.45, 83.66, 83.77, 84.02", "read off axes"),),
        ),
    ),
    _figures,
)
