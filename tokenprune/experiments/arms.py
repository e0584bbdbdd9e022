"""Settings that an experiment compares, a panel of its figure per depth, and what its caption says of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tokenprune.claims.study import Group, TrainedStudy
from tokenprune.drawing.numbers import Interval, over_seeds
from tokenprune.drawing.style import Drawing, render, slug
from tokenprune.experiments.series import recipe_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Shown = TypeVar("Shown")
_METHODS = ("oracle", "magnitude", "random", "none")


@dataclass(frozen=True)
class Compared:
    """Settings of one family, under one variant of their pruners, by depth."""

    family: str
    variant: str
    groups: tuple[Group, ...]

    @property
    def arms(self) -> list[TrainedStudy]:
        return [arm for group in self.groups for arm in group.settings]

    @property
    def titles(self) -> list[str]:
        return [f"depth {group.depth}" for group in self.groups]

    @property
    def samples(self) -> list[int]:
        """Numbers of training images."""
        return sorted({arm.samples for arm in self.arms})

    @property
    def methods(self) -> list[str]:
        found = {arm.method for arm in self.arms}
        return sorted(found, key=lambda name: (_METHODS.index(name) if name in _METHODS else len(_METHODS), name))


def compared(
    studies: Sequence[TrainedStudy], groups: Callable[[Sequence[TrainedStudy]], Iterable[Group]]
) -> list[Compared]:
    """Every family and variant of the groups that are found among the studies of each depth."""
    found: dict[tuple[str, str], list[Group]] = {}
    for depth in sorted({study.depth for study in studies}):
        for group in groups([study for study in studies if study.depth == depth]):
            found.setdefault((group.subject.family, group.variant), []).append(group)
    return [Compared(*key, tuple(members)) for key, members in sorted(found.items())]


def shown(
    groups: Callable[[Sequence[TrainedStudy]], Iterable[Group]], show: Callable[[Compared], Shown]
) -> Callable[..., list[Shown]]:
    """An experiment's tables, one for each family and variant of the groups."""
    return lambda studies, verdicts: [show(found) for found in compared(studies, groups)]


def drawn(
    groups: Callable[[Sequence[TrainedStudy]], Iterable[Group]], draw: Callable[[Compared], Drawing]
) -> Callable[..., list[Callable[[], Drawing]]]:
    """An experiment's figures, one for each family and variant of the groups."""
    return shown(groups, lambda found: partial(draw, found))


def mean(arm: TrainedStudy) -> Interval:
    """Test accuracy over seeds."""
    return over_seeds(list(arm.accuracy.values()))


def worst(arm: TrainedStudy) -> Interval | None:
    """Accuracy of each seed's worst group of test images; None where there are no groups."""
    return over_seeds(list(arm.worst.values())) if arm.worst else None


def of_group(arm: TrainedStudy, name: str) -> Interval | None:
    values = (arm.groups or {}).get(name)
    return over_seeds(list(values.values())) if values else None


def by_keep(group: Group, *methods: str) -> list[TrainedStudy]:
    """Those trained with the methods, from the smallest ratio up."""
    return sorted(group.of(*methods), key=lambda arm: arm.keep)


def drawing(name: str, found: Compared, figure: "Figure", title: str, caption: str, extra: str = "") -> Drawing:
    """A figure of compared settings. extra: further numbers in words, for whoever cannot see it."""
    svg, png = render(figure)
    names = recipe_names(run.result for arm in found.arms for run in arm.runs)
    size = f", {found.samples[0]:,} training images" if len(found.samples) == 1 else ""
    return Drawing(
        slug(name, found.family, found.variant.removeprefix("site ")),
        f"{title}: {names}, {found.groups[0].subject.title}{size}",
        f"{caption} {_conditions(found)}",
        f"{title}. {' '.join(_said(found))}{extra}",
        svg,
        png,
        found.family,
        found.variant or None,
    )


def seeds(counts: Sequence[tuple[int, int]]) -> str:
    """counts: (depth, seeds) of every panel."""
    if len({count for _, count in counts}) == 1 and len(counts) > 1:
        return f"Seeds: {counts[0][1]} at every depth."
    return f"Seeds: {', '.join(f'{count} at depth {depth}' for depth, count in counts)}."


def _conditions(found: Compared) -> str:
    """Seeds, bars, images, and what a reader must know of them."""
    counts = [(group.depth, max(len(arm.runs) for arm in group.settings)) for group in found.groups]
    bars = " Bars: 95 % t interval of the mean over seeds." if max(count for _, count in counts) > 1 else ""
    results = [run.result for arm in found.arms for run in arm.runs]
    images = " or ".join(f"{count:,}" for count in sorted({result.test_count for result in results}))
    notes = "".join(f" {note.rstrip('.')}." for note in sorted({r.data.note for r in results if r.data.note}))
    data = found.groups[0].subject.title
    parts = [
        f"{data[:1].upper()}{data[1:]} images" + (f", {found.variant}" if found.variant else ""),
        f"{found.samples[0]:,} training images" if len(found.samples) == 1 else None,
        f"{images} test images",
    ]
    return f"{seeds(counts)}{bars} {'; '.join(part for part in parts if part)}.{notes}"


def _said(found: Compared) -> Iterator[str]:
    """The figure's numbers in words."""
    sizes, starts = len(found.samples) > 1, len({arm.start for arm in found.arms}) > 1
    for group in found.groups:
        said = []
        for arm in group.settings:
            parts = ["all tokens" if arm.method == "none" else f"{arm.method} at keep {arm.keep:g}"]
            parts += [f"{arm.samples:,} images"] if sizes else []
            parts += [f"start {arm.start}"] if starts else []
            said.append(f"{', '.join(parts)} {100 * mean(arm).value:.1f} %")
        yield f"Depth {group.depth}: {'; '.join(said)}."
