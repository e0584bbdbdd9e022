"""Findings to verdicts: Holm's adjusted p at 5 %, and an interval wholly on one side."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Literal

from tokenprune.claims.published import PAPER
from tokenprune.claims.theory.attention import concentration
from tokenprune.claims.theory.claim import Range, TheoryClaim, TheoryFinding, TheoryVerdict
from tokenprune.claims.theory.convergence import convergence
from tokenprune.claims.theory.removal import after_removal
from tokenprune.claims.theory.scaling import against_alpha, against_cnn, against_noise, against_start
from tokenprune.claims.theory.setting import Setting
from tokenprune.claims.theory.spatial import SPATIAL_CLAIMS
from tokenprune.runs import TheoryResult
from tokenprune.statistics import Z, holm

#: Fewer trials decide nothing.
TRIALS = 3
LEVEL = 0.05
#: How many times as many trials are worth foretelling.
_FORETOLD = 50
#: Bounds nearer than this are met: the difference is rounding.
_TIE = 1e-9

THEORY_CLAIMS: tuple[TheoryClaim, ...] = (
    TheoryClaim(
        id="theory-alpha",
        number="T1",
        statement="Sample complexity falls as alpha_* grows, and no faster than alpha_*^-2.",
        source=f"{PAPER}, Theorem 1",
        reads="phase results of the ViT over alpha_*",
        test="the exponent g of N50 ~ alpha_*^-g is above 0 and at most 2. In a single pass N is iterations times "
        "batch, so N50 also measures how fast SGD is: N50 eta / batch stands with the numbers. g depends on the N of "
        "the grid: beside it stands the g of a success rate that need not reach 1",
        unit="exponent of 1 / alpha_*",
        range=(0.0, 2.0),
        find=against_alpha,
    ),
    TheoryClaim(
        id="theory-noise",
        number="T2",
        statement="Sample complexity grows with token noise tau.",
        source=f"{PAPER}, Theorem 1, as (Theta(1) - tau)^-2 (full form as recalled)",
        reads="phase results of the ViT over tau",
        test="the slope of N50^-1/2 against tau is below 0; the form is not tested, its lack of fit stands beside",
        unit="N^-1/2 per unit of tau",
        range=(None, 0.0),
        find=against_noise,
    ),
    TheoryClaim(
        id="theory-start",
        number="T3",
        statement="Sample complexity grows with the starting error sigma.",
        source=f"{PAPER}, Theorem 1, as (Theta(1) - sigma)^-2 (full form as recalled)",
        reads="phase results of the ViT over sigma, with delta twice that",
        test="the slope of N50^-1/2 against sigma is below 0; the form is not tested, its lack of fit stands beside",
        unit="N^-1/2 per unit of sigma",
        range=(None, 0.0),
        find=against_start,
    ),
    TheoryClaim(
        id="theory-attention",
        number="T4",
        statement="Attention summed over label-relevant tokens grows in training, to a limit, no slower than 1/t.",
        source=f"{PAPER}, Proposition 2: to 1 - eta^C at a rate of O(1/t)",
        reads="attention results",
        test="last less first is above 0; variant rate: p in limit - a(t) ~ t^-p is above 1, where p is identified: a "
        "residual of at most 1 % of the rise, and an interval within 0.2 to 10",
        unit="share of attention",
        range=(0.0, None),
        find=concentration,
    ),
    TheoryClaim(
        id="theory-sparsify",
        number="T5",
        statement="Removing label-irrelevant or noisy tokens lowers sample complexity.",
        source=f"{PAPER}, corollary on sparsification",
        reads="sparsify results",
        test="log2 of N50 after removal over N50 before, or after random removal of as many tokens, is below 0",
        unit="doublings of N50",
        range=(None, 0.0),
        find=after_removal,
    ),
    TheoryClaim(
        id="theory-vit-beats-cnn",
        number="T6",
        statement="As alpha_* falls, a CNN of about as many parameters needs ever more samples than the ViT.",
        source=f"{PAPER}, Proposition 1: alpha_*^-4 against alpha_*^-2",
        reads="phase results over alpha_* of a ViT and a CNN on the same data, trained alike",
        test="exponent g of N50 ~ alpha_*^-g of the CNN less that of the ViT is above 0. In a single pass N is "
        "iterations times batch, so this also compares how fast SGD trains them",
        unit="exponent of 1 / alpha_*",
        range=(0.0, None),
        find=against_cnn,
    ),
    TheoryClaim(
        id="theory-time",
        number="T7",
        statement="Iterations to zero test error grow no faster than alpha_*^-1 eta^-1.",
        source=f"{PAPER}, Theorem 1: Theta(alpha_*^-1 eta^-1)",
        reads="time results of the ViT",
        test="the exponent h of T ~ alpha_*^-h is above 0 and at most 1; variant eta: of T ~ eta^-h. At least three "
        "alpha_* (three eta) and six trials",
        unit="exponent of 1 / alpha_*",
        range=(0.0, 1.0),
        find=convergence,
    ),
    *SPATIAL_CLAIMS,
)

_Outcome = Literal["supported", "refuted", "undecided"]


def judge_theory(results: Sequence[tuple[str, TheoryResult]]) -> list[TheoryVerdict]:
    """A verdict per claim, setting and variant, claims in their order.

    results: (folder name, result); those that share a setting are pooled over their seeds.
    """
    pools: dict[str, list[tuple[str, TheoryResult]]] = {}
    for name, result in sorted(results, key=lambda pair: (pair[1].name, pair[1].setting, pair[1].seed)):
        pools.setdefault(result.setting, []).append((name, result))
    settings: list[Setting[Any]] = [
        Setting(tuple(name for name, _ in pool), tuple(result for _, result in pool)) for pool in pools.values()
    ]
    verdicts = []
    for claim in THEORY_CLAIMS:
        findings = claim.find(settings)
        p_values = [_p(finding, finding.range or claim.range) for finding in findings]
        adjusted = iter(holm([p for p in p_values if p is not None]))
        verdicts += [
            _verdict(claim, finding, p, None if p is None else next(adjusted), len(findings))
            for finding, p in zip(findings, p_values, strict=True)
        ]
    return verdicts


def _p(finding: TheoryFinding, allowed: Range) -> float | None:
    """Against the bound that the effect violates; the largest over the bounds where it violates none."""
    effect = finding.effect
    if effect is None or finding.trials < TRIALS:
        return None
    violated = [bound for bound in allowed if bound is not None and _beyond(effect, bound, allowed)]
    found = [finding.p(bound) for bound in violated or allowed if bound is not None]
    known = [p for p in found if p is not None]
    return max(known) if known else None


def _beyond(effect: float, bound: float, allowed: Range) -> bool:
    return effect > bound + _TIE if bound == allowed[1] else effect <= bound + _TIE


def outcome(low: float | None, high: float | None, allowed: Range, p_adjusted: float | None) -> _Outcome:
    """Supported with the interval wholly inside (lower, upper], refuted with it wholly outside, and p below 5 %."""
    if low is None or high is None or p_adjusted is None or p_adjusted >= LEVEL:
        return "undecided"
    return _side(low, high, allowed)


def _side(low: float, high: float, allowed: Range) -> _Outcome:
    """Of the interval alone."""
    lower, upper = allowed
    if (lower is None or low > lower + _TIE) and (upper is None or high <= upper + _TIE):
        return "supported"
    if (lower is not None and high <= lower + _TIE) or (upper is not None and low > upper + _TIE):
        return "refuted"
    return "undecided"


def _verdict(
    claim: TheoryClaim, finding: TheoryFinding, p: float | None, adjusted: float | None, findings: int
) -> TheoryVerdict:
    setting = finding.settings[0]
    allowed = finding.range or claim.range
    verdict = outcome(finding.low, finding.high, allowed, adjusted)
    title = setting.title
    if len(finding.settings) > 1:
        title += f"; {setting.differences(finding.settings[1], without=('grid.trials',))}"
    return TheoryVerdict(
        claim=claim.id,
        number=claim.number,
        statement=claim.statement,
        source=claim.source,
        setting=setting.first.setting,
        recipe=setting.first.name,
        title=title,
        variant=finding.variant,
        verdict=verdict,
        effect=finding.effect,
        low=finding.low,
        high=finding.high,
        range=allowed,
        unit=finding.unit or claim.unit,
        p=p,
        p_adjusted=adjusted,
        trials=finding.trials,
        models=sum(each.models for each in finding.settings),
        beside=finding.beside,
        why=_why(finding, allowed, p, adjusted, verdict, findings)
        + (f" Beside it: {finding.beside}." if finding.beside and finding.effect is not None else ""),
        change=_change(finding, allowed, verdict, findings),
        evidence=tuple(name for each in finding.settings for name in each.folders),
        details=finding.details,
    )


def _why(
    finding: TheoryFinding, allowed: Range, p: float | None, adjusted: float | None, verdict: _Outcome, findings: int
) -> str:
    if finding.effect is None:
        return f"{_sentence(finding.lacking or 'nothing was measured')}."
    said = f"{finding.what}: {finding.effect:.3g}"
    if finding.low is None or finding.high is None:
        return f"{said}, without an interval: {finding.lacking or f'{_trials(finding.trials)} only'}."
    said += f" (95 % interval {finding.low:.3g} to {finding.high:.3g}, {_trials(finding.trials)}"
    said += f", Holm-adjusted p {adjusted:.2g})" if adjusted is not None else ")"
    where = _where(allowed)
    if verdict == "supported":
        return f"{said}, wholly {where}."
    if verdict == "refuted":
        return f"{said}, wholly not {where}."
    if finding.trials < TRIALS:
        return f"{said}; a verdict needs {TRIALS} trials."
    alone = _side(finding.low, finding.high, allowed)
    if alone != "undecided" and p is not None and p < LEVEL:
        aside = f"wholly {where}" if alone == "supported" else f"wholly not {where}"
        return f"{said}; the interval alone is {aside}; not after Holm over {_counted(findings)}."
    lower, upper = allowed
    if lower is not None and upper is not None and finding.low > lower and finding.high >= upper - _TIE:
        return f"{said}; it agrees with the bound {upper:g}, which lies in the interval."
    if adjusted is not None and adjusted < LEVEL:
        return f"{said}; the interval is neither wholly {where} nor wholly beyond."
    return f"{said}; too uncertain to be called {where} or not."


def _where(allowed: Range) -> str:
    lower, upper = allowed
    if lower is None:
        return f"below {upper:g}"
    return f"above {lower:g}" if upper is None else f"within ({lower:g}, {upper:g}]"


def _change(finding: TheoryFinding, allowed: Range, verdict: _Outcome, findings: int) -> str:
    if finding.effect is None or finding.low is None or finding.high is None:
        return finding.todo or "Another setting: more trials of this one would not help."
    distance, half = _margin(finding, allowed)
    if verdict != "undecided":
        return (
            f"Another setting: the interval lies {distance - half:.2g} clear of the nearest bound, "
            "and more trials would narrow it."
        )
    if finding.trials < TRIALS:
        wanted: int | None = TRIALS
    else:
        # Holm asks of the smallest of so many p values that it be below 5 % / findings.
        quantile = NormalDist().inv_cdf(1 - LEVEL / 2 / max(1, findings))
        factor = (quantile / Z * half / distance) ** 2 if distance > _TIE else math.inf
        wanted = max(finding.trials + 1, math.ceil(finding.trials * factor)) if factor <= _FORETOLD else None
    parts = [_more(finding, wanted - finding.trials) if wanted else _ON_THE_BOUND]
    return "\n".join([*parts, *([finding.todo] if finding.todo else [])])


_ON_THE_BOUND = "The effect is too close to the bound to foretell: if it lies on it, no number of trials decides."


def _more(finding: TheoryFinding, trials: int) -> str:
    """Seeds that bring so many more trials: those of a setting are pooled. At most five are written out."""
    seeds = math.ceil(trials * len(finding.settings[0].results) / finding.trials)
    said = f"About {trials} more trials at this spread, that is {seeds} more {'seed' if seeds == 1 else 'seeds'}:"
    return "\n".join([said, *(setting.further_seeds(min(seeds, 5)) for setting in finding.settings)])


def _margin(finding: TheoryFinding, allowed: Range) -> tuple[float, float]:
    """(distance of the effect from the nearest bound, half width of the interval on that side)"""
    assert finding.effect is not None
    assert finding.low is not None
    assert finding.high is not None
    below, above = finding.effect - finding.low, finding.high - finding.effect
    return min(
        (abs(finding.effect - bound), below if finding.effect > bound else above)
        for bound in allowed
        if bound is not None
    )


def _counted(findings: int) -> str:
    return "1 finding" if findings == 1 else f"{findings} findings"


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
