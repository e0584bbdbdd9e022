"""A claim of the theory, what one setting has to say about it, and the verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tokenprune.claims.theory.setting import Setting
from tokenprune.runs.records import Record

#: Bounds that count as support: above the lower, at or below the upper; None is open.
Range = tuple[float | None, float | None]


@dataclass(frozen=True)
class TheoryFinding:
    """The effect under one setting (a pair of them for a comparison of networks) and its spread over trials.

    what: what the effect is of, to put into a sentence. p: two-sided, that the effect is what it is given.
    trials: independent models behind each cell, or curve. lacking: why there is no effect.
    range, unit: where they differ from the claim's. todo: what would supply what is missing; commands, a line each.
    beside: what must be read with the effect, in a few words.
    """

    settings: tuple[Setting[Any], ...]
    what: str
    trials: int
    variant: str | None = None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p: Callable[[float], float | None] = lambda against: None
    lacking: str | None = None
    todo: str | None = None
    beside: str | None = None
    range: Range | None = None
    unit: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TheoryClaim:
    """A statement and its test, fixed before any result was seen.

    statement: in the paper's words where they are known. source: where it is made. reads: the results it reads.
    test: in words. range: bounds of the effect that count as support, in `unit`.
    find: the findings in the settings of all experiments.
    """

    id: str
    number: str
    statement: str
    source: str
    reads: str
    test: str
    unit: str
    range: Range
    find: Callable[[Sequence[Setting[Any]]], list[TheoryFinding]]


class TheoryVerdict(Record):
    """What the laboratory says of a claim under one setting.

    effect, low, high: estimate with its unadjusted 95 % interval, in `unit`; null where unknown. range: lower and
    upper bound of what counts as support, null where open. p: two-sided against the bound that matters; p_adjusted:
    Holm's over the claim's findings. trials: independent models behind a cell or curve. models: trained in all.
    beside: what must be read with the effect. why: one sentence. change: what would change the verdict.
    evidence: folders read.
    """

    claim: str
    number: str
    statement: str
    source: str
    setting: str
    recipe: str
    title: str
    variant: str | None
    verdict: Literal["supported", "refuted", "undecided"]
    effect: float | None
    low: float | None
    high: float | None
    range: Range
    unit: str
    p: float | None
    p_adjusted: float | None
    trials: int
    models: int
    beside: str | None
    why: str
    change: str
    evidence: tuple[str, ...]
    details: dict[str, Any]
