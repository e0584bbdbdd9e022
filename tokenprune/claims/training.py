"""Claims about models that are trained and tested with a pruner: findings from the runs' test accuracy."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np

from tokenprune.claims import commands
from tokenprune.claims.accuracy import UNKNOWN, margin, paired
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


def against_none(group: Group, method: str, little: bool = False) -> list[Finding]:
    """Accuracy with `method` at the measured ratio nearest alpha_* of all tokens, less that without a pruner.

    Of two ratios as near, the larger. little: support is a loss below `margin`.
    """
    arms, base = group.of(method), group.base
    if not arms:
        return []
    if base is None:
        return [finding(group, arms, {}, "", _NO_BASE, missing=[(arms[0], _WITHOUT)])]
    alpha = base.alpha
    if alpha is None:
        return [finding(group, (), {}, "", UNKNOWN)]
    arm = _nearest(arms, alpha)
    patches = arm.runs[0].result.model.patches
    relevant = None if arm.alpha is None else kept(arm.keep, patches) / patches * arm.alpha / alpha
    keeps = "" if relevant is None else f" (which keeps {relevant:.0%} of the relevant area)"
    what = f"accuracy trained and tested with {method} at keep ratio {arm.keep:g}{keeps} less that with all tokens"
    found = less(group, [(arm, base)], (base, arm), what)
    return [replace(found, support=(-margin(base), None)) if little else found]


def _nearest(arms: Sequence[TrainedStudy], alpha: float) -> TrainedStudy:
    """The arm whose keep ratio is nearest alpha_*; of two as near, the larger, which stands first."""
    return min(arms, key=lambda arm: abs(arm.keep - alpha))


def magnitude_against_random(group: Group) -> list[Finding]:
    """Accuracy with magnitude less that with random, trained and tested so, mean over their common ratios."""
    magnitude, random = group.of("magnitude"), group.of("random")
    if not magnitude and not random:
        return []
    pairs = [(first, second) for first in magnitude for second in random if first.stays == second.stays]
    if not pairs:
        lone = [(arm, "random") for arm in magnitude] + [(arm, "magnitude") for arm in random]
        lacking = "no keep ratio was trained with both magnitude and random"
        missing = [(arm, (f"pruner.name={other}",)) for arm, other in lone]
        return [finding(group, (*magnitude, *random), {}, "", lacking, missing=missing)]
    ratios = [first.keep for first, _ in pairs]
    over = f"at keep ratio {ratios[0]:g}" if len(ratios) == 1 else f"mean over {len(ratios)} keep ratios"
    what = f"accuracy trained and tested with magnitude less that with random, {over}"
    arms = [arm for pair in pairs for arm in pair]
    return [less(group, pairs, arms, what)]


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


def less(
    group: Group,
    pairs: Sequence[tuple[TrainedStudy, TrainedStudy]],
    arms: Sequence[TrainedStudy],
    what: str,
    variant: str | None = None,
) -> Finding:
    """Accuracy of the first of each pair less that of the second, mean over pairs; arms as in `finding`."""
    values = mean_by_seed([difference(first.accuracy, second.accuracy) for first, second in pairs])
    images = paired([(_answers(pairs, 0, seed), _answers(pairs, 1, seed)) for seed in values])
    return finding(group, arms, values, what, variant=variant, images=images)


def _answers(pairs: Sequence[tuple[TrainedStudy, TrainedStudy]], which: int, seed: int) -> np.ndarray | None:
    """Share of the pairs in which one of both was right, by test image; None where that is unknown."""
    known = [found for pair in pairs if (found := pair[which].answers[seed]) is not None]
    if len(known) < len(pairs) or len({len(found) for found in known}) > 1:
        return None
    return np.mean(known, axis=0)


def worst_by_magnitude(group: Group) -> list[Finding]:
    """Accuracy of the worst group with magnitude at the ratio nearest alpha_* of all tokens, less without a pruner.

    Beside it, the same with random at that ratio.
    """
    arms, base = group.of("magnitude"), group.base
    if not arms:
        return []
    if base is None:
        return [finding(group, arms, {}, "", _NO_BASE, missing=[(arms[0], _WITHOUT)])]
    alpha = base.alpha
    if alpha is None or not base.worst:
        return [finding(group, (), {}, "", "accuracy by group, or alpha_*, was not recorded")]
    arm = _nearest(arms, alpha)
    what = f"accuracy of the worst group with magnitude at keep ratio {arm.keep:g} less that with all tokens"
    found = finding(group, (base, arm), difference(arm.worst, base.worst), what)
    random = next((each for each in group.of("random") if each.stays == arm.stays), None)
    others = list(difference(random.worst, base.worst).values()) if random else []
    return [replace(found, beside=f"{100 * fmean(others):+.1f} points with random") if others else found]


def finding(
    group: Group,
    arms: Sequence[TrainedStudy],
    values: Mapping[int, float],
    what: str,
    lacking: str | None = None,
    missing: Sequence[tuple[TrainedStudy, tuple[str, ...]]] = (),
    variant: str | None = None,
    images: float | None = None,
) -> Finding:
    """About the group's subject. arms: the settings compared. missing: settings to train, as changes of those there.

    variant: the group's, if not given. images: variance of the effect from the choice of test images, if known.
    """
    needs = (*needed(arms), *(Need(arm.runs[0], overrides) for arm, overrides in missing))
    return Finding(
        subject=group.subject,
        what=what,
        estimate=Estimate.of_seeds(values, images),
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
