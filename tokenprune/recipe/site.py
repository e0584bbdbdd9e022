"""Pruning sites: where a schedule removes tokens, written `input:rollout`, `before:3` or `after:3,6,9`."""

import itertools
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tokenprune.errors import UsageError, shortened

Moment = Literal["input", "before", "after"]
InputScores = Literal["last", "mean", "rollout"]


@dataclass(frozen=True)
class RemovedPerSite:
    """So many patch tokens leave at each site (r of ToMe)."""

    tokens: int

    def __str__(self) -> str:
        return f"r={self.tokens}"


#: How many patch tokens stay: one ratio for all sites, a ratio for each, or a number that leaves at each.
Keep = float | tuple[float, ...] | RemovedPerSite


@dataclass(frozen=True)
class Schedule:
    """Pruning sites of one moment, in the order in which tokens meet them.

    moment: `input` (before block 0, scores from one full unpruned pass), `before` (a block's attention) or
        `after` (between a block's attention and its MLP).
    blocks: block indices from 0, strictly increasing; empty for `input`.
    scores: attention that ranks tokens at `input`: of the last block, the mean of all blocks, or their rollout.
    """

    moment: Moment
    blocks: tuple[int, ...] = ()
    scores: InputScores = "last"

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Read `input` (of the last block), `input:mean`, `before:3`, `after:3,6,9`; UsageError on anything else."""
        site = f"site {shortened(text)!r}"
        what = f"{site}: expected input, before:BLOCKS or after:BLOCKS, such as input:rollout, before:0 or after:3,6"
        moment, colon, numbers = text.partition(":")
        if moment == "input":
            scores = numbers if colon else "last"
            if scores not in get_args(InputScores):
                raise UsageError(what)
            return cls("input", scores=scores)  # type: ignore[arg-type]
        if not colon or moment not in ("before", "after"):
            raise UsageError(what)
        parts = [part.strip() for part in numbers.split(",")]
        if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
            raise UsageError(what)
        blocks = tuple(int(part) for part in parts)
        if any(b <= a for a, b in itertools.pairwise(blocks)):
            raise UsageError(f"{site}: blocks must increase, each named once")
        return cls(moment, blocks)  # type: ignore[arg-type]

    def __str__(self) -> str:
        if self.moment == "input":
            return "input" if self.scores == "last" else f"input:{self.scores}"
        return f"{self.moment}:{','.join(map(str, self.blocks))}"

    @property
    def recorded(self) -> tuple[str, InputScores | None]:
        """The site without its scores, and these, None elsewhere than at `input`: two keys of files and records."""
        return ("input", self.scores) if self.moment == "input" else (str(self), None)

    def check(self, depth: int, class_pooled: bool = False) -> None:
        """Raises UsageError if a block lies beyond a model of `depth` blocks, or if the last site changes nothing.

        class_pooled: the classifier reads prefix tokens alone, so that nothing reads patch tokens after the last
            attention; average pooling reads those that are kept.
        """
        site = f"site {shortened(str(self))!r}"
        if self.blocks and self.blocks[-1] >= depth:
            raise UsageError(
                f"{site}: block {self.blocks[-1]} is beyond the model's depth {depth} (blocks are 0 to {depth - 1})"
            )
        if class_pooled and self.cursors[-1] > 2 * (depth - 1):
            earlier = Schedule("after", self.blocks[:-1]) if self.blocks[1:] else Schedule("before", (depth - 1,))
            raise UsageError(
                f"{site}: after the attention of the last block ({depth - 1}) nothing reads patch tokens, "
                f"for the model classifies from its class token: removing them changes nothing; use {earlier}"
            )

    @property
    def cursors(self) -> tuple[int, ...]:
        """The sites in half-blocks: 2i is before block i, 2i + 1 is between its attention and its MLP."""
        if self.moment == "input":
            return (0,)
        return tuple(2 * block + (self.moment == "after") for block in self.blocks)


def kept(ratio: float, n: int) -> int:
    """Patch tokens kept of the n that enter a site: ceil(ratio * n), at least 1, at most n.

    The product is rounded to nine digits first, so that 0.7 * 10 keeps 7 tokens although the
    floating-point product may exceed 7 by an ulp.
    """
    product = round(ratio * n, 9)
    return min(n, max(1, int(-(-product // 1))))


def counts(keep: Keep, patches: int, sites: int) -> tuple[int, ...]:
    """Patch tokens that stay at each of so many sites, of an image of `patches`. Raises UsageError."""
    if isinstance(keep, tuple) and len(keep) != sites:
        raise UsageError(f"keep {written(keep)}: {len(keep)} ratios for {sites} {'site' if sites == 1 else 'sites'}")
    left = []
    for i in range(sites):
        if isinstance(keep, RemovedPerSite):
            if keep.tokens >= patches:
                raise UsageError(
                    f"{keep}: only {patches} patch tokens enter site {i + 1} of {sites}, and one must stay"
                )
            patches -= keep.tokens
        else:
            patches = kept(keep[i] if isinstance(keep, tuple) else keep, patches)
        left.append(patches)
    return tuple(left)


def written(keep: Keep) -> str:
    """As it is typed: 0.7, 0.9/0.7/0.5, r=8."""
    if isinstance(keep, RemovedPerSite):
        return str(keep)
    return "/".join(f"{ratio:g}" for ratio in (keep if isinstance(keep, tuple) else (keep,)))


def named(keep: Keep) -> float | str:
    """As records and hashes have it: the ratio, or text where it is not one ratio for all sites."""
    return keep if isinstance(keep, float | int) else written(keep)


def read_keep(asked: object) -> Keep:
    """What stays, as `named` has it, or a list with a ratio for each site. Raises UsageError."""
    if isinstance(asked, str) and re.fullmatch("r=[1-9][0-9]{0,5}", asked):
        return RemovedPerSite(int(asked[2:]))
    parts: list[Any] = asked.split("/") if isinstance(asked, str) else [asked]
    parts = list(asked) if isinstance(asked, list | tuple) else parts
    try:
        ratios = tuple(float(part) for part in parts if not isinstance(part, bool))
    except (TypeError, ValueError):
        ratios = ()
    if not ratios or len(ratios) < len(parts) or not all(0 < ratio <= 1 for ratio in ratios):
        raise UsageError(f"keep {shortened(str(asked))!r}: expected a ratio above 0 and at most 1, such as 0.7, or r=8")
    return ratios if len(ratios) > 1 else ratios[0]


def share_of(keep: Keep, patches: int, sites: int) -> float:
    """A ratio as it is; of anything else the share of the patches that stays after the last site."""
    return keep if isinstance(keep, float | int) else counts(keep, patches, sites)[-1] / patches


def eased(keep: Keep, rest: float) -> Keep:
    """On the way from all tokens (rest 1) to `keep` (rest 0)."""
    if isinstance(keep, RemovedPerSite):
        return RemovedPerSite(round(keep.tokens * (1 - rest)))
    if isinstance(keep, tuple):
        return tuple(ratio + (1 - ratio) * rest for ratio in keep)
    return keep + (1 - keep) * rest
