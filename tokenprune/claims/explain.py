"""Everything there is to say of one claim: statement, source, test, what was run, and why the verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenprune.claims import units
from tokenprune.claims.catalogue import CLAIMS
from tokenprune.claims.claim import Claim
from tokenprune.claims.evidence import read_runs
from tokenprune.claims.judge import LEVEL, SEEDS, Verdict, judge
from tokenprune.claims.theory import THEORY_CLAIMS, TheoryClaim, TheoryVerdict, judge_theory, read_theory
from tokenprune.claims.theory.judge import TRIALS
from tokenprune.claims.trend import Trend, trends
from tokenprune.errors import UsageError, unknown

_SEEDS_RULE = (
    f"Replicates are training seeds, at least {SEEDS}; Student's two-sided t test against the threshold, p adjusted by "
    f"Holm over all findings of the claim, {LEVEL:.0%}."
)
_TRIALS_RULE = (
    f"Replicates are trials, at least {TRIALS}; the 95 % interval must lie wholly inside (or outside) the range that "
    f"counts as support, and p, adjusted by Holm over all findings of the claim, below {LEVEL:.0%}."
)


#: The sweep that makes an experiment's runs.
_SWEEPS = {
    "I1": "samples-cpu",
    "I2": "sparsify-cpu",
    "I3": "magnitude-cpu",
    "I4": "magnitude-cpu",
    "I5": "spurious-cpu",
    "I6": "starts-cpu",
    "I7": "noise-cpu",
}


@dataclass(frozen=True)
class Judged:
    """A verdict under one setting, in words. next: what would decide or change it, a line each. runs: those read."""

    where: str
    verdict: str
    why: str
    next: str | None
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """published: the authors' numbers, with their mark. trends: how effects change with depth, where several are known.

    missing: how to get evidence where there is none. problems: what in the folder of runs could not be used.
    """

    claim: str
    statement: str
    source: str
    reads: str
    test: str
    rule: str
    published: tuple[str, ...]
    judged: tuple[Judged, ...]
    trends: tuple[str, ...]
    missing: str | None
    problems: tuple[str, ...]


def explain(name: str, runs_dir: Path) -> Explanation:
    """What the runs in `runs_dir` say of the claim of that id, of a theory claim by its number, or of an experiment's
    only claim by its.

    Raises UsageError, with the nearest id, for an unknown claim, and with all of them for an experiment of several.
    """
    known: dict[str, Claim | TheoryClaim] = {claim.id: claim for claim in CLAIMS}
    known |= {claim.id: claim for claim in THEORY_CLAIMS}
    by_number = {claim.number.lower(): claim for claim in THEORY_CLAIMS}
    of_experiment = [claim for claim in CLAIMS if claim.experiment == name.upper()]
    if len(of_experiment) > 1:
        raise UsageError(f"{name.upper()} has several claims: {', '.join(claim.id for claim in of_experiment)}")
    claim = known.get(name) or by_number.get(name.lower()) or next(iter(of_experiment), None)
    if claim is None:
        raise unknown("claim", name, known)
    theory = isinstance(claim, TheoryClaim)
    lines: list[str] = []
    if theory:
        judged, problems = _theory(claim.id, runs_dir)
    else:
        judged, lines, problems = _images(claim.id, runs_dir)
    return Explanation(
        claim=claim.id,
        statement=claim.statement,
        source=claim.source,
        reads=claim.reads,
        test=claim.test,
        rule=_TRIALS_RULE if theory else _SEEDS_RULE,
        published=() if isinstance(claim, TheoryClaim) else tuple(map(str, claim.published)),
        judged=tuple(judged),
        trends=tuple(lines),
        missing=None if judged else _missing(claim, runs_dir),
        problems=tuple(problems),
    )


def _images(claim: str, runs_dir: Path) -> tuple[list[Judged], list[str], list[str]]:
    runs, problems = read_runs(runs_dir)
    verdicts = [verdict for verdict in judge(runs) if verdict.claim == claim]
    names = _names(verdicts)
    judged = [
        _judged(v, ", ".join(filter(None, (names[v.family], f"depth {v.depth}", _at(v)))), v.todo) for v in verdicts
    ]
    unit = verdicts[0].unit if verdicts else ""
    lines = [_trend(each, names[each.family], unit) for each in trends(verdicts) if each.slope is not None]
    return judged, lines, problems


def _theory(claim: str, runs_dir: Path) -> tuple[list[Judged], list[str]]:
    found, problems = read_theory(runs_dir)
    verdicts = judge_theory([(folder.name, result) for folder, result in found])
    return [_judged(v, _setting(v), v.change) for v in verdicts if v.claim == claim], problems


def _judged(verdict: Verdict | TheoryVerdict, where: str, further: str | None) -> Judged:
    return Judged(where, verdict.verdict, verdict.why, further, tuple(verdict.evidence))


def _names(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """By family: recipe and images, and the family where these are not enough."""
    names = {v.family: f"{v.recipe}, {v.data}" for v in verdicts}
    shared = [name for name in names.values() if list(names.values()).count(name) > 1]
    return {family: f"{name}, family {family}" if name in shared else name for family, name in names.items()}


def _at(found: Verdict | Trend) -> str | None:
    return found.variant or (f"site {found.site}" if found.site else None)


def _trend(trend: Trend, name: str, unit: str) -> str:
    where = ", ".join(filter(None, (name, f"depth {', '.join(map(str, trend.depths))}", _at(trend))))
    assert trend.slope is not None
    said = f"{where}: {units.named(trend.slope, unit)} per doubling of depth"
    if trend.low is None or trend.high is None or trend.p is None:
        return said
    return (
        f"{said} (95 % interval {units.effect(trend.low, unit)} to {units.effect(trend.high, unit)}, p {trend.p:.3g})"
    )


def _setting(verdict: TheoryVerdict) -> str:
    return f"{verdict.variant}: {verdict.title}" if verdict.variant else verdict.title


def _missing(claim: Claim | TheoryClaim, runs_dir: Path) -> str:
    if isinstance(claim, TheoryClaim):
        return f"{runs_dir}: nothing here that it reads ({claim.reads}); `tokenprune theory --help` shows what makes it"
    sweep = f"tokenprune sweep {_SWEEPS[claim.experiment]}"
    return f"{runs_dir}: nothing here that it reads ({claim.reads}); `{sweep}` makes it"
