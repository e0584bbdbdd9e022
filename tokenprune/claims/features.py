"""Claims about feature maps, half-block by half-block: what each unit does to high frequencies and to variance."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from tokenprune.claims.claim import Finding
from tokenprune.claims.measured import Missing, Selected, results, select
from tokenprune.claims.readings import contrast, whole
from tokenprune.claims.study import TrainedStudy
from tokenprune.runs import MeasureResult

FOURIER, VARIANCE = "fourier", "variance"
AMPLITUDE = "log amplitude"
ATTENTION = "attention"
#: Units that are neither attention nor the start of a network.
_OTHERS = ("MLP", "convolution")
#: The axis of half-blocks, and its column that names the unit which made the features.
UNIT = "half-block", "after"


def frequencies_across(found: Sequence[TrainedStudy], *kinds: str) -> list[Finding]:
    """Change of the log amplitude at pi across a unit, mean over the units of a kind; for each kind there is."""
    findings = []
    for study in whole(found, FOURIER):
        for kind in kinds:
            if kind in units(study, FOURIER):
                what = f"change of the log amplitude at frequency pi across a unit, mean over {_plural(kind)}"
                findings.append(contrast(FOURIER, [(study, 1)], partial(_at_pi, kind=kind), what, variant=kind))
    return findings


def frequencies_across_attention(found: Sequence[TrainedStudy]) -> list[Finding]:
    return frequencies_across(found, ATTENTION)


def frequencies_across_others(found: Sequence[TrainedStudy]) -> list[Finding]:
    return frequencies_across(found, *_OTHERS)


def variance_across_attention(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Log ratio of the variance of features after attention to before, mean over attentions."""
    what = "log ratio of the variance after attention to before, mean over attentions"
    measured = [study for study in whole(found, VARIANCE) if ATTENTION in units(study, VARIANCE)]
    return [contrast(VARIANCE, [(study, 1)], _spread, what, variant=ATTENTION) for study in measured]


def units(study: TrainedStudy, measurement: str) -> set[str]:
    """Kinds of unit that its measurements name; attention where they name none, so that this is said to be missing."""
    found = set()
    for run in study.runs:
        for result in results(run, measurement):
            for array in result.arrays.values():
                found |= {str(each) for each in array.labels.get(UNIT[0], {}).get(UNIT[1], ())}
    return found or {ATTENTION}


def by_unit(features: Selected) -> list[tuple[str, float, float]]:
    """(kind, number before, number after) of every unit, of numbers by half-block. Raises Missing."""
    kinds, values = features.named(*UNIT), features.along(UNIT[0]).tolist()
    return [(str(kind), *pair) for kind, pair in zip(kinds[1:], pairwise(values), strict=True)]


def at_pi(result: MeasureResult, **point: str | float) -> Selected:
    """Log amplitude at the highest frequency, pi where the grid has an even side, [half-block]. Raises Missing."""
    found = select(result, AMPLITUDE, **point)
    return replace(found, axes=found.axes[:1], values=found.along("half-block", "frequency")[:, -1])


def _at_pi(result: MeasureResult, kind: str) -> float:
    changes = [after - before for each, before, after in by_unit(at_pi(result, method="none")) if each == kind]
    if not changes:
        raise Missing(f"no unit of it is {kind}")
    return fmean(changes)


def _spread(result: MeasureResult) -> float:
    pairs = by_unit(select(result, "variance", method="none"))
    of_attention = [(before, after) for kind, before, after in pairs if kind == ATTENTION]
    if not of_attention:
        raise Missing("no unit of it is attention")
    if any(each <= 0 for pair in of_attention for each in pair):
        raise Missing("a variance is not above 0")
    return fmean(math.log(after / before) for before, after in of_attention)


def _plural(kind: str) -> str:
    return f"{kind}s"


class PrunedAt(NamedTuple):
    """Where magnitude was measured, and its keep ratios, from the largest."""

    site: str
    options: str
    keeps: tuple[float | str, ...]


def low_pass(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Log amplitude at pi in the last half-block, pruned by magnitude less unpruned, mean over keep ratios."""
    findings = []
    for study in whole(found, FOURIER):
        for at in prunings(study):
            ratios = f"keep ratio {at.keeps[0]}" if len(at.keeps) == 1 else f"mean over {len(at.keeps)} keep ratios"
            what = f"log amplitude at frequency pi in the last half-block, pruned by magnitude less unpruned, {ratios}"
            asked = {"methods": ["magnitude", "random"], "keep": list(at.keeps), "site": at.site}
            variant = f"site {at.site}" + (f", magnitude {at.options}" if at.options != "{}" else "")
            arms = [(study, 1.0)]
            read = partial(_lowered, method="magnitude", at=at)
            finding = contrast(FOURIER, arms, read, what, asked=asked, site=at.site, variant=variant)
            random = contrast(FOURIER, arms, partial(_lowered, method="random", at=at), "", asked=asked)
            other = f"{random.estimate.value:+.3f} pruned at random" if random.estimate else "random was not measured"
            findings.append(replace(finding, methods=("magnitude",), beside=f"{other}; {finding.beside}"))
    return findings


def prunings(study: TrainedStudy) -> list[PrunedAt]:
    """The sites and options of magnitude, with the ratios that all runs have which have any there; else with all."""
    keeps: dict[tuple[str, str], list[set[float | str]]] = {}
    for run in study.runs:
        own: dict[tuple[str, str], set[float | str]] = {}
        for result in results(run, FOURIER):
            points = result.arrays[AMPLITUDE].labels.get("point", {}) if AMPLITUDE in result.arrays else {}
            columns = [points.get(name, ()) for name in ("method", "site", "options", "keep")]
            for method, site, options, keep in zip(*columns, strict=False):
                if method == "magnitude":
                    own.setdefault((str(site), str(options)), set()).add(keep)
        for place, each in own.items():
            keeps.setdefault(place, []).append(each)
    return [
        PrunedAt(*place, tuple(sorted(set.intersection(*each) or set.union(*each), key=str, reverse=True)))
        for place, each in sorted(keeps.items())
    ]


def _lowered(result: MeasureResult, method: str, at: PrunedAt) -> float:
    """Log amplitude pruned by `method` less unpruned, mean over the ratios of a pruning. Raises Missing."""
    last = at_pi(result, method="none").values[-1]
    options = {"options": at.options} if method == "magnitude" else {}
    pruned = [at_pi(result, method=method, site=at.site, keep=keep, **options).values[-1] for keep in at.keeps]
    return fmean(pruned) - float(last)
