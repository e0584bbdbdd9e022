"""Settings of the laboratory, told by what differs from the shipped recipes' defaults."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tokenprune.claims.theory.study import DEFAULT, LaboratoryStudy, laboratory_studies, rank
from tokenprune.theory.folder import TheoryFolder
from tokenprune.theory.result import TheoryResult

Result = TypeVar("Result", bound=TheoryResult)
Other = TypeVar("Other", bound=TheoryResult)


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
    found = [Case(study, study.label) for study in studies]
    return sorted(found, key=lambda case: (case.first.name, rank(case.first.recipe)))


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
