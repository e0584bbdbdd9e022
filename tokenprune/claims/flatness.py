"""Claims about the Hessian of the loss: how large its positive eigenvalues are, and how many are negative."""

import math
from collections.abc import Sequence

from tokenprune.claims.claim import Finding
from tokenprune.claims.kinds import has_attention, is_vit
from tokenprune.claims.measured import Missing, select
from tokenprune.claims.networks import against_cnn
from tokenprune.claims.readings import contrast, has
from tokenprune.claims.study import SAMPLES, TrainedStudy, alike, largest, pruned
from tokenprune.runs import MeasureResult

HESSIAN = "hessian"
SMOOTHING, CLASS_TOKEN = "train.label_smoothing", "model.class_token"


def log_positive(result: MeasureResult) -> float:
    """Logarithm of the mean positive eigenvalue of the unpruned model. Raises Missing."""
    found = select(result, "positive", method="none").number
    if found <= 0:
        raise Missing("no eigenvalue is above 0")
    return math.log(found)


def negative(result: MeasureResult) -> float:
    """Share of negative eigenvalues of the unpruned model. Raises Missing."""
    return select(result, "below 0", method="none").number


def flatter_than_cnn(found: Sequence[TrainedStudy]) -> list[Finding]:
    what = "log ratio of the mean positive eigenvalue, with attention to the CNN's"
    return against_cnn(found, HESSIAN, log_positive, what, is_vit, has_attention)


def more_negative_than_cnn(found: Sequence[TrainedStudy]) -> list[Finding]:
    what = "share of negative eigenvalues, with attention less the CNN's"
    return against_cnn(found, HESSIAN, negative, what, is_vit, has_attention)


def more_data(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Share of negative eigenvalues of a ViT trained on the most images less on the fewest."""
    findings = []
    for group in alike(_vits(found), SAMPLES):
        few, most = (choose(group, key=lambda study: study.size) for choose in (min, max))
        if few.samples < most.samples and (has(few, HESSIAN) or has(most, HESSIAN)):
            what = f"share of negative eigenvalues, trained on {most.samples:,} images less on {few.samples:,}"
            findings.append(contrast(HESSIAN, [(most, 1), (few, -1)], negative, what))
    return findings


def smoothed(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Share of negative eigenvalues of a ViT with a smoother loss less without: of labels, and by average pooling."""
    findings, vits = [], largest(_vits(found))
    for group in alike(vits, [SMOOTHING]):
        plain, smooth = (choose(group, key=_smoothing) for choose in (min, max))
        if _smoothing(plain) < _smoothing(smooth):
            findings += _smoother(smooth, plain, f"label smoothing {_smoothing(smooth):g}")
    for group in alike(vits, [CLASS_TOKEN]):
        from_token = [study for study in group if study.science.get(CLASS_TOKEN)]
        pooled = [study for study in group if study.science.get(CLASS_TOKEN) is False]
        if from_token and pooled:
            findings += _smoother(pooled[0], from_token[0], "average pooling")
    return findings


def _smoother(smooth: TrainedStudy, plain: TrainedStudy, name: str) -> list[Finding]:
    if not (has(smooth, HESSIAN) or has(plain, HESSIAN)):
        return []
    what = f"share of negative eigenvalues, with {name} less without"
    return [contrast(HESSIAN, [(smooth, 1), (plain, -1)], negative, what, variant=name)]


def _smoothing(study: TrainedStudy) -> float:
    return float(study.science.get(SMOOTHING, 0))


def _vits(found: Sequence[TrainedStudy]) -> list[TrainedStudy]:
    return [study for study in found if study.method == "none" and is_vit(study)]


def flatter_by_pruning(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Log ratio of the mean positive eigenvalue, trained with magnitude to trained without a pruner.

    Both of the model with all tokens, as `tokenprune measure hessian` measures it; mean over the keep ratios trained.
    """
    findings = []
    for base, arms, variant in pruned_and_not(found):
        ratios = f"at keep ratio {arms[0].keep:g}" if len(arms) == 1 else f"mean over {len(arms)} keep ratios"
        what = f"log ratio of the mean positive eigenvalue, trained with magnitude to without, {ratios}"
        weighed = [(base, -1.0), *((arm, 1 / len(arms)) for arm in arms)]
        site = str(arms[0].science["pruner.site"])
        findings.append(contrast(HESSIAN, weighed, log_positive, what, site=site, variant=variant))
    return findings


def pruned_and_not(found: Sequence[TrainedStudy]) -> list[tuple[TrainedStudy, list[TrainedStudy], str]]:
    """(without a pruner, with magnitude at each ratio, where) of settings else alike, of which one was measured."""
    groups = [(group.base, group.of("magnitude"), group.variant) for group in pruned(largest(found))]
    return [
        (base, arms, variant)
        for base, arms, variant in groups
        if base is not None and arms and any(has(study, HESSIAN) for study in (base, *arms))
    ]
