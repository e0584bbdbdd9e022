"""Claims about models that are trained and tested with a pruner: findings from the runs' test accuracy."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

from tokenprune.claims import commands
from tokenprune.claims.accuracy import UNKNOWN
from tokenprune.claims.claim import Finding
from tokenprune.claims.commands import Need
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.study import Group, TrainedStudy, largest, pruned
from tokenprune.recipe import kept

_NO_BASE = "no run was trained without a pruner"
_WITHOUT = ("pruner.name=none",)


def clean(setting: TrainedStudy) -> bool:
    """Whether nothing but the background is in the model's way."""
    return setting.scene != "spurious" and not setting.noise_tokens


def noisy(setting: TrainedStudy) -> bool:
    return setting.noise_tokens > 0


def spurious(setting: TrainedStudy) -> bool:
    return setting.scene == "spurious"


def grouped(
    find: Callable[[Group], list[Finding]], images: Callable[[TrainedStudy], bool]
) -> Callable[[Sequence[TrainedStudy]], list[Finding]]:
    """A claim's `find` from one that reads such a group."""
    return lambda found: [finding for group in groups_of(images)(found) for finding in find(group)]


def groups_of(images: Callable[[TrainedStudy], bool]) -> Callable[[Sequence[TrainedStudy]], list[Group]]:
    """Settings which differ in their pruner, of such images, on the most of them."""
    return lambda found: pruned(largest([setting for setting in found if images(setting)]))


def against_none(group: Group, method: str) -> list[Finding]:
    """Accuracy with `method` at the measured ratio nearest alpha_* of all tokens, less that without a pruner.

    Of two ratios as near, the larger.
    """
    arms, base = group.of(method), group.base
    if not arms:
        return []
    if base is None:
        return [finding(group, arms, {}, "", _NO_BASE, missing=[(arms[0], _WITHOUT)])]
    alpha = base.alpha
    if alpha is None:
        return [finding(group, (), {}, "", UNKNOWN)]
    arm = min(arms, key=lambda arm: abs(arm.keep - alpha))
    patches = arm.runs[0].result.model.patches
    relevant = None if arm.alpha is None else kept(arm.keep, patches) / patches * arm.alpha / alpha
    keeps = "" if relevant is None else f" (which keeps {relevant:.0%} of the relevant area)"
    what = f"accuracy trained and tested with {method} at keep ratio {arm.keep:g}{keeps} less that with all tokens"
    return [finding(group, (base, arm), difference(arm.accuracy, base.accuracy), what)]


def magnitude_against_random(group: Group) -> list[Finding]:
    """Accuracy with magnitude less that with random, trained and tested so, mean over their common ratios."""
    magnitude, random = group.of("magnitude"), group.of("random")
    if not magnitude and not random:
        return []
    pairs = [(first, second) for first in magnitude for second in random if first.keep == second.keep]
    if not pairs:
        lone = [(arm, "random") for arm in magnitude] + [(arm, "magnitude") for arm in random]
        lacking = "no keep ratio was trained with both magnitude and random"
        missing = [(arm, (f"pruner.name={other}",)) for arm, other in lone]
        return [finding(group, (*magnitude, *random), {}, "", lacking, missing=missing)]
    by_ratio = [difference(first.accuracy, second.accuracy) for first, second in pairs]
    ratios = [first.keep for first, _ in pairs]
    over = f"at keep ratio {ratios[0]:g}" if len(ratios) == 1 else f"mean over {len(ratios)} keep ratios"
    what = f"accuracy trained and tested with magnitude less that with random, {over}"
    arms = [arm for pair in pairs for arm in pair]
    return [finding(group, arms, mean_by_seed(by_ratio), what)]


def worst_group(group: Group) -> list[Finding]:
    """Accuracy of the worst group of test images at the largest alpha_* less at the smallest, by the oracle."""
    arms, base = group.of("none", "oracle"), group.base
    if not group.of("oracle"):
        return []
    if base is None:
        return [finding(group, arms, {}, "", _NO_BASE, missing=[(arms[0], _WITHOUT)])]
    if any(arm.alpha is None or arm.groups is None for arm in arms):
        return [finding(group, (), {}, "", "accuracy by group, or alpha_*, was not recorded")]
    ordered = sorted(arms, key=lambda arm: arm.alpha or 0)
    least, most = ordered[0], ordered[-1]
    values = difference(most.worst, least.worst)
    what = f"accuracy of the worst group at alpha_* {most.alpha:.2f} less that at {least.alpha:.2f}"
    return [finding(group, (least, most), values, what)]


def finding(
    group: Group,
    arms: Sequence[TrainedStudy],
    values: Mapping[int, float],
    what: str,
    lacking: str | None = None,
    missing: Sequence[tuple[TrainedStudy, tuple[str, ...]]] = (),
    variant: str | None = None,
) -> Finding:
    """About the group's subject. arms: the settings compared. missing: settings to train, as changes of those there.

    variant: the group's, if not given.
    """
    needs = (*needed(arms), *(Need(arm.runs[0], overrides) for arm, overrides in missing))
    return Finding(
        subject=group.subject,
        what=what,
        estimate=Estimate.of_seeds(values),
        lacking=lacking if lacking or values else "no seed was trained in all the settings compared",
        site=group.site,
        variant=variant or group.variant or None,
        images=group.settings[0].runs[0].result.test_count,
        more=partial(commands.in_all, needs, len(values)) if needs else None,
        evidence=tuple(dict.fromkeys(name for study in arms or group.settings for name in study.folders)),
    )


def needed(arms: Iterable[TrainedStudy]) -> list[Need]:
    """Further seeds of settings that are there."""
    return [Need(arm.runs[0], seeds=frozenset(arm.accuracy)) for arm in arms]


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> dict[int, float]:
    return {seed: first[seed] - second[seed] for seed in shared((first, second))}


def mean_by_seed(effects: Sequence[Mapping[int, float]]) -> dict[int, float]:
    return {seed: fmean(effect[seed] for effect in effects) for seed in shared(effects)}


def shared(by_seed: Iterable[Mapping[int, Any]]) -> list[int]:
    """The seeds that all have."""
    return sorted(set.intersection(*map(set, by_seed)))
