"""Settings of the laboratory, named by what differs from the shipped recipes' defaults."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tokenprune.claims.theory.study import DEFAULT, LaboratoryStudy, rank

Study = TypeVar("Study", bound=LaboratoryStudy[Any], covariant=True)


@dataclass(frozen=True)
class Case(Generic[Study]):
    """One setting of one experiment: its study, and what it is called beside others."""

    setting: Study
    label: str

    @property
    def default(self) -> bool:
        return self.label == DEFAULT

    @property
    def first(self) -> Any:
        return self.setting.first

    @property
    def title(self) -> str:
        return f"{self.first.name}: {self.label}"


def cases(studies: Iterable[LaboratoryStudy[Any]]) -> list[Case[Any]]:
    """By recipe, the default setting first."""
    found = [Case(study, study.label) for study in studies]
    return sorted(found, key=lambda case: (case.first.name, rank(case.first.recipe)))


def of(every: Sequence[Case[Any]], kind: type[Study]) -> list[Case[Study]]:
    """Those of one experiment."""
    return [case for case in every if isinstance(case.setting, kind)]


def names(chosen: Sequence[Case[Any]]) -> list[str]:
    """What each is called in a figure: its label, and the recipe where that is not enough."""
    labels = [case.label for case in chosen]
    found = [case.label if labels.count(case.label) == 1 else case.title for case in chosen]
    return [
        name if found.count(name) == 1 else f"{name} ({case.first.setting})"
        for name, case in zip(found, chosen, strict=True)
    ]
