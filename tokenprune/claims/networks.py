"""Claims about ViTs and convolutional networks: findings from accuracy, lesions, and noise of one frequency."""

import json
import math
import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import fmean

from tokenprune.claims.claim import Finding
from tokenprune.claims.kinds import attentions, has_attention, is_cnn, is_vit, kind, stages
from tokenprune.claims.measured import Missing, select
from tokenprune.claims.readings import Read, contrast, has, whole
from tokenprune.claims.study import Group, TrainedStudy, alike, largest
from tokenprune.claims.training import finding, less
from tokenprune.errors import counted
from tokenprune.runs import MeasureResult

LESION, NOISE = "lesion", "frequency-noise"
LOW, HIGH = (0.1, 0.2, 0.3), (0.7, 0.8, 0.9)
FREQUENCY = "frequency, pi"
_UNIT = re.compile(r"(attention|convolution|MLP) of block (\d+)")


def last_of_stage(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Loss of accuracy without the attention at a stage's end less the mean loss without a convolution of that stage.

    Mean over the stages that end with attention and have a convolution.
    """
    findings = []
    for study in whole(found, LESION):
        blocks = stages(study)
        if blocks is not None and has_attention(study):

            def read(result: MeasureResult, blocks: tuple[int, ...] = blocks) -> float:
                return _end_less_convolutions(result, blocks)

            what = (
                "loss of accuracy without the attention at a stage's end less that without a convolution of the stage"
            )
            findings.append(contrast(LESION, [(study, 1)], read, what, variant=kind(study)))
    return findings


def lesions(result: MeasureResult, **point: str | float) -> dict[tuple[str, int], float]:
    """Loss of accuracy without each unit, by kind and block. Raises Missing."""
    found = select(result, "accuracy", **point)
    losses = found.at("lesion", without="nothing").number - found.along("lesion")
    names = [_UNIT.fullmatch(str(name)) for name in found.named("lesion", "without")]
    return {(name[1], int(name[2])): loss for name, loss in zip(names, losses.tolist(), strict=True) if name}


def _end_less_convolutions(result: MeasureResult, blocks: tuple[int, ...]) -> float:
    losses = lesions(result, method="none")
    effects = []
    for end, count in zip(accumulate(blocks), blocks, strict=True):
        convolutions = [losses[key] for i in range(end - count, end) if (key := ("convolution", i)) in losses]
        if convolutions and ("attention", end - 1) in losses:
            effects.append(losses["attention", end - 1] - fmean(convolutions))
    if not effects:
        raise Missing("no stage of it ends with attention and has a convolution", final=True)
    return fmean(effects)


def fragile_at_low_frequencies(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Loss of accuracy under noise of low frequency less that under high, of a ViT less of a CNN."""
    what = "loss of accuracy under noise of .1 to .3 pi less that under .7 to .9 pi, of the ViT less of the CNN"
    return against_cnn(found, NOISE, _low_less_high, what, is_vit)


def _low_less_high(result: MeasureResult) -> float:
    """Mean accuracy of the unpruned model under noise of high frequency less that under low. Raises Missing."""
    found = select(result, "accuracy", method="none")
    low, high = (
        fmean(found.at("noise", **{FREQUENCY: at}).number for at in frequencies) for frequencies in (LOW, HIGH)
    )
    return high - low


def attention_against_cnn(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Accuracy of a convolutional network with the most attentions less that of the same without any."""
    findings = []
    for group in by_attentions(found):
        most, none = group.settings[-1], group.settings[0]
        count = attentions(most)
        if not attentions(none) and count:
            what = f"accuracy with {counted(count, 'attention')} less that of the CNN without"
            findings.append(less(group, [(most, none)], (none, most), what, f"{kind(most)}, stages {_stages(most)}"))
        elif count:
            missing = [(most, ("model.attentions=0",))]
            findings.append(finding(group, [most], {}, "", "no run is of the CNN without attention", missing))
    return findings


def by_attentions(found: Sequence[TrainedStudy]) -> list[Group]:
    """Convolutional networks without a pruner that differ in their number of attentions, from the fewest."""
    plain = largest([study for study in found if study.method == "none" and stages(study)])
    return [Group(None, "", tuple(sorted(group, key=attentions))) for group in alike(plain, ["model.attentions"])]


def against_cnn(
    found: Sequence[TrainedStudy], measurement: str, read: Read, what: str, *kinds: Callable[[TrainedStudy], bool]
) -> list[Finding]:
    """What is read of each network of these kinds less of the CNN trained alike, of several the nearest in parameters.

    Where no CNN was trained alike, that is said, if there is another.
    """
    plain = largest([study for study in found if study.method == "none"])
    cnns, findings = [study for study in plain if is_cnn(study)], []
    for group in alike(plain, ["model"]):
        near = [study for study in group if is_cnn(study)]
        for study in (study for study in group if any(each(study) for each in kinds)):
            if not any(has(each, measurement) for each in (study, *near)) or not cnns:
                continue
            cnn = min(near or cnns, key=lambda each: abs(math.log(_parameters(each) / _parameters(study))))
            variant = f"{kind(study)} against CNN of stages {_stages(cnn)}"
            if near:
                findings.append(contrast(measurement, [(study, 1), (cnn, -1)], read, what, variant=variant))
            else:
                lone = Group(None, "", (study,))
                keys = [key for key in cnn.science if key.startswith("model.")]
                changes = tuple(f"{key}={json.dumps(cnn.science[key])}" for key in keys if _differs(key, study, cnn))
                lacking = "no CNN was trained in the same way"
                findings.append(finding(lone, [study], {}, "", lacking, [(study, changes)], variant))
    return findings


def _differs(key: str, first: TrainedStudy, second: TrainedStudy) -> bool:
    return first.science.get(key) != second.science[key]


def _parameters(study: TrainedStudy) -> int:
    return study.runs[0].result.model.parameters


def _stages(study: TrainedStudy) -> str:
    return "-".join(map(str, stages(study) or ()))
