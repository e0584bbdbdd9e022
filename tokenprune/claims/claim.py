"""A claim, and what the runs of one setting have to say about it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tokenprune.claims.evidence import RunData


@dataclass(frozen=True)
class Finding:
    """The effect that a claim is about, one value per training seed, under one setting, site and method variant.

    values: effect by seed; empty where nothing could be computed, and `lacking` then says why.
    what: what the effect is of, to put into a sentence.
    images: test images behind each value.
    todo: commands that supply what is missing, except further seeds.
    details: numbers behind the effect, for who looks closer.
    """

    runs: tuple[RunData, ...]
    site: str | None
    values: dict[int, float]
    what: str
    images: int | None = None
    variant: str | None = None
    lacking: str | None = None
    todo: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A statement and its test.

    statement: in the paper's words where they are known. source: where it is made. reads: the results it reads.
    test: in words. margin: the effect must exceed -margin, in `unit`; 0 for a claim of direction.
    methods: pruners that a run must have been measured with.
    find: the findings in the runs of one setting (same recipe but for the seed).
    """

    id: str
    statement: str
    source: str
    reads: str
    test: str
    unit: str
    find: Callable[[tuple[RunData, ...]], list[Finding]]
    margin: float = 0.0
    methods: tuple[str, ...] = ()
