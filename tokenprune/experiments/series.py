"""From single measured points to curves: draws averaged within a run, runs of other seeds as replicates."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from tokenprune.claims import RunData
from tokenprune.claims.accuracy import curve_name
from tokenprune.claims.images import mark_of
from tokenprune.drawing.numbers import Interval, over_seeds
from tokenprune.drawing.style import slug
from tokenprune.runs import PrunePoint, PruneResult, TrainResult
from tokenprune.statistics import paired_interval, wilson

_Item = TypeVar("_Item")
_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Measured:
    """One run x method x draw x ratio, with all that says what was measured."""

    folder: str
    run: TrainResult
    prune: PruneResult
    prune_id: str  # name of the prune's folder
    point: PrunePoint

    @property
    def line(self) -> str:
        return curve_name(self.prune.method, self.prune.options)


@dataclass(frozen=True, order=True)
class Conditions:
    """What all curves of one figure share; a curve never mixes sites, settings, precisions or devices."""

    family: str
    site: str
    finetune_epochs: int
    precision: str
    device: str

    @classmethod
    def of(cls, run: TrainResult, prune: PruneResult) -> "Conditions":
        return cls(run.family, prune.written_site, prune.finetune_epochs, prune.precision, prune.device)

    def describe(self) -> str:
        epochs = "1 epoch" if self.finetune_epochs == 1 else f"{self.finetune_epochs} epochs"
        tuned = f", {epochs} of fine-tuning at each ratio, as of the unpruned model" if self.finetune_epochs else ""
        images = f", {mark}" if (mark := mark_of(self.family)) else ""
        return f"site {self.site}{tuned}, {self.precision} on {self.device}{images}"


@dataclass(frozen=True)
class Mark:
    """One method at one ratio and depth, over all its seeds. Shares and accuracies in [0, 1], None where unknown."""

    keep_ratio: float
    keep: str  # as it was asked: the ratio, 0.9/0.7/0.5 or r=8
    kept: float  # realised share of the image's patches after the last site
    accuracy: Interval  # t interval over seeds; Wilson where there is one seed
    difference: Interval  # to the unpruned model; t interval over seeds; paired on images where there is one
    p_low: float  # smallest and largest McNemar p of the points averaged here
    p_high: float
    flops: float
    ideal_speedup: float
    images_per_second: float | None
    speedup: float | None
    kept_relevance: Interval | None
    seeds: int
    draws: int  # per seed, at most
    count: int  # test images


@dataclass(frozen=True)
class MethodCurve:
    """A method's marks at a depth, from the highest ratio down."""

    name: str
    method: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Panel:
    """One depth of a figure."""

    depth: int
    lines: tuple[MethodCurve, ...]
    unpruned: Interval
    unpruned_flops: float
    unpruned_images_per_second: float | None
    relevant_share: float | None  # alpha_*
    seeds: int


@dataclass(frozen=True)
class Curves:
    """One figure's worth of curves, a panel per depth."""

    conditions: Conditions
    suffix: str  # of file names: family and site, and a number where that is not unique
    title: str  # names of the recipes
    panels: tuple[Panel, ...]
    notes: tuple[str, ...]  # what a reader must know of the data
    untimed: tuple[str, ...]  # why images/s are missing

    @property
    def lines(self) -> list[str]:
        """Names of all curves."""
        return sorted({line.name for panel in self.panels for line in panel.lines}, key=by_method)


def measured(runs: Iterable[RunData]) -> list[Measured]:
    """Everything that was measured on the runs."""
    return [
        Measured(run.folder.name, run.result, prune, path.name, point)
        for run in runs
        for path, prune in run.prunes
        for point in prune.points
    ]


def by_method(name: str) -> tuple[int, str]:
    """Sort key of curve names: the three that everything is compared with first, then by name."""
    first = ("oracle", "magnitude", "random")
    method = name.partition(" ")[0]
    return (first.index(method) if method in first else len(first)), name


def recipe_names(runs: Iterable[TrainResult]) -> str:
    """Names of the runs' recipes, from the shallowest model's up."""
    return " + ".join(dict.fromkeys(name for _, name in sorted({(run.model.depth, run.name) for run in runs})))


def curves(found: Iterable[Measured]) -> list[Curves]:
    """Every group of curves, in the order of families and sites."""
    groups = sorted(_by(found, lambda m: Conditions.of(m.run, m.prune)).items())
    names = [slug(conditions.family, conditions.site) for conditions, _ in groups]
    return [
        _curves(conditions, points, f"{name}-variant-{same + 1}" if (same := names[:i].count(name)) else name)
        for i, ((conditions, points), name) in enumerate(zip(groups, names, strict=True))
    ]


def _curves(conditions: Conditions, measured: list[Measured], suffix: str) -> Curves:
    panels = [_panel(depth, found) for depth, found in sorted(_by(measured, lambda m: m.run.model.depth).items())]
    return Curves(
        conditions,
        suffix,
        recipe_names(m.run for m in measured),
        tuple(panels),
        tuple(sorted({m.run.data.note for m in measured if m.run.data.note})),
        tuple(sorted({m.prune.untimed for m in measured if m.prune.untimed})),
    )


def _panel(depth: int, measured: list[Measured]) -> Panel:
    lines = [
        MethodCurve(
            name,
            found[0].prune.method,
            marks([[m.point for m in each] for each in _by(found, lambda m: m.folder).values()], found[0].prune.count),
        )
        for name, found in sorted(_by(measured, lambda m: m.line).items(), key=lambda item: by_method(item[0]))
    ]
    baselines = {m.folder: m.prune for m in measured}
    first = next(iter(baselines.values()))
    speeds = [m.prune.baseline_images_per_second for m in measured if m.prune.baseline_images_per_second is not None]
    return Panel(
        depth,
        tuple(lines),
        over_seeds(
            [prune.baseline_accuracy for prune in baselines.values()], wilson(first.baseline_correct, first.count)
        ),
        measured[0].run.model.flops,
        fmean(speeds) if speeds else None,
        _mean(m.run.data.relevant_share for m in measured),
        len(baselines),
    )


def marks(runs: Sequence[Sequence[PrunePoint]], count: int) -> tuple[Mark, ...]:
    """A mark per ratio, from the highest down, of one method's points in each run. count: test images."""
    asked = sorted({(point.keep_ratio, point.asked) for run in runs for point in run}, reverse=True)
    found = (
        (keep, [[point for point in run if (point.keep_ratio, point.asked) == keep] for run in runs]) for keep in asked
    )
    return tuple(_mark(*keep, [run for run in at if run], count) for keep, at in found)


def _mark(ratio: float, keep: str, runs: Sequence[Sequence[PrunePoint]], count: int) -> Mark:
    points = [point for run in runs for point in run]
    accuracy_bounds = difference_bounds = None
    if len(runs) == 1:  # several draws of one model: as wide as for one of them, since they share model and images
        accuracy_bounds = wilson(round(fmean(p.correct for p in points)), count)
        difference_bounds = paired_interval(
            round(fmean(p.lost for p in points)), round(fmean(p.gained for p in points)), count
        )
    relevance = [fmean(values) for run in runs if (values := _known(p.kept_relevance for p in run))]
    return Mark(
        keep_ratio=ratio,
        keep=keep,
        kept=fmean(p.realised[-1] for p in points),
        accuracy=over_seeds([fmean(p.accuracy for p in run) for run in runs], accuracy_bounds),
        difference=over_seeds([fmean(p.difference for p in run) for run in runs], difference_bounds, least=-1.0),
        p_low=min(p.mcnemar_p for p in points),
        p_high=max(p.mcnemar_p for p in points),
        flops=fmean(p.flops for p in points),
        ideal_speedup=fmean(p.ideal_speedup for p in points),
        images_per_second=_mean(p.images_per_second for p in points),
        speedup=_mean(p.speedup for p in points),
        kept_relevance=over_seeds(relevance) if relevance else None,
        seeds=len(runs),
        draws=max(map(len, runs)),
        count=count,
    )


def _by(items: Iterable[_Item], key: Callable[[_Item], _Key]) -> dict[_Key, list[_Item]]:
    groups: dict[_Key, list[_Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return fmean(known) if known else None
