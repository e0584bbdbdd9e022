"""What an experiment is: its claims, the sweep that makes its runs, and the figures and tables that show them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokenprune.claims import Claim, Verdict
from tokenprune.drawing.style import Drawing
from tokenprune.drawing.table import Table

#: What draws one figure. Call it inside `style()`; it raises TokenpruneError where a file that it reads is damaged.
Figure = Callable[[], Drawing]


def nothing(studies: Sequence[Any], verdicts: Sequence[Verdict]) -> list[Any]:
    """No figure, no table."""
    return []


@dataclass(frozen=True)
class Experiment:
    """Everything that is one experiment's own.

    number: I1 to I7 of trained models, T1 to T9 of the laboratory. sweep: the shipped sweep that makes its runs.
    figures, tables: what shows the studies, with the verdicts on them; studies of trained models or of the laboratory.
    """

    number: str
    title: str
    sweep: str | None
    claims: tuple[Claim, ...]
    figures: Callable[[Sequence[Any], Sequence[Verdict]], list[Figure]] = nothing
    tables: Callable[[Sequence[Any], Sequence[Verdict]], list[Table]] = nothing

    def __post_init__(self) -> None:
        object.__setattr__(self, "claims", tuple(replace(claim, experiment=self.number) for claim in self.claims))
