"""Everything there is to say of one claim: statement, source, test, what was run, and why the verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenprune.claims import units
from tokenprune.claims.claim import Claim, Verdict
from tokenprune.claims.evidence import read_runs
from tokenprune.claims.judge import LEVEL, REPLICATES, judge
from tokenprune.claims.study import Study, studies
from tokenprune.claims.theory.evidence import read_theory
from tokenprune.claims.theory.trials import laboratory_studies
from tokenprune.claims.trend import Trend, trends
from tokenprune.errors import UsageError, unknown
from tokenprune.experiments import CLAIMS, EXPERIMENTS

_RULE = (
    f"Replicates are {{}}, at least {REPLICATES}; the 95 % interval must lie wholly inside (or outside) of what counts "
    f"as support, and p, adjusted by Holm over all findings of the claim, below {LEVEL:.0%}."
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
    known = {claim.id: claim for claim in CLAIMS}
    of_experiment = [claim for claim in CLAIMS if claim.experiment == name.upper()]
    if len(of_experiment) > 1:
        raise UsageError(f"{name.upper()} has several claims: {', '.join(claim.id for claim in of_experiment)}")
    claim = known.get(name) or next(iter(of_experiment), None)
    if claim is None:
        raise unknown("claim", name, known)
    found: Sequence[Study]
    if claim.laboratory:
        results, problems = read_theory(runs_dir)
        found = laboratory_studies((folder.name, result) for folder, result in results)
    else:
        runs, problems = read_runs(runs_dir)
        found = studies(runs)
    verdicts = judge(found, [claim])
    names = _names(verdicts)
    return Explanation(
        claim=claim.id,
        statement=claim.statement,
        source=claim.source,
        reads=claim.reads,
        test=claim.test,
        rule=_RULE.format("trials" if claim.laboratory else "training seeds"),
        published=tuple(map(str, claim.published)),
        judged=tuple(Judged(_where(v, names[v.family]), v.verdict, v.why, v.todo, v.evidence) for v in verdicts),
        trends=tuple(
            _trend(each, names[each.family], claim.unit) for each in trends(verdicts) if each.slope is not None
        ),
        missing=None if verdicts else _missing(claim, runs_dir),
        problems=tuple(problems),
    )


def _where(verdict: Verdict, name: str) -> str:
    if verdict.of == "trials":
        return f"{verdict.variant}: {verdict.title}" if verdict.variant else verdict.title
    return ", ".join(filter(None, (name, f"depth {verdict.depth}", _at(verdict))))


def _names(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """By family: recipe and images, and the family where these are not enough."""
    names = {v.family: f"{v.recipe}, {v.title}" for v in verdicts}
    shared = [name for name in names.values() if list(names.values()).count(name) > 1]
    return {family: f"{name}, family {family}" if name in shared else name for family, name in names.items()}


def _at(found: Verdict | Trend) -> str | None:
    return found.variant or (f"site {found.site}" if found.site else None)


def _trend(trend: Trend, name: str, unit: str) -> str:
    where = ", ".join(filter(None, (name, f"depth {', '.join(map(str, trend.depths))}", _at(trend))))
    assert trend.slope is not None
    said = f"{where}: {units.named(trend.slope, unit)} per doubling of depth"
    if trend.low is None or trend.high is None or trend.p_adjusted is None:
        return said
    interval = f"{units.effect(trend.low, unit)} to {units.effect(trend.high, unit)}"
    return f"{said} (95 % interval {interval}, Holm-adjusted p {trend.p_adjusted:.3g})"


def _missing(claim: Claim, runs_dir: Path) -> str:
    here = f"{runs_dir}: nothing here that it reads ({claim.reads})"
    if claim.laboratory:
        return f"{here}; `tokenprune theory --help` shows what makes it"
    sweep = next(experiment.sweep for experiment in EXPERIMENTS if experiment.number == claim.experiment)
    makes = [f"`tokenprune sweep {sweep} --scale cpu` makes it"] if sweep else []
    makes += [f"`tokenprune measure {claim.measurement}` measures it of a run"] if claim.measurement else []
    return "; ".join([here, *makes])
