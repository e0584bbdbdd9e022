"""Everything there is to say of one claim: statement, source, test, what was run, and why the verdict."""

from dataclasses import dataclass
from pathlib import Path

from tokenprune.claims.claim import Claim
from tokenprune.claims.evidence import read_runs
from tokenprune.claims.judge import CLAIMS, LEVEL, SEEDS, Verdict, judge
from tokenprune.claims.theory import THEORY_CLAIMS, TheoryClaim, TheoryVerdict, judge_theory, read_theory
from tokenprune.claims.theory.judge import TRIALS
from tokenprune.errors import unknown

_SEEDS_RULE = (
    f"Replicates are training seeds, at least {SEEDS}; Student's two-sided t test against the threshold, p adjusted by "
    f"Holm over all findings of the claim, {LEVEL:.0%}."
)
_TRIALS_RULE = (
    f"Replicates are trials, at least {TRIALS}; the 95 % interval must lie wholly inside (or outside) the range that "
    f"counts as support, and p, adjusted by Holm over all findings of the claim, below {LEVEL:.0%}."
)


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
    """missing: how to get evidence where there is none. problems: what in the folder of runs could not be used."""

    claim: str
    statement: str
    source: str
    reads: str
    test: str
    rule: str
    judged: tuple[Judged, ...]
    missing: str | None
    problems: tuple[str, ...]


def explain(name: str, runs_dir: Path) -> Explanation:
    """What the runs in `runs_dir` say of the claim of that id, or of a theory claim by its number.

    Raises UsageError, with the nearest id, for an unknown claim.
    """
    known: dict[str, Claim | TheoryClaim] = {claim.id: claim for claim in CLAIMS}
    known |= {claim.id: claim for claim in THEORY_CLAIMS}
    by_number = {claim.number.lower(): claim for claim in THEORY_CLAIMS}
    claim = known.get(name) or by_number.get(name.lower())
    if claim is None:
        raise unknown("claim", name, known)
    theory = isinstance(claim, TheoryClaim)
    judged, problems = _theory(claim.id, runs_dir) if theory else _images(claim.id, runs_dir)
    return Explanation(
        claim=claim.id,
        statement=claim.statement,
        source=claim.source,
        reads=claim.reads,
        test=claim.test,
        rule=_TRIALS_RULE if theory else _SEEDS_RULE,
        judged=tuple(judged),
        missing=None if judged else _missing(claim, runs_dir),
        problems=tuple(problems),
    )


def _images(claim: str, runs_dir: Path) -> tuple[list[Judged], list[str]]:
    runs, problems = read_runs(runs_dir)
    return [_judged(v, _where(v), v.todo) for v in judge(runs) if v.claim == claim], problems


def _theory(claim: str, runs_dir: Path) -> tuple[list[Judged], list[str]]:
    found, problems = read_theory(runs_dir)
    verdicts = judge_theory([(folder.name, result) for folder, result in found])
    return [_judged(v, _setting(v), v.change) for v in verdicts if v.claim == claim], problems


def _judged(verdict: Verdict | TheoryVerdict, where: str, further: str | None) -> Judged:
    return Judged(where, verdict.verdict, verdict.why, further, tuple(verdict.evidence))


def _where(verdict: Verdict) -> str:
    site = f"site {verdict.site}" if verdict.site else None
    return ", ".join(dict.fromkeys(filter(None, (verdict.recipe, f"depth {verdict.depth}", site, verdict.variant))))


def _setting(verdict: TheoryVerdict) -> str:
    return f"{verdict.variant}: {verdict.title}" if verdict.variant else verdict.title


def _missing(claim: Claim | TheoryClaim, runs_dir: Path) -> str:
    if isinstance(claim, TheoryClaim):
        return f"{runs_dir}: nothing here that it reads ({claim.reads}); `tokenprune theory --help` shows what makes it"
    return f"{runs_dir}: nothing here that it reads ({claim.reads}); start with `tokenprune train --recipe quickstart`"
