"""What figures of measurements share: means over seeds, panels of settings, and what a caption says of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenprune.claims.kinds import attentions, kind, stages
from tokenprune.claims.readings import by_seed, images, shared_conditions, whole
from tokenprune.claims.study import TrainedStudy
from tokenprune.drawing.numbers import Interval
from tokenprune.drawing.style import BLUE, GREEN, MUTED, ORANGE, PURPLE, RED, SKY, Drawing, render, slug
from tokenprune.runs import MeasureResult
from tokenprune.statistics import mean_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Panels that a figure has room for.
MOST = 9
#: (colour, marker) of the units of a network.
UNITS = {"attention": (BLUE, "o"), "MLP": (ORANGE, "s"), "convolution": (GREEN, "^")}
#: Of settings side by side.
LOOKS = [
    (BLUE, "o", "-"),
    (RED, "D", "--"),
    (GREEN, "^", ":"),
    (PURPLE, "s", "-."),
    (ORANGE, "v", "-"),
    (SKY, "P", "--"),
]
OTHER = (MUTED, ".")


def over(values: Iterable[np.ndarray]) -> list[Interval]:
    """Means over seeds with their intervals, place by place; of arrays as long as the first."""
    found = list(values)
    alike = [each for each in found if each.shape == found[0].shape]
    return [Interval(*mean_interval(column.tolist())) for column in np.array(alike).T]


def shown(
    studies: Sequence[TrainedStudy], measurement: str, read: Callable[[MeasureResult], Any]
) -> list[tuple[TrainedStudy, ...]]:
    """Settings without a pruner that say what is read, those of the same images together: at most MOST, ViTs first."""
    groups: dict[str, list[TrainedStudy]] = {}
    for study in whole(studies, measurement):
        if by_seed(study, measurement, read):
            groups.setdefault(study.title, []).append(study)
    return [tuple(sorted(group, key=_order)[:MOST]) for group in groups.values()]


def _order(study: TrainedStudy) -> tuple[bool, int, str, int]:
    return stages(study) is not None, attentions(study), kind(study), study.depth


def names(studies: Sequence[TrainedStudy]) -> list[str]:
    """What each is in a few words; with a number where several are the same."""
    words = [f"{kind(study)}, depth {study.depth}{_changes(study)}" for study in studies]
    return [f"{name} ({words[:i].count(name) + 1})" if words.count(name) > 1 else name for i, name in enumerate(words)]


def _changes(study: TrainedStudy) -> str:
    smoothing, tiles = study.science.get("train.label_smoothing"), study.science.get("data.shuffle")
    return (f", smoothing {smoothing:g}" if smoothing else "") + (", tiles moved" if tiles else "")


def picture(
    name: str,
    title: str,
    caption: str,
    said: str,
    figure: "Figure",
    studies: Sequence[TrainedStudy],
    measurement: str | None = None,
    read: Callable[[MeasureResult], Any] = lambda result: result,
    *,
    bars: bool = True,
) -> Drawing:
    """A figure of settings, and of what is read of a measurement of them, else of their accuracy.

    said: its numbers in words, for whoever cannot see it. bars: whether it shows intervals.
    """
    svg, png = render(figure)
    seeds, looked = set(), set()
    for study in studies:
        under = shared_conditions(measurement, [(study, 1)], read) if measurement else "{}"
        seeds.add(len(by_seed(study, measurement, read, under)) if measurement else len(study.runs))
        looked.add(images(study, measurement, under) if measurement else study.runs[0].result.test_count)
    counts = [f"Seeds: {_range(seeds)}."]
    counts += [f"Test images: {_range(looked)}."] if None not in looked else []
    counts += ["Bars: 95 % t interval of the mean over seeds."] if bars and max(seeds, default=0) > 1 else []
    families = {study.family for study in studies}
    family = families.pop() if len(families) == 1 else None
    return Drawing(
        slug(name, family or studies[0].title),
        f"{title}: {studies[0].title}",
        f"{caption} {' '.join(counts)}",
        f"{title}. {said}",
        svg,
        png,
        family,
    )


def _range(found: Iterable[int | None]) -> str:
    known = sorted(each for each in found if each is not None)
    return f"{known[0]:,}" if known[0] == known[-1] else f"{known[0]:,} to {known[-1]:,}"
