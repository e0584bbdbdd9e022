"""What figures of measurements share: means over seeds, panels of settings, and what a caption says of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenprune.claims.kinds import attentions, kind, stages
from tokenprune.claims.readings import by_seed, images, shared_conditions
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


def by_images(studies: Sequence[TrainedStudy]) -> list[tuple[TrainedStudy, ...]]:
    """Settings of the same images, a figure for each: ViTs first, then by depth; at most MOST."""
    groups: dict[str, list[TrainedStudy]] = {}
    for study in studies:
        groups.setdefault(study.title, []).append(study)
    return [tuple(sorted(group, key=_order)[:MOST]) for group in groups.values()]


def _order(study: TrainedStudy) -> tuple[bool, int, str, int]:
    return stages(study) is not None, attentions(study), kind(study), study.depth


def names(studies: Sequence[TrainedStudy]) -> list[str]:
    """What each is in a few words; with a number where several are the same."""
    words = [f"{kind(study)}, depth {study.depth}" for study in studies]
    return [f"{name} ({words[:i].count(name) + 1})" if words.count(name) > 1 else name for i, name in enumerate(words)]


def picture(
    name: str,
    title: str,
    caption: str,
    said: str,
    figure: "Figure",
    studies: Sequence[TrainedStudy],
    measurement: str,
    read: Callable[[MeasureResult], Any],
    *,
    bars: bool = True,
) -> Drawing:
    """A figure of what is read of a measurement of settings. said: its numbers in words, for whoever cannot see it.

    bars: whether it shows intervals.
    """
    svg, png = render(figure)
    families = sorted({study.family for study in studies})
    under = [shared_conditions(measurement, [(study, 1)], read) for study in studies]
    seeds = {len(by_seed(study, measurement, read, at)) for study, at in zip(studies, under, strict=True)}
    looked = {images(study, measurement, at) for study, at in zip(studies, under, strict=True)} - {None}
    counts = [f"Seeds: {_range(seeds)}."] + ([f"Test images: {_range(looked)}."] if looked else [])
    counts += ["Bars: 95 % t interval of the mean over seeds."] if bars and max(seeds, default=0) > 1 else []
    return Drawing(
        slug(name, families[0] if len(families) == 1 else studies[0].title, ""),
        f"{title}: {studies[0].title}",
        f"{caption} {' '.join(counts)}",
        f"{title}. {said}",
        svg,
        png,
        families[0] if len(families) == 1 else None,
    )


def _range(found: Iterable[int | None]) -> str:
    known = sorted(each for each in found if each is not None)
    if not known:
        return "none"
    return f"{known[0]:,}" if known[0] == known[-1] else f"{known[0]:,} to {known[-1]:,}"
