"""Settings of the laboratory, named by what differs from the shipped recipes' defaults."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from tokenprune.claims.theory.study import LaboratoryStudy

Study = TypeVar("Study", bound=LaboratoryStudy[Any])


def of(every: Iterable[LaboratoryStudy[Any]], kind: type[Study]) -> list[Study]:
    """Those of one experiment."""
    return [study for study in every if isinstance(study, kind)]


def names(chosen: Sequence[LaboratoryStudy[Any]]) -> list[str]:
    """What each is called in a figure: its label, and the recipe where that is not enough."""
    labels = [study.label for study in chosen]
    found = [study.label if labels.count(study.label) == 1 else study.name for study in chosen]
    return [
        name if found.count(name) == 1 else f"{name} ({study.setting})"
        for name, study in zip(found, chosen, strict=True)
    ]
