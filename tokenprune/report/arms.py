"""The trained models that an experiment compares: what a verdict's details say of them, as panels of a figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tokenprune.claims import Verdict
from tokenprune.report.series import Interval, Trained, over_seeds, recipe_names


@dataclass(frozen=True)
class Arm:
    """Models trained and tested alike but for the seed.

    keep: share of the patch tokens. alpha: label-relevant share of those kept. accuracy: by seed. groups: accuracy
    by group of test images and seed, None where there are no groups.
    """

    method: str
    keep: float
    alpha: float | None
    samples: int
    start: str
    accuracy: Mapping[Any, float]
    groups: Mapping[str, Mapping[Any, float]] | None
    runs: tuple[str, ...]

    @property
    def mean(self) -> Interval:
        return over_seeds(list(self.accuracy.values()))

    @property
    def worst(self) -> Interval | None:
        """Accuracy of each seed's worst group."""
        if not self.groups:
            return None
        seeds = set.intersection(*(set(by_seed) for by_seed in self.groups.values()))
        return over_seeds([min(by_seed[seed] for by_seed in self.groups.values()) for seed in sorted(seeds)])

    def of_group(self, name: str) -> Interval | None:
        values = (self.groups or {}).get(name)
        return over_seeds(list(values.values())) if values else None


@dataclass(frozen=True)
class Compared:
    """One depth of an experiment. needed: N at the middle target by alpha_*, where the claim is about that."""

    depth: int
    arms: tuple[Arm, ...]
    needed: Mapping[float, float]

    def by(self, method: str) -> list[Arm]:
        """The method's arms, from the smallest ratio up."""
        return sorted((arm for arm in self.arms if arm.method == method), key=lambda arm: arm.keep)

    @property
    def seeds(self) -> int:
        return max(len(arm.accuracy) for arm in self.arms)


@dataclass(frozen=True)
class Experiment:
    """What one figure shows. names: of the recipes. images: test images, notes: what a reader must know of them."""

    number: str
    family: str
    variant: str  # the pruners' site, with what else places them
    data: str
    names: tuple[str, ...]
    panels: tuple[Compared, ...]
    images: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def samples(self) -> list[int]:
        """Numbers of training images."""
        return sorted({arm.samples for panel in self.panels for arm in panel.arms})

    @property
    def methods(self) -> list[str]:
        known = ("oracle", "magnitude", "random", "none")
        found = {arm.method for panel in self.panels for arm in panel.arms}
        return sorted(found, key=lambda method: (known.index(method) if method in known else len(known), method))


def experiments(verdicts: Iterable[Verdict], trained: Sequence[Trained]) -> list[Experiment]:
    """Every experiment, family and variant whose verdicts say which models they compare, in their order."""
    results = {run.folder: run.result for run in trained}
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.details.get("arms"):
            groups.setdefault((verdict.experiment, verdict.family, variant_of(verdict)), []).append(verdict)
    found = []
    for (number, family, variant), judged in sorted(groups.items()):
        panels = [
            _compared(depth, [v for v in judged if v.depth == depth]) for depth in sorted({v.depth for v in judged})
        ]
        names = {name for panel in panels for arm in panel.arms for name in arm.runs if name in results}
        runs = [results[name] for name in sorted(names)]
        found.append(
            Experiment(
                number,
                family,
                variant,
                judged[0].title,
                recipe_names(runs) or tuple(dict.fromkeys(v.recipe for v in judged)),
                tuple(panels),
                tuple(sorted({run.test_count for run in runs})),
                tuple(sorted({run.data.note for run in runs if run.data.note})),
            )
        )
    return found


def variant_of(verdict: Verdict) -> str:
    """What pruners that are compared share; starts are compared whatever tells them apart."""
    return (verdict.variant or verdict.site or "") if verdict.site else ""


def alphas(panels: Iterable[Compared]) -> dict[tuple[str, float], float]:
    """alpha_* of each (method, ratio) that was trained with several N: no pruner's and the oracle's, rising."""
    found: dict[tuple[str, float], list[Arm]] = {}
    for arm in (arm for panel in panels for arm in panel.arms):
        if arm.method in ("none", "oracle") and arm.alpha is not None:
            found.setdefault((arm.method, arm.keep), []).append(arm)
    several = {key: arms for key, arms in found.items() if len({arm.samples for arm in arms}) > 1}
    shares = {key: fmean(arm.alpha or 0 for arm in arms) for key, arms in several.items()}
    return dict(sorted(shares.items(), key=lambda item: item[1]))


def _compared(depth: int, verdicts: Sequence[Verdict]) -> Compared:
    """The arms of all claims of an experiment at one depth, each once."""
    arms: dict[tuple[str, float, int, str], Arm] = {}
    for record in (record for verdict in verdicts for record in verdict.details["arms"]):
        arm = Arm(**{**record, "runs": tuple(record["runs"])})
        arms.setdefault((arm.method, arm.keep, arm.samples, arm.start), arm)
    needed = {float(alpha): count for v in verdicts for alpha, count in v.details.get("needed", {}).items()}
    return Compared(depth, tuple(arms.values()), needed)
