"""From findings to verdicts.

One rule for all claims. The replicates are training seeds: an effect is one number per seed, already averaged over
images, ratios and draws, and at least three seeds are asked for. The effect's mean is held against the claim's
threshold (0 for a claim of direction, -margin for a claim of "at least" or "costs nothing") by Student's two-sided t
test, which is two one-sided tests at 2.5 % each: the claim is supported if the mean lies significantly above the
threshold, refuted if significantly below, else undecided. A claim is asked at several depths, settings and sites at
once, so its p values are adjusted by Holm's method over all its findings that have enough seeds, and the verdict goes
by the adjusted p at 5 %. A model that is not above chance has nothing to lose: an effect on its accuracy, or on the
samples that it needs, is undecided whatever its p, which is then no part of Holm's family. Neither is an effect of
exactly 0 in every seed: that arms which did the same cost nothing is no evidence. The 95 % interval shown is
of the single finding, unadjusted: with several findings it can clear the threshold while the verdict stays undecided.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import count, islice
from typing import Any, Literal

from tokenprune.claims import commands, units
from tokenprune.claims.catalogue import CLAIMS
from tokenprune.claims.claim import Claim, Finding
from tokenprune.claims.design import Setting, settings
from tokenprune.claims.evidence import RunData
from tokenprune.runs.records import Record
from tokenprune.statistics import holm, mean_interval, seeds_to_decide, t_test, wilson

#: Fewer training seeds decide nothing.
SEEDS = 3
LEVEL = 0.05

#: Commands for further seeds that are shown of one verdict.
_COMMANDS = 10
#: Effects in these units say nothing of a model that guesses.
_OF_ACCURACY = ("accuracy", "exponent")

_Outcome = Literal["supported", "refuted", "undecided"]


class Verdict(Record):
    """What the runs say of a claim under one setting, site and method variant.

    effect, low, high: mean over seeds with its unadjusted 95 % interval, in `unit`; null where unknown.
    experiment: "I1" to "I7". data: the images in a few words. published: the authors' numbers, with their mark.
    p, p_adjusted: against -margin, two-sided; Holm's over the claim's findings; null for too few seeds, for a
    model not above chance, and where no seed differs. seeds: replicates used.
    images: test images behind each replicate. why: one sentence. todo: commands that would help, a line each.
    evidence: runs and prune folders read. values: effect by seed.
    """

    claim: str
    experiment: str
    statement: str
    data: str
    published: str | None
    family: str
    setting: str
    recipe: str
    depth: int
    site: str | None
    variant: str | None
    verdict: _Outcome
    effect: float | None
    low: float | None
    high: float | None
    margin: float
    unit: str
    p: float | None
    p_adjusted: float | None
    seeds: int
    images: int | None
    why: str
    todo: str | None
    evidence: tuple[str, ...]
    values: dict[int, float]
    details: dict[str, Any]


def all_claims() -> tuple[Claim, ...]:
    return CLAIMS


def judge(runs: Sequence[RunData]) -> list[Verdict]:
    """A verdict per claim, setting, site and method variant; claims in their order, then family, depth, site.

    Left out are runs that others start from, and those whose pruner removed nothing.
    """
    by_depth: dict[int, list[RunData]] = {}
    for run in runs:
        if not run.result.pretraining and run.idle is None:
            by_depth.setdefault(run.result.model.depth, []).append(run)
    depths = [settings(found) for found in by_depth.values()]
    verdicts = []
    for claim in CLAIMS:
        findings = sorted((finding for found in depths for finding in claim.find(found)), key=_place)
        p_values = [_p(claim, finding) for finding in findings]
        by_holm = iter(holm([p for p in p_values if p is not None]))
        adjusted = [None if p is None else next(by_holm) for p in p_values]
        open_still = sum(p is not None and p >= LEVEL for p in adjusted)
        verdicts += [
            _verdict(claim, finding, p, by_all, LEVEL / max(1, open_still))
            for finding, p, by_all in zip(findings, p_values, adjusted, strict=True)
        ]
    return verdicts


def _place(finding: Finding) -> tuple[str, int, str]:
    result = finding.runs[0].result
    return result.family, result.model.depth, result.setting


def _p(claim: Claim, finding: Finding) -> float | None:
    values = list(finding.values.values())
    judged = len(values) >= SEEDS and _untestable(claim, finding) is None
    return t_test(values, against=-claim.margin) if judged else None


def _untestable(claim: Claim, finding: Finding) -> str | None:
    """Why no number of seeds decides: the effect is on the accuracy of a model that guesses, or is nothing at all."""
    results = [run.result for run in finding.runs]
    chance = 1 / len(results[0].data.classes)
    correct, images = sum(result.test_correct for result in results), sum(result.test_count for result in results)
    if claim.unit in _OF_ACCURACY and wilson(correct, images)[0] <= chance:
        model = "unpruned model" if results[0].pruner == "none" else f"model with {results[0].pruner}"
        answers = f"accuracy {correct / images:.3f} of {len(results[0].data.classes)} classes"
        return f"the {model} is not above chance: {answers}"
    if len(finding.values) >= SEEDS and not any(finding.values.values()):
        return "exactly 0 in every seed: what is compared did the same, which is no evidence"
    return None


def _verdict(claim: Claim, finding: Finding, p: float | None, adjusted: float | None, level: float) -> Verdict:
    """level: of a test that decides what Holm leaves undecided, once it is the next in line."""
    result = finding.runs[0].result
    effect, low, high = mean_interval(list(finding.values.values())) if finding.values else (None, None, None)
    outcome: _Outcome = "undecided"
    if effect is not None and adjusted is not None and adjusted < LEVEL:
        outcome = "supported" if effect > -claim.margin else "refuted"
    needed = _needed(claim, finding, level)
    return Verdict(
        claim=claim.id,
        experiment=claim.experiment,
        statement=claim.statement,
        data=Setting(finding.runs).images,
        published="; ".join(map(str, claim.published)) or None,
        family=result.family,
        setting=result.setting,
        recipe=result.name,
        depth=result.model.depth,
        site=finding.site,
        variant=finding.variant,
        verdict=outcome,
        effect=effect,
        low=low,
        high=high,
        margin=claim.margin,
        unit=claim.unit,
        p=p,
        p_adjusted=adjusted,
        seeds=len(finding.values),
        images=finding.images,
        why=_why(claim, finding, (effect, low, high), adjusted, outcome, needed),
        todo="\n".join(_todo(claim, finding, needed)) or None if outcome == "undecided" else None,
        evidence=finding.evidence,
        values=finding.values,
        details=finding.details,
    )


def _threshold(claim: Claim) -> str:
    return units.effect(-claim.margin, claim.unit) if claim.margin else "0"


def _why(
    claim: Claim,
    finding: Finding,
    interval: tuple[float | None, float | None, float | None],
    adjusted: float | None,
    outcome: _Outcome,
    needed: int | None,
) -> str:
    effect, low, high = interval
    if effect is None:
        return f"{finding.lacking}."
    said = f"{finding.what}: {units.named(effect, claim.unit)}"
    if low is None or high is None:
        said += " (no interval from one seed"
    else:
        said += f" (95 % interval {units.effect(low, claim.unit)} to {units.effect(high, claim.unit)}"
    said += f", {_seeds(len(finding.values))}"
    said += f", Holm-adjusted p {adjusted:.3g} against {_threshold(claim)})" if adjusted is not None else ")"
    if untestable := _untestable(claim, finding):
        return f"{said}; {untestable}."
    if adjusted is None:
        return f"{said}; a verdict needs {SEEDS} seeds, {SEEDS - len(finding.values)} more."
    if outcome != "undecided":
        return f"{said}."
    if needed is None:
        return f"{said}; the effect is too close to the threshold for a number of seeds to be foretold."
    more = needed - len(finding.values)
    return f"{said}; about {more} more {'seed' if more == 1 else 'seeds'} would probably decide it."


def _todo(claim: Claim, finding: Finding, needed: int | None) -> list[str]:
    """Commands: what is missing on the runs that there are, then further seeds, in every setting compared."""
    if finding.values and _untestable(claim, finding):
        return []  # no further seed helps
    wanted = max(SEEDS, needed or SEEDS)
    if finding.needs:
        return _in_all(finding, wanted - len(finding.values))
    if finding.lacking is not None and not finding.todo:
        return []  # no command helps: the data set does not know
    have = {run.result.seed for run in finding.runs}
    seeds, each = list(_fresh(have, wanted - len(have))), 2 if claim.methods else 1
    shown = seeds[: _COMMANDS // each]
    lines = list(finding.todo)
    for seed in shown:
        command, name = commands.train(finding.runs[0], seed)
        lines += [command, _measured_alike(claim, finding, name)] if claim.methods else [command]
    return [*lines, *_left((len(seeds) - len(shown)) * each)]


def _in_all(finding: Finding, wanted: int) -> list[str]:
    """Commands that train the same seeds in every setting compared: those begun in some, then fresh ones."""
    have = set[int]().union(*(need.seeds for need in finding.needs))
    begun = sorted(seed for seed in have if any(seed not in need.seeds for need in finding.needs))
    cells = [
        (need, seed)
        for seed in (*begun, *_fresh(have, wanted - len(begun)))
        for need in finding.needs
        if seed not in need.seeds
    ]
    lines = [commands.train(need.run, seed, need.overrides)[0] for need, seed in cells[:_COMMANDS]]
    return [*lines, *_left(len(cells) - _COMMANDS)]


def _fresh(have: Collection[int], wanted: int) -> Iterator[int]:
    """Seeds that are not there yet."""
    return islice((seed for seed in count() if seed not in have), max(0, wanted))


def _left(number: int) -> list[str]:
    """What is said of commands that are not shown."""
    return [f"# and {number} more like these"] if number > 0 else []


def _measured_alike(claim: Claim, finding: Finding, name: str) -> str:
    """The prune command for a further run: as the runs here were measured."""
    source = next((path for run in finding.runs for path in run.prunes if _belongs(finding, run, path[0].name)), None)
    prune = source[1] if source else None
    ratios = finding.details.get("keep") or []
    keep = [ratios] if isinstance(ratios, float) else list(ratios)
    return commands.prune(
        finding.runs[0],
        claim.methods,
        site=finding.site,
        keep=[1.0, *keep] if keep else [],
        input_scores=prune.input_scores if prune else None,
        finetune_epochs=prune.finetune_epochs if prune else 0,
        name=name,
    )


def _belongs(finding: Finding, run: RunData, prune: str) -> bool:
    return f"{run.folder.name}/prune/{prune}" in finding.evidence


def _needed(claim: Claim, finding: Finding, level: float) -> int | None:
    """Seeds in all, of a finding that has enough for a verdict; at least one more than there are."""
    values = list(finding.values.values())
    needed = seeds_to_decide(values, against=-claim.margin, level=level) if len(values) >= SEEDS else None
    return None if needed is None else max(needed, len(values) + 1)


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
