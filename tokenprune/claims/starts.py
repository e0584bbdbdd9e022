"""Claims about what a model starts from: findings from the runs' test accuracy."""

from collections.abc import Sequence

from tokenprune.claims.claim import Finding
from tokenprune.claims.study import Group, TrainedStudy, alike
from tokenprune.claims.training import finding, less

_NOISE = "start.noise"


def from_cifar100(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Accuracy of models that start from CIFAR-100 less that from scratch."""
    findings = []
    what = "accuracy from a start on CIFAR-100 less that from scratch"
    for group in by_start(found):
        scratch = [setting for setting in group.settings if setting.start == "scratch"]
        starts = [setting for setting in group.settings if setting.start == "cifar100"]
        if not scratch:
            missing = [(group.subject, ("start.source=null",))]
            findings.append(finding(group, starts, {}, "", "no run was trained from scratch", missing))
        elif not starts:
            missing = [(group.subject, ("start.source=cifar100",))]
            findings.append(finding(group, scratch, {}, "", "no run starts from CIFAR-100", missing))
        for start, words in zip(starts if scratch else [], _apart(starts), strict=False):
            findings.append(less(group, [(start, scratch[0])], (scratch[0], start), what, words))
    return findings


def least_against_most_noise(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Accuracy of models that start from the least noisy CIFAR-10 less that from the noisiest."""
    findings = []
    for group in by_start(found):
        noisy = [each for each in group.settings if each.science["start.source"] == "cifar10" and each.science[_NOISE]]
        series = [sorted(starts, key=lambda each: each.science[_NOISE]) for starts in alike(noisy, [_NOISE])]
        for starts, words in zip(series, _apart([starts[0] for starts in series]), strict=True):
            least, most = starts[0], starts[-1]
            low, high = least.science[_NOISE], most.science[_NOISE]
            if low == high:
                lacking, missing = "all starts are equally noisy", [(least, (f"{_NOISE}={low / 2:g}",))]
                findings.append(finding(group, starts, {}, "", lacking, missing, words))
                continue
            what = f"accuracy from a start on CIFAR-10 under noise {low:g} less that under {high:g}"
            findings.append(less(group, [(least, most)], (least, most), what, words))
    return findings


def by_start(found: Sequence[TrainedStudy]) -> list[Group]:
    """Settings without a pruner that differ in their start; none of a single start."""
    plain = [setting for setting in found if setting.method == "none" and setting.science]
    groups = [sorted(group, key=lambda each: each.start != "scratch") for group in alike(plain, ["start"])]
    return [Group(None, "", tuple(group)) for group in groups if len(group) > 1]


def _apart(starts: Sequence[TrainedStudy]) -> list[str | None]:
    """What distinguishes starts on the same images, in words; None for a lone one."""
    keys = [key for key in starts[0].science if key.startswith("start.") and key != _NOISE] if starts else []
    differ = [key for key in keys if len({str(start.science[key]) for start in starts}) > 1]
    return [", ".join(f"{key} {start.science[key]}" for key in differ) or None for start in starts]
