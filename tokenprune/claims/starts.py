"""Claims about what a model starts from: findings from the runs' test accuracy."""

from collections.abc import Mapping, Sequence
from functools import partial

from tokenprune.claims import commands
from tokenprune.claims.claim import Finding
from tokenprune.claims.commands import Need
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.study import TrainedStudy, alike
from tokenprune.claims.training import difference, needed

_NOISE = "start.noise"


def from_cifar100(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Accuracy of models that start from CIFAR-100 less that from scratch."""
    findings = []
    what = "accuracy from a start on CIFAR-100 less that from scratch"
    for group in _groups(found):
        scratch = next((setting for setting in group if setting.start == "scratch"), None)
        starts = [setting for setting in group if setting.start == "cifar100"]
        if scratch is None:
            missing = Need(group[0].runs[0], ("start.source=null",))
            findings.append(_finding(group, starts, {}, "", lacking="no run was trained from scratch", missing=missing))
        elif not starts:
            missing = Need(scratch.runs[0], ("start.source=cifar100",))
            findings.append(_finding(group, [scratch], {}, "", lacking="no run starts from CIFAR-100", missing=missing))
        else:
            findings += [
                _finding(group, [scratch, start], difference(start.accuracy, scratch.accuracy), what, words)
                for start, words in zip(starts, _apart(starts), strict=True)
            ]
    return findings


def least_against_most_noise(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Accuracy of models that start from the least noisy CIFAR-10 less that from the noisiest."""
    findings = []
    for group in _groups(found):
        noisy = [each for each in group if each.science["start.source"] == "cifar10" and each.science[_NOISE]]
        series = [sorted(starts, key=lambda each: each.science[_NOISE]) for starts in alike(noisy, [_NOISE])]
        for starts, words in zip(series, _apart([starts[0] for starts in series]), strict=True):
            least, most = starts[0], starts[-1]
            low, high = least.science[_NOISE], most.science[_NOISE]
            if low == high:
                lacking, missing = "all starts are equally noisy", Need(least.runs[0], (f"{_NOISE}={low / 2:g}",))
                findings.append(_finding(group, starts, {}, "", words, lacking, missing))
                continue
            what = f"accuracy from a start on CIFAR-10 under noise {low:g} less that under {high:g}"
            effect = difference(least.accuracy, most.accuracy)
            findings.append(_finding(group, [least, most], effect, what, words))
    return findings


def _groups(found: Sequence[TrainedStudy]) -> list[list[TrainedStudy]]:
    """Settings without a pruner that differ in their start; none of a single start."""
    plain = [setting for setting in found if setting.method == "none" and setting.science]
    return [group for group in alike(plain, ["start"]) if len(group) > 1]


def _apart(starts: Sequence[TrainedStudy]) -> list[str | None]:
    """What tells starts on the same images apart, in words; None for a lone one."""
    keys = [key for key in starts[0].science if key.startswith("start.") and key != _NOISE] if starts else []
    differ = [key for key in keys if len({str(start.science[key]) for start in starts}) > 1]
    return [", ".join(f"{key} {start.science[key]}" for key in differ) or None for start in starts]


def _finding(
    group: Sequence[TrainedStudy],
    arms: Sequence[TrainedStudy],
    values: Mapping[int, float],
    what: str,
    variant: str | None = None,
    lacking: str | None = None,
    missing: Need | None = None,
) -> Finding:
    """About the group's runs from scratch, if there are any. arms: the settings compared."""
    subject = min(group, key=lambda study: study.start != "scratch")
    needs = (*needed(arms), *([missing] if missing else []))
    return Finding(
        subject=subject,
        what=what,
        estimate=Estimate.of_seeds(values),
        lacking=lacking if lacking or values else "no seed was trained from both starts",
        variant=variant,
        images=subject.runs[0].result.test_count,
        more=partial(commands.in_all, needs, len(values)),
        evidence=tuple(name for study in arms for name in study.folders),
        details={"arms": [study.as_arm() for study in group]},
    )
