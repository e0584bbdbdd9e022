"""Studies: replicates of one setting; and which of them differ in chosen keys only."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

from tokenprune.claims.evidence import RunData, answers
from tokenprune.claims.theory.study import LaboratoryStudy
from tokenprune.statistics import wilson

if TYPE_CHECKING:
    import numpy as np

#: How many images, and how long they are trained on: varied together, so that the images seen in all stay the same.
SAMPLES = ("data.train_size", "train.epochs", "train.warmup_epochs")


@dataclass(frozen=True, eq=False)
class TrainedStudy:
    """Replicates of one setting, runs of `tokenprune train` that differ by their seed alone, and the curves on them.

    folders: names of the runs. setting: a digest of what they share; family: of the same without the depth. recipe: its
    name. title: the setting in words; label: in as few words as a table has room for. models: how many were trained.
    depth: blocks of the model. guesses: why a model's accuracy says nothing; None where it is above chance. place:
    where it stands among others. size: images and epochs.
    """

    laboratory: ClassVar[bool] = False
    runs: tuple[RunData, ...]

    @property
    def folders(self) -> tuple[str, ...]:
        return tuple(run.folder.name for run in self.runs)

    @property
    def setting(self) -> str:
        return self.runs[0].result.setting

    @property
    def family(self) -> str:
        return self.runs[0].result.family

    @property
    def recipe(self) -> str:
        return self.runs[0].result.name

    @property
    def depth(self) -> int:
        return self.runs[0].result.model.depth

    @property
    def models(self) -> int:
        return len(self.runs)

    @property
    def place(self) -> tuple[Any, ...]:
        return self.family, self.depth, self.setting

    @cached_property
    def guesses(self) -> str | None:
        results = [run.result for run in self.runs]
        classes = len(results[0].data.classes)
        correct, images = sum(result.test_correct for result in results), sum(result.test_count for result in results)
        if wilson(correct, images)[0] > 1 / classes:
            return None
        model = "unpruned model" if self.method == "none" else f"model with {self.method}"
        return f"the {model} is not above chance: accuracy {correct / images:.3f} of {classes} classes"

    def differences(self, other: Any) -> str:
        """What is otherwise in `other`, in words."""
        return ", ".join(
            f"{key} {value}" for key, value in other.science.items() if self.science.get(key, value) != value
        )

    @property
    def science(self) -> Mapping[str, Any]:
        return self.runs[0].science

    @property
    def method(self) -> str:
        """The pruner in training and test, or none."""
        return self.runs[0].result.pruner

    @property
    def keep(self) -> float:
        return self.runs[0].result.keep_ratio

    @property
    def stays(self) -> str:
        """What stays at the pruner's sites, as the recipe says it."""
        return json.dumps([self.science.get("pruner.keep_ratio", self.keep), self.science.get("pruner.r")])

    @property
    def samples(self) -> int:
        """N: training images."""
        return self.runs[0].result.data.train_count

    @property
    def size(self) -> tuple[int, int]:
        """Training images, and epochs on them."""
        return self.samples, _epochs(self)

    @cached_property
    def alpha(self) -> float | None:
        """alpha_* of the tokens that are kept in test, mean over seeds; None where relevance is unknown."""
        shares = [run.result.kept_relevance for run in self.runs if run.result.kept_relevance is not None]
        return fmean(shares) if shares else self.runs[0].result.data.relevant_share

    @property
    def accuracy(self) -> dict[int, float]:
        """Test accuracy by seed."""
        return {run.result.seed: run.result.test_accuracy for run in self.runs}

    @cached_property
    def answers(self) -> "dict[int, np.ndarray | None]":
        """Which test images are right, 1 or 0, [images], by seed; None where that is unknown."""
        found = {run.result.seed: answers(run.folder.path, run.result) for run in self.runs}
        return {seed: None if rows is None else rows[0].astype(float) for seed, rows in found.items()}

    @property
    def groups(self) -> dict[str, dict[int, float]] | None:
        """Accuracy by group of test images and seed; None where there are none."""
        known = {run.result.seed: run.result.group_accuracy for run in self.runs if run.result.group_accuracy}
        names = dict.fromkeys(name for groups in known.values() for name in groups)
        return {name: {seed: groups[name] for seed, groups in known.items()} for name in names} or None

    @property
    def worst(self) -> dict[int, float]:
        """Accuracy of each seed's worst group of test images; empty where there are none."""
        groups = list((self.groups or {}).values())
        seeds = set.intersection(*map(set, groups)) if groups else set()
        return {seed: min(by_seed[seed] for by_seed in groups) for seed in sorted(seeds)}

    @property
    def start(self) -> str:
        """scratch, cifar100, noisy 0.2 (of CIFAR-10)."""
        return self.runs[0].result.start or "scratch"

    @property
    def scene(self) -> str:
        return self.runs[0].result.data.scene

    @property
    def noise_tokens(self) -> float:
        return self.science.get("data.noise_tokens", 0.0)

    @property
    def title(self) -> str:
        """The images in a few words: scene, tokens replaced by noise, and the source if it is not CIFAR-10."""
        data = self.runs[0].result.data
        words = [self.scene] if self.runs[0].result.epochs else [self.recipe, self.scene]  # adopted: many of one scene
        words += [f"noise tokens {self.noise_tokens:g}"] if self.noise_tokens else []
        words += [Path(data.source).stem] if data.source != "cifar10" else []
        words += [f"images {sha256}" for key, sha256 in self.science.items() if key.startswith("data.images.")]
        return ", ".join(words)

    @property
    def label(self) -> str:
        return self.title

    def fixed(self, vary: Collection[str]) -> str:
        """The recipe without the keys and sections in `vary`, as text that is equal for equal recipes."""
        if not self.science:
            return self.runs[0].result.setting
        sections = tuple(f"{name}." for name in vary)
        kept = {k: value for k, value in self.science.items() if k not in vary and not k.startswith(sections)}
        return json.dumps(kept, sort_keys=True)


Study = TrainedStudy | LaboratoryStudy[Any]


@dataclass(frozen=True)
class Group:
    """Settings of one depth that are compared: they differ in their pruner, or in the keys that were asked for.

    site: of the pruner; None where nobody prunes. variant: the site, with what else places the pruner, in words.
    """

    site: str | None
    variant: str
    settings: tuple[TrainedStudy, ...]

    @property
    def subject(self) -> TrainedStudy:
        """The setting that findings are about."""
        return self.base or self.settings[0]

    @property
    def depth(self) -> int:
        return self.subject.depth

    def of(self, *methods: str) -> list[TrainedStudy]:
        return [setting for setting in self.settings if setting.method in methods]

    @property
    def base(self) -> TrainedStudy | None:
        """Without a pruner, on the most images; of several as long trained the last."""
        return max(self.of("none"), key=lambda setting: (setting.samples, _epochs(setting)), default=None)


def studies(runs: Sequence[RunData]) -> list[TrainedStudy]:
    """The runs by setting, seeds in order; without those that others start from, and whose pruner removed nothing."""
    found: dict[str, list[RunData]] = {}
    judged = [run for run in runs if not run.result.pretraining and run.idle is None]
    for run in sorted(judged, key=lambda run: run.result.seed):
        found.setdefault(run.result.setting, []).append(run)
    return [TrainedStudy(tuple(found[name])) for name in sorted(found)]


def alike(found: Sequence[TrainedStudy], vary: Collection[str]) -> list[list[TrainedStudy]]:
    """Groups of settings that differ in `vary` alone, which names keys (`train.epochs`) and sections (`start`)."""
    groups: dict[str, list[TrainedStudy]] = {}
    for setting in found:
        groups.setdefault(setting.fixed(vary), []).append(setting)
    return list(groups.values())


def pruned(found: Sequence[TrainedStudy], vary: Collection[str] = ()) -> list[Group]:
    """Groups, each with one site, of settings that differ in their pruner and in `vary`; none where nobody prunes."""
    groups = []
    for group in alike([setting for setting in found if setting.science], ("pruner", *vary)):
        sites: dict[str, list[TrainedStudy]] = {}
        for setting in group:
            if setting.method != "none":
                sites.setdefault(_placed(setting.science), []).append(setting)
        whole = [setting for setting in group if setting.method == "none"]
        groups += [
            Group(arms[0].science["pruner.site"], variant, tuple(whole + sorted(arms, key=_order)))
            for variant, arms in sorted(sites.items())
        ]
    return groups


def observed(found: Sequence[TrainedStudy]) -> list[TrainedStudy]:
    """The settings that speak for a trained model as such: no pruner, no start, and the most images."""
    return largest([setting for setting in found if setting.method == "none" and setting.start == "scratch"])


def largest(found: Sequence[TrainedStudy]) -> list[TrainedStudy]:
    """The settings on the most images, among those that differ in pruner, number of images and length alone."""
    groups = alike(found, ("pruner", *SAMPLES))
    most = {id(setting): max(other.samples for other in group) for group in groups for setting in group}
    return [setting for setting in found if setting.samples == most[id(setting)]]


def measured(found: Sequence[TrainedStudy]) -> list[TrainedStudy]:
    """The settings on which pruners were measured; where there are none, those on which they ought to be."""
    return [setting for setting in found if any(run.prunes for run in setting.runs)] or observed(found)


def each(
    find: Callable[[TrainedStudy], list[Any]], chosen: Callable[[Sequence[TrainedStudy]], list[TrainedStudy]]
) -> Callable[[Sequence[TrainedStudy]], list[Any]]:
    """A claim's `find` from one that reads a single setting."""
    return lambda found: [finding for setting in chosen(found) for finding in find(setting)]


def _order(setting: TrainedStudy) -> tuple[str, float, int]:
    return setting.method, -setting.keep, setting.samples


def _epochs(setting: TrainedStudy) -> int:
    return setting.runs[0].result.epochs


def _placed(science: Mapping[str, Any]) -> str:
    site, epochs = science["pruner.site"], science["pruner.anneal_epochs"]
    scores = science["pruner.input_scores"] if site == "input" else "last"
    words = [f"site {site}" if scores == "last" else f"site {site}:{scores}"]
    words += [f"annealed over {epochs:g} epochs"] if epochs else []
    words += [f"after {first:g} with all tokens"] if (first := science.get("pruner.anneal_from")) else []
    options = "pruner.options."
    words += [f"{key.removeprefix(options)} {value}" for key, value in science.items() if key.startswith(options)]
    return ", ".join(words)
