"""Settings of the laboratory, told by what differs from the shipped recipes' defaults."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from tokenprune import theory
from tokenprune.claims.theory.study import LaboratoryStudy, flat, laboratory_studies, said
from tokenprune.theory.folder import TheoryFolder
from tokenprune.theory.result import TheoryResult

Result = TypeVar("Result", bound=TheoryResult)
Other = TypeVar("Other", bound=TheoryResult)

DEFAULT = "default setting"

_SECTIONS = ("data.", "model.", "train.")
#: Of the experiments' own sections: how a model is judged, not which models there are.
_JUDGED = ("success", "test_samples")


@dataclass(frozen=True)
class Case(Generic[Result]):
    """One setting of one experiment: its results over seeds, and what it is called beside others."""

    setting: LaboratoryStudy[Result]
    label: str

    @property
    def default(self) -> bool:
        return self.label == DEFAULT

    @property
    def first(self) -> Result:
        return self.setting.first

    @property
    def title(self) -> str:
        return f"{self.first.name}: {self.label}"


def cases(runs: Iterable[tuple[TheoryFolder, TheoryResult]]) -> list[Case[Any]]:
    """Runs pooled over seeds; by recipe, the default setting first."""
    studies = laboratory_studies((folder.name, result) for folder, result in runs)
    found = [Case(study, label(study.first.recipe)) for study in studies]
    return sorted(found, key=lambda case: (case.first.name, rank(case.first.recipe)))


def label(recipe: dict[str, Any]) -> str:
    """What is otherwise than in the default recipe, in words."""
    standard = _standard(recipe["experiment"])
    words = [_words(key, value, standard[key]) for key, value in _differences(recipe).items()]
    return ", ".join(words) or DEFAULT


def speed_only(recipe: dict[str, Any]) -> bool:
    """Whether at most the batch and the step size are otherwise than in the default recipe."""
    return set(_differences(recipe)) <= {"train.batch_size", "train.step_size"}


def rank(recipe: dict[str, Any]) -> tuple[int, list[int]]:
    """Settings with fewer differences first, then by the order of the keys in a recipe."""
    keys = list(flat(recipe))
    found = [keys.index(key) for key in _differences(recipe)]
    return len(found), found


def of(every: Sequence[Case[Any]], kind: type[Other]) -> list[Case[Other]]:
    """Those of one experiment."""
    return [case for case in every if isinstance(case.first, kind)]


def names(chosen: Sequence[Case[Any]]) -> list[str]:
    """What each is called in a figure: its label, and the recipe where that is not enough."""
    labels = [case.label for case in chosen]
    found = [case.label if labels.count(case.label) == 1 else case.title for case in chosen]
    return [
        name if found.count(name) == 1 else f"{name} ({case.first.setting})"
        for name, case in zip(found, chosen, strict=True)
    ]


def _differences(recipe: dict[str, Any]) -> dict[str, Any]:
    standard = _standard(recipe["experiment"])
    return {
        key: value
        for key, value in flat(recipe).items()
        if key in standard and value != standard[key] and _counts(recipe["experiment"], key)
    }


def _counts(experiment: str, key: str) -> bool:
    if key == "model.kind" or (experiment == "time" and key == "train.step_size"):  # an axis there
        return False
    return key.startswith(_SECTIONS) or key.rpartition(".")[2] in _JUDGED


@cache
def _standard(experiment: str) -> dict[str, Any]:
    return flat(theory.experiment(experiment).recipe.model_validate({"experiment": experiment}).science())


def _words(key: str, value: Any, standard: Any) -> str:
    if key == "train.step_size":  # experiments differ in theirs
        ratio = value / standard
        return {0.5: "half the step size", 2.0: "twice the step size"}.get(ratio, f"step size times {ratio:.3g}")
    last = key.rpartition(".")[2]
    if last == "test_samples":
        return f"{value} test samples"
    return f"success at {value:g}" if last == "success" else said(key, value)
