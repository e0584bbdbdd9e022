"""Everything that a folder of runs holds, read once; what is damaged or unfinished is named and left out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenprune.claims import RunData, TrainedStudy, Trend, Verdict, judge, read_runs, row_of, studies, trends
from tokenprune.drawing.table import Table
from tokenprune.errors import TokenpruneError, UsageError, unknown
from tokenprune.experiments import CLAIMS, EXPERIMENTS
from tokenprune.recipe import Schedule
from tokenprune.report import environment
from tokenprune.report.laboratory import Laboratory
from tokenprune.report.laboratory import collect as collect_laboratory
from tokenprune.report.matrix import Matrix, matrix
from tokenprune.runs import all_runs
from tokenprune.runs.packed import ENDING
from tokenprune.theory.folder import theory_runs


@dataclass(frozen=True)
class Report:
    """What all runs of a folder say together.

    runs: the finished trainings, with the curves that are shown. studies: these by setting, as they are judged.
    tables: by number of their experiment. environments: environment.json by folder name. trends: of the verdicts over
    depth. matrix: verdicts and trends as they are shown. problems: a line for each thing that could not be used.
    laboratory: what `tokenprune theory` left. figures: names of those drawn, none before they are.
    """

    runs: tuple[RunData, ...]
    studies: tuple[TrainedStudy, ...]
    tables: Mapping[str, tuple[Table, ...]]
    environments: dict[str, dict[str, Any]]
    verdicts: tuple[Verdict, ...]
    trends: tuple[Trend, ...]
    matrix: Matrix
    problems: tuple[str, ...]
    laboratory: Laboratory
    figures: tuple[str, ...] = ()


def collect(
    runs_dir: Path,
    names: Sequence[str] | None = None,
    sites: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> Report:
    """Read the runs in `runs_dir`, or those named; of their prunes those at `sites`, by `methods`.

    Sites and methods choose what is shown, not what is judged: verdicts and trends stay adjusted for all that was
    measured.
    Raises TokenpruneError if no run is finished, UsageError for a name, site or method of none of them.
    """
    runs, problems = _named(runs_dir, names)
    laboratory = collect_laboratory(runs_dir, names)
    if not (runs or laboratory):
        because = "".join(f"\n{problem}" for problem in (*problems, *laboratory.problems))
        below = sorted(map(str, runs_dir.glob(f"*/*{ENDING}")))[:3]
        because += f"\npacked results lie below: {', '.join(below)}" if below else ""
        raise TokenpruneError(
            f"{runs_dir}: no finished run to report on; `tokenprune train --recipe quickstart` makes one, "
            f"`tokenprune theory phase` one of the laboratory, --runs-dir looks elsewhere{because}"
        )
    environments, unread = environment.read_all(run.folder for run in runs if run.environment)
    at = [str(Schedule.parse(site)) for site in sites] if sites else None
    by = list(methods) if methods else None
    judged = studies(runs)
    every = judge(judged, CLAIMS)
    verdicts = tuple(verdict for verdict in every if _is_of(verdict, at, by))
    rows = {row_of(verdict) for verdict in verdicts}
    found_trends = tuple(trend for trend in trends(every) if row_of(trend) in rows)
    shown = _shown(runs, at, by)
    studied = tuple(studies(shown))
    return Report(
        runs=tuple(shown),
        studies=studied,
        tables={each.number: tuple(each.tables(studied, verdicts)) for each in EXPERIMENTS},
        environments={run.folder.name: environments.get(run.folder.name, {}) for run in runs},
        verdicts=verdicts,
        trends=found_trends,
        matrix=matrix(verdicts, found_trends, judged),
        problems=(*problems, *unread, *laboratory.problems),
        laboratory=laboratory,
    )


def chosen(
    runs_dir: Path,
    names: Sequence[str] | None,
    sites: Sequence[str] | None,
    methods: Sequence[str] | None,
    beside: Collection[str],
) -> tuple[list[TrainedStudy], list[str]]:
    """Studies of the runs with the curves that were asked for, as `collect` has them; and what cannot be used.

    beside: methods that stand beside those asked for, where they were measured.
    """
    runs, problems = _named(runs_dir, names)
    at = [str(Schedule.parse(site)) for site in sites] if sites else None
    if methods is not None:
        measured = {prune.method for run in runs for _, prune in run.prunes}
        methods = [*methods, *(measured & set(beside))]
    return studies(_shown(runs, at, methods)), problems


def _named(runs_dir: Path, names: Sequence[str] | None) -> tuple[list[RunData], list[str]]:
    """The finished trainings, or those named, and a line for each thing that cannot be used. Raises UsageError."""
    if names is not None:
        known = [folder.name for folder in (*all_runs(runs_dir), *theory_runs(runs_dir))]
        for name in names:
            if name not in known:
                raise UsageError(f"{unknown('run', name, known)} (looked in {runs_dir})")
    found, problems = read_runs(runs_dir)
    return [run for run in found if names is None or run.folder.name in names], problems


def _shown(runs: Iterable[RunData], sites: Sequence[str] | None, methods: Sequence[str] | None) -> list[RunData]:
    """The runs with those of their curves that were asked for. Raises UsageError for a site or method of none."""
    found = list(runs)
    prunes = [prune for run in found for _, prune in run.prunes]
    for kind, names, known in (
        ("site", sites, {prune.written_site for prune in prunes}),
        ("method", methods, {prune.method for prune in prunes}),
    ):
        for name in names or ():
            if name not in known:
                raise unknown(f"measured {kind}", name, known)
    return [
        replace(
            run,
            prunes=[
                (path, prune)
                for path, prune in run.prunes
                if (sites is None or prune.written_site in sites) and (methods is None or prune.method in methods)
            ],
        )
        for run in found
    ]


def _is_of(verdict: Verdict, sites: Sequence[str] | None, methods: Sequence[str] | None) -> bool:
    """Whether a verdict is shown: at one of the sites or at none, and on no methods but these."""
    at_site = sites is None or verdict.site in (None, *sites)
    return at_site and (methods is None or set(verdict.methods) <= set(methods))
