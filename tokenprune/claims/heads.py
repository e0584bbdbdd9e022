"""Claims about convex heads on a frozen backbone, by what `tokenprune heads` measured.

Every finding is about one data set: the run's own images, or those that the backbone was shown instead.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

from tokenprune.claims.claim import Finding
from tokenprune.claims.measured import Missing, Selected, results, select
from tokenprune.claims.readings import contrast, whole
from tokenprune.claims.study import TrainedStudy
from tokenprune.runs import MeasureResult

HEADS = "heads"
LINEAR, GATED = "linear", "gated"
#: Each head with gates, and what it is without.
PLAIN = {
    "attention": "attention",
    "mixer": "mixer",
    "fno": "linear",
    "block-fno": "block-fno",
    "mlp": "linear",
}
_OWN = "its own images"


def attention_against_simple(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Accuracy of the attention head less the better of linear and MLP head, without and with gates."""
    what = "accuracy of the attention head less the better of the linear and the MLP head"
    kinds = {"without gates": LINEAR, "gated": GATED}
    return _each(found, what, {name: partial(_over_simple, kind=kind) for name, kind in kinds.items()})


def gated_against_linear(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Accuracy of a head with gates less that without, head by head."""
    what = "accuracy of the head with gates less that without"
    return _each(found, what, {head: partial(_by_gates, head=head) for head in PLAIN})


def certified(found: Sequence[TrainedStudy]) -> list[Finding]:
    """The largest certificate of heads and penalties where the rank suffices."""
    return _each(
        found, "largest bound of the relative gap, of heads and penalties where the rank suffices", {"": worst}
    )


def low_rank_in_tokens(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Log ratio of the effective rank of the attention head's token map to that of random ones."""
    what = "log ratio of the effective rank of the attention head's token map to that of random ones"
    return _each(found, what, {"": _rank})


def clusters_agree(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Adjusted Rand index of clusters and merging's groups, less that of merging's groups shuffled."""
    what = "adjusted Rand index of attention's clusters and merging's groups, less by chance"
    return _each(found, what, {"": partial(_agreement, other="chance")})


def clusters_agree_more_than_random(found: Sequence[TrainedStudy]) -> list[Finding]:
    """The same, less that of clusters by a random token map."""
    what = "adjusted Rand index of attention's clusters and merging's groups, less that of a random token map's"
    return _each(found, what, {"": partial(_agreement, other="random")})


def _each(
    found: Sequence[TrainedStudy], what: str, reads: dict[str, Callable[[MeasureResult], float]]
) -> list[Finding]:
    """A finding for each setting, data set and variant."""
    findings = []
    for study in whole(found, HEADS):
        for data in data_of(study):
            options = {} if data == _OWN else {"data": data}
            for name, read in reads.items():
                variant = ", ".join(filter(None, (name, "" if data == _OWN else data))) or None
                arms = [(study, 1.0)]
                findings.append(contrast(HEADS, arms, partial(on, data, read), what, asked=options, variant=variant))
    return findings


def data_of(study: TrainedStudy) -> list[str]:
    """The data sets that its heads were measured on, its own first."""
    found = {_data(result) for run in study.runs for result in results(run, HEADS)}
    return sorted(found, key=lambda name: (name != _OWN, name))


def on(data: str, read: Callable[[MeasureResult], float], result: MeasureResult) -> float:
    """What is read of a result on that data set. Raises Missing for another."""
    if _data(result) != data:
        raise Missing(f"it is of {_data(result)}")
    return read(result)


def _data(result: MeasureResult) -> str:
    return str(result.options.get("data") or _OWN)


def chosen(result: MeasureResult, head: str, kind: str) -> float:
    """Test accuracy at the penalty that held-out training images choose. Raises Missing."""
    return select(result, "chosen accuracy").at("head", head=head, kind=kind).number


def _over_simple(result: MeasureResult, kind: str) -> float:
    simple = [chosen(result, "linear", LINEAR)]
    if kind == GATED:
        simple.append(chosen(result, "mlp", GATED))
    return chosen(result, "attention", kind) - max(simple)


def _by_gates(result: MeasureResult, head: str) -> float:
    return chosen(result, head, GATED) - chosen(result, PLAIN[head], LINEAR)


def worst(result: MeasureResult) -> float:
    gap, enough = (_table(result, name) for name in ("certificate", "rank suffices"))
    known = gap.values[enough.values == 1]
    if not len(known):
        raise Missing("the rank suffices at no penalty")
    return float(known.max())


def _table(result: MeasureResult, name: str) -> Selected:
    found = select(result, name)
    found.along("convex head", "penalty")
    return found


def _rank(result: MeasureResult) -> float:
    found = select(result, "effective rank")
    attention, random = (found.at("map", map=name).number for name in ("found", "random"))
    if min(attention, random) <= 0:
        raise Missing("an effective rank is not above 0")
    return math.log(attention / random)


def _agreement(result: MeasureResult, other: str) -> float:
    found = select(result, "agreement")
    own, against = (found.at("grouping", grouping=name).along("image").mean() for name in ("found", other))
    return float(own - against)
