"""A claim, what one setting has to say about it, and the verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tokenprune.claims.estimate import Estimate, Replicates
from tokenprune.claims.published import Published
from tokenprune.claims.study import Study
from tokenprune.runs.records import Record

#: Bounds of the effects that count as support: above the lower, at or below the upper; None is open.
Support = tuple[float | None, float | None]
Outcome = Literal["supported", "refuted", "undecided"]


@dataclass(frozen=True)
class Finding:
    """The effect that a claim is about, under one setting, site and variant of the method.

    subject: the study that it is about; where several are compared, that without a pruner, or the ViT.
    what: what the effect is of, to put into a sentence. estimate: None where nothing could be computed, and `lacking`
    says why. n: replicates behind it, or that there would be. others: further studies compared.
    variant: what else distinguishes it from other findings of the claim. methods: pruners measured on a trained model.
    images: test images behind each replicate.
    beside: what must be read with the effect, in a few words. support, unit: where they differ from the claim's.
    todo: what would supply what is missing; commands, a line each.
    more: the commands for so many replicates in all; None where no further one would help.
    evidence: runs and prune folders read; None: all runs of the studies.
    """

    subject: Study
    what: str
    estimate: Estimate | None = None
    lacking: str | None = None
    n: int = 0
    others: tuple[Study, ...] = ()
    site: str | None = None
    variant: str | None = None
    methods: tuple[str, ...] = ()
    images: int | None = None
    beside: str | None = None
    support: Support | None = None
    unit: str | None = None
    todo: str | None = None
    more: Callable[[int], list[str]] | None = None
    evidence: tuple[str, ...] | None = None

    @property
    def values(self) -> Mapping[int, float]:
        """Effect by training seed."""
        return self.estimate.values if self.estimate else {}

    @property
    def replicates(self) -> int:
        return self.estimate.n if self.estimate else self.n


@dataclass(frozen=True)
class Claim:
    """A statement and its test, fixed before any result was seen.

    statement: in the paper's words where they are known. source: where it is made. reads: the results it reads. test:
    in words. support: the effects that count as support, in `unit`. find: the findings in the studies of one depth, or
    of the laboratory. published: what the authors report of the same. measurement: of `tokenprune measure`, where it
    reads one. across: whether `find` takes the studies of all depths at once. experiment: I1 to I15 of trained models,
    T1 to T9 of the laboratory; the experiment that has the claim fills it in.
    """

    id: str
    statement: str
    source: str
    reads: str
    test: str
    unit: str
    find: Callable[[Sequence[Any]], list[Finding]]
    support: Support = (0.0, None)
    published: tuple[Published, ...] = ()
    measurement: str | None = None
    across: bool = False
    experiment: str = ""

    @property
    def laboratory(self) -> bool:
        """Whether it reads results of the theory laboratory, not of trained models."""
        return self.experiment.startswith("T")


class Verdict(Record):
    """What there is to say of a claim under one setting, site and variant.

    title: the setting in words: images of a trained model, L, m, batch and so on of the
    laboratory. published: the authors' numbers, with their mark. effect, low, high: the estimate with its unadjusted
    95 % interval, in `unit`; null where unknown. support: lower and upper bound of what counts as support, null where
    open. p: two-sided, against the bound that matters; p_adjusted: Holm's over the claim's findings; both null for too
    few replicates and where none of any number decides. n: replicates used, `of` which kind. images: test images behind
    each. image_error: standard error of the effect from which test images were drawn, a part of the interval; null
    where answers by image are unknown, and the interval holds seeds alone. models: trained in all. beside: what must be
    read with the effect. why: a sentence. todo: what would decide it; commands, a line each. evidence: runs and prune
    folders read. values: effect by seed.
    """

    claim: str
    experiment: str
    statement: str
    source: str
    published: str | None
    family: str
    setting: str
    recipe: str
    title: str
    depth: int
    site: str | None
    variant: str | None
    methods: tuple[str, ...]
    verdict: Outcome
    effect: float | None
    low: float | None
    high: float | None
    support: Support
    unit: str
    p: float | None
    p_adjusted: float | None
    n: int
    of: Replicates
    images: int | None
    image_error: float | None
    models: int
    beside: str | None
    why: str
    todo: str | None
    evidence: tuple[str, ...]
    values: dict[int, float]
