"""A claim, and what the runs of one depth have to say about it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenprune.claims.design import Setting
from tokenprune.claims.evidence import RunData
from tokenprune.claims.published import Published


@dataclass(frozen=True)
class Need:
    """A setting that a finding compares: that of `run`, with `overrides`; trained with `seeds` so far."""

    run: RunData
    overrides: tuple[str, ...] = ()
    seeds: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Finding:
    """The effect that a claim is about, one value per training seed, under one setting, site and method variant.

    runs: of the setting that it is said of; where settings are compared, of that without a pruner.
    values: effect by seed; empty where nothing could be computed, and `lacking` then says why.
    what: what the effect is of, to put into a sentence.
    images: test images behind each value.
    todo: commands that supply what is missing, except further seeds.
    needs: the settings compared, where there are several: a further seed is trained in each.
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
    needs: tuple[Need, ...] = ()
    evidence: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A statement and its test.

    experiment: "I1" to "I7". name: a few words. statement: in the paper's words where they are known. source: where
    it is made. reads: the results it reads. test: in words. margin: the effect must exceed -margin, in `unit`; 0 for a
    claim of direction. find: the findings in the settings of one depth. methods: pruners that a run must have been
    measured with. published: what the authors report of the same.
    """

    id: str
    experiment: str
    name: str
    statement: str
    source: str
    reads: str
    test: str
    unit: str
    find: Callable[[Sequence[Setting]], list[Finding]]
    margin: float = 0.0
    methods: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
