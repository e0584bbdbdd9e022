"""From findings to verdicts, by one rule for all claims.

The replicates are training seeds, or trials of the laboratory; at least three are asked for. An effect is held against
the bounds of what counts as support: 0 for a claim of direction, -margin for a claim of "at least" or "costs nothing",
a range for an exponent. Its p is two-sided (for a mean Student's t, which is two one-sided tests at 2.5 % each) and
against the bound that the effect violates; the largest over the bounds where it violates none. A claim is asked at
several depths, settings and sites at once, so its p values are adjusted by Holm's method over all its findings that
have enough replicates. A claim is supported where the 95 % interval lies wholly inside the bounds, refuted where it
lies wholly outside, and the adjusted p is below 5 %; else it is undecided.

A model that is not above chance has nothing to lose: an effect on its accuracy, or on the samples that it needs, is
undecided whatever its p, which is then no part of Holm's family. Neither is an effect of exactly 0 in every seed: that
arms which did the same cost nothing is no evidence; nor one that is the same in every seed and has no other error,
as a share of few things may be. The interval shown is of the single finding, unadjusted.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

from tokenprune.claims import units
from tokenprune.claims.claim import Claim, Estimate, Finding, Outcome, Support, Verdict
from tokenprune.claims.study import Study
from tokenprune.errors import counted
from tokenprune.statistics import Z, deviation, holm, seeds_to_decide

#: Fewer replicates decide nothing.
REPLICATES = 3
LEVEL = 0.05

#: Findings of a claim from which on the variance over seeds is shared.
FAMILY = 4

#: How many times as many trials are worth estimating.
_MOST = 50
#: Bounds nearer than this are met: the difference is rounding.
_TIE = 1e-9
#: Effects in these units say nothing of a model that guesses.
_OF_ACCURACY = ("accuracy", units.EXPONENT)


def judge(studies: Sequence[Study], claims: Sequence[Claim]) -> list[Verdict]:
    """A verdict per claim, setting, site and variant; claims in their order, then family, depth, setting."""
    columns: dict[tuple[bool, int], list[Study]] = {}
    for study in studies:
        columns.setdefault((study.laboratory, study.depth), []).append(study)
    verdicts = []
    for claim in claims:
        found = [group for (laboratory, _), group in columns.items() if laboratory == claim.laboratory]
        found = [[study for group in found for study in group]] if claim.across else found
        findings = sorted((finding for group in found for finding in claim.find(group)), key=lambda f: f.subject.place)
        findings = _moderated(claim, findings)
        p_values = [_p(claim, finding) for finding in findings]
        tests = {_test(finding): p for finding, p in zip(findings, p_values, strict=True) if p is not None}
        by_holm = dict(zip(tests, holm(list(tests.values())), strict=True))
        adjusted = [None if p is None else by_holm[_test(f)] for f, p in zip(findings, p_values, strict=True)]
        open_still = sum(p is not None and p >= LEVEL for p in adjusted)
        verdicts += [
            _verdict(claim, finding, p, by_all, LEVEL / max(1, open_still))
            for finding, p, by_all in zip(findings, p_values, adjusted, strict=True)
        ]
    return verdicts


def _test(finding: Finding) -> object:
    """Equal for findings that are one test: oracle and random keep the same tokens at the input and before block 0."""
    if finding.methods and set(finding.methods) <= {"oracle", "random"} and finding.values:
        return finding.subject.setting, finding.methods, tuple(finding.values.items())
    return id(finding)


def _moderated(claim: Claim, findings: Sequence[Finding]) -> list[Finding]:
    """With standard errors that share the variance over seeds of the claim's findings, if these are four or more."""
    tested = {_test(f): f for f in findings if f.replicates >= REPLICATES and not _untestable(claim, f)}
    spreads = [deviation(list(f.values.values())) ** 2 for f in tested.values() if f.values]
    if len(spreads) < FAMILY:
        return list(findings)
    shared = math.fsum(spreads) / len(spreads)
    return [
        replace(f, estimate=Estimate.of_seeds(f.estimate.values, f.estimate.images, shared))
        if f.estimate and f.estimate.values
        else f
        for f in findings
    ]


def outcome(low: float | None, high: float | None, support: Support, p_adjusted: float | None) -> Outcome:
    """Supported with the interval wholly inside (lower, upper], refuted with it wholly outside, and p below 5 %."""
    if low is None or high is None or p_adjusted is None or p_adjusted >= LEVEL:
        return "undecided"
    return side(low, high, support)


def side(low: float, high: float, support: Support) -> Outcome:
    """Where the interval alone lies."""
    lower, upper = support
    if (lower is None or low > lower + _TIE) and (upper is None or high <= upper + _TIE):
        return "supported"
    if (lower is not None and high <= lower + _TIE) or (upper is not None and low > upper + _TIE):
        return "refuted"
    return "undecided"


def _support(claim: Claim, finding: Finding) -> Support:
    return finding.support or claim.support


def _p(claim: Claim, finding: Finding) -> float | None:
    """Against the bound that the effect violates; the largest over the bounds where it violates none."""
    estimate, support = finding.estimate, _support(claim, finding)
    if estimate is None or estimate.n < REPLICATES or _untestable(claim, finding) is not None:
        return None
    violated = [bound for bound in support if bound is not None and _beyond(estimate.value, bound, support)]
    found = [estimate.p(bound) for bound in violated or support if bound is not None]
    known = [p for p in found if p is not None]
    return max(known) if known else None


def _beyond(effect: float, bound: float, support: Support) -> bool:
    return effect > bound + _TIE if bound == support[1] else effect <= bound + _TIE


def _untestable(claim: Claim, finding: Finding) -> str | None:
    """Why these seeds decide nothing: the model guesses, or the effect is nothing at all, or the same in every one."""
    if claim.unit in _OF_ACCURACY and finding.subject.guesses:
        return finding.subject.guesses
    if len(finding.values) >= REPLICATES and not any(finding.values.values()):
        return "exactly 0 in every seed: what is compared did the same, which is no evidence"
    found, counts = finding.estimate, claim.measurement is not None and claim.unit.startswith("share")
    if counts and len(finding.values) >= REPLICATES and found is not None and found.low == found.high:
        return "the same in every seed: an interval without width is no estimate of its error"
    return None


def _verdict(claim: Claim, finding: Finding, p: float | None, adjusted: float | None, level: float) -> Verdict:
    """level: of a test that decides what Holm leaves undecided, once it is the next in line."""
    subject, estimate, support = finding.subject, finding.estimate, _support(claim, finding)
    low, high = (estimate.low, estimate.high) if estimate else (None, None)
    verdict = outcome(low, high, support, adjusted)
    needed = _needed(estimate, support, level) if estimate else None
    title = subject.title
    for other in finding.others:
        title += f"; {subject.differences(other)}"
    return Verdict(
        claim=claim.id,
        experiment=claim.experiment,
        statement=claim.statement,
        source=claim.source,
        published="; ".join(map(str, claim.published)) or None,
        family=subject.family,
        setting=subject.setting,
        recipe=subject.recipe,
        title=title,
        depth=subject.depth,
        site=finding.site,
        variant=finding.variant,
        methods=finding.methods,
        verdict=verdict,
        effect=estimate.value if estimate else None,
        low=low,
        high=high,
        support=support,
        unit=finding.unit or claim.unit,
        p=p,
        p_adjusted=adjusted,
        n=finding.replicates,
        of="trials" if claim.laboratory else "seeds",
        images=finding.images,
        image_error=None if estimate is None or estimate.images is None else math.sqrt(estimate.images),
        models=sum(study.models for study in (subject, *finding.others)),
        beside=finding.beside,
        why=_why(claim, finding, p, adjusted, verdict, needed),
        todo="\n".join(_todo(claim, finding, needed)) or None if verdict == "undecided" else None,
        evidence=_folders(finding) if finding.evidence is None else finding.evidence,
        values=dict(finding.values),
    )


def _folders(finding: Finding) -> tuple[str, ...]:
    return tuple(name for study in (finding.subject, *finding.others) for name in study.folders)


def _why(
    claim: Claim,
    finding: Finding,
    p: float | None,
    adjusted: float | None,
    verdict: Outcome,
    needed: int | None,
) -> str:
    estimate, unit = finding.estimate, finding.unit or claim.unit
    if estimate is None:
        return f"{finding.lacking or 'nothing was measured'}."
    said = f"{finding.what}: {units.named(estimate.value, unit)}"
    n = counted(estimate.n, estimate.of.removesuffix("s"))
    if estimate.low is None or estimate.high is None:
        said += f" (no interval{f': {finding.lacking}' if finding.lacking else ''}, {n}"
    else:
        said += f" (95 % interval {units.effect(estimate.low, unit)} to {units.effect(estimate.high, unit)}, {n}"
    said += f", Holm-adjusted p {adjusted:.3g})" if adjusted is not None else ")"
    return f"{said}; {_because(claim, finding, p, adjusted, verdict, needed)}." + (
        f" Beside it: {finding.beside}." if finding.beside else ""
    )


def _because(
    claim: Claim, finding: Finding, p: float | None, adjusted: float | None, verdict: Outcome, needed: int | None
) -> str:
    estimate, support, unit = finding.estimate, _support(claim, finding), finding.unit or claim.unit
    assert estimate is not None
    where = within(support, unit)
    if untestable := _untestable(claim, finding):
        return untestable
    if verdict != "undecided":
        return f"the interval is wholly {where}" if verdict == "supported" else f"no part of the interval is {where}"
    if estimate.n < REPLICATES:
        return f"a verdict needs {REPLICATES} {estimate.of}, {REPLICATES - estimate.n} more"
    if estimate.low is None or estimate.high is None:
        return "there is no verdict without an interval"
    more = (
        ""
        if needed is None
        else f"; about {counted(needed - estimate.n, 'more ' + estimate.of.removesuffix('s'))} would probably decide it"
    )
    alone = side(estimate.low, estimate.high, support)
    if alone != "undecided" and p is not None and p < LEVEL:
        aside = f"the interval is wholly {where}" if alone == "supported" else f"no part of the interval is {where}"
        return f"{aside}, but Holm's correction leaves that undecided{more}"
    lower, upper = support
    if lower is not None and upper is not None and estimate.low > lower and estimate.high >= upper - _TIE:
        return f"it agrees with the bound {units.bound(upper, unit)}, which lies in the interval"
    if needed is None:
        return "the effect is too close to the bound to estimate how many more would decide"
    return f"too uncertain to be called {where} or not{more}"


def within(support: Support, unit: str) -> str:
    """above 0, below 0, above 0 and at most 2"""
    lower, upper = (None if bound is None else units.bound(bound, unit) for bound in support)
    if lower is None:
        return f"below {upper}"
    return f"above {lower}" if upper is None else f"above {lower} and at most {upper}"


def _todo(claim: Claim, finding: Finding, needed: int | None) -> list[str]:
    """What is missing on the runs that there are, then further replicates."""
    if finding.estimate is not None and _untestable(claim, finding):
        return []  # no further seed helps
    more = finding.more(max(REPLICATES, needed or REPLICATES)) if finding.more else []
    return [*([finding.todo] if finding.todo else []), *more]


def _needed(estimate: Estimate, support: Support, level: float) -> int | None:
    """Replicates in all that would probably decide, at least one more than there are; None where that is unknown."""
    if estimate.n < REPLICATES:
        return REPLICATES
    if estimate.low is None or estimate.high is None:
        return None
    bound = min((each for each in support if each is not None), key=lambda each: abs(estimate.value - each))
    if estimate.values:
        found = seeds_to_decide(
            list(estimate.values.values()), against=bound, level=level, images=estimate.images or 0.0
        )
        return None if found is None else max(found, estimate.n + 1)
    distance = abs(estimate.value - bound)
    half = estimate.value - estimate.low if estimate.value > bound else estimate.high - estimate.value
    factor = (NormalDist().inv_cdf(1 - level / 2) / Z * half / distance) ** 2 if distance > _TIE else math.inf
    return max(estimate.n + 1, math.ceil(estimate.n * factor)) if factor <= _MOST else None
