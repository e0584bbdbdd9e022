"""Everything that a folder of runs holds, read once; what is damaged or unfinished is named and left out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenprune.claims import RunData, TrainedStudy, Trend, Verdict, judge, read_runs, studies, trends
from tokenprune.errors import TokenpruneError, UsageError, unknown
from tokenprune.recipe import Schedule
from tokenprune.report import environment, theory
from tokenprune.report.matrix import Matrix, matrix
from tokenprune.report.series import Curves, Measured, Trained, curves
from tokenprune.runs import RunFolder, all_runs, theory_runs
from tokenprune.statistics import wilson


@dataclass(frozen=True)
class Report:
    """What all runs of a folder say together.

    folders: of the finished training runs, in the order of `trained`. attention: (epoch, share per block) by folder
    name. environments: environment.json by folder name. problems: a line for each thing that could not be used.
    trends: of the verdicts over depth. matrix: verdicts and trends as they are shown.
    curves: of all that was measured. laboratory: what `tokenprune theory` left. figures: names of those drawn, none
    before they are.
    """

    folders: tuple[RunFolder, ...]
    trained: tuple[Trained, ...]
    measured: tuple[Measured, ...]
    attention: dict[str, list[tuple[int, tuple[float, ...]]]]
    environments: dict[str, dict[str, Any]]
    verdicts: tuple[Verdict, ...]
    trends: tuple[Trend, ...]
    matrix: Matrix
    problems: tuple[str, ...]
    curves: tuple[Curves, ...]
    laboratory: theory.Laboratory
    figures: tuple[str, ...] = ()


def collect(
    runs_dir: Path,
    names: Sequence[str] | None = None,
    sites: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> Report:
    """Read the runs in `runs_dir`, or those named; of their prunes those at `sites`, by `methods`.

    Sites and methods choose what is shown, not what is judged: verdicts stay adjusted for all that was measured.
    Raises TokenpruneError if no run is finished, UsageError for a name, site or method of none of them.
    """
    if names is not None:
        known = [folder.name for folder in (*all_runs(runs_dir), *theory_runs(runs_dir))]
        for name in names:
            if name not in known:
                raise UsageError(f"{unknown('run', name, known)} (looked in {runs_dir})")
    found, problems = read_runs(runs_dir)
    runs = [run for run in found if names is None or run.folder.name in names]
    laboratory = theory.collect(runs_dir, names)
    if not (runs or laboratory):
        because = "".join(f"\n{problem}" for problem in (*problems, *laboratory.problems))
        raise TokenpruneError(
            f"{runs_dir}: no finished run to report on; `tokenprune train --recipe quickstart` makes one, "
            f"`tokenprune theory phase` one of the laboratory, --runs-dir looks elsewhere{because}"
        )
    environments, unread = environment.read_all(run.folder for run in runs if run.environment)
    measured = tuple(
        Measured(run.folder.name, run.result, prune, path.name, point)
        for run in runs
        for path, prune in run.prunes
        for point in prune.points
    )
    at = [str(Schedule.parse(site)) for site in sites] if sites else None
    by = list(methods) if methods else None
    shown = tuple(_chosen(measured, at, by))
    trained = tuple(map(_trained, runs))
    verdicts = tuple(verdict for verdict in judge(studies(runs)) if _is_of(verdict, at, by))
    found_trends = tuple(trends(verdicts))
    return Report(
        folders=tuple(run.folder for run in runs),
        trained=trained,
        measured=shown,
        attention={
            run.folder.name: [(e.epoch, e.attention_on_relevant) for e in run.epochs if e.attention_on_relevant]
            for run in runs
        },
        environments={run.folder.name: environments.get(run.folder.name, {}) for run in runs},
        verdicts=verdicts,
        trends=found_trends,
        matrix=matrix(verdicts, found_trends, trained),
        problems=(*problems, *unread, *laboratory.problems),
        curves=tuple(curves(shown)),
        laboratory=laboratory,
    )


def _trained(run: RunData) -> Trained:
    words = TrainedStudy((run,))
    bounds = wilson(run.result.test_correct, run.result.test_count)
    return Trained(
        run.folder.name, run.result, *bounds, words.title, words.start, run.epochs[-1].step if run.epochs else 0
    )


def _chosen(measured: Iterable[Measured], sites: Sequence[str] | None, methods: Sequence[str] | None) -> list[Measured]:
    found = list(measured)
    for kind, names, of in (
        ("site", sites, lambda m: m.prune.written_site),
        ("method", methods, lambda m: m.prune.method),
    ):
        for name in names or ():
            if name not in (known := {of(each) for each in found}):
                raise unknown(f"measured {kind}", name, known)
        found = [each for each in found if names is None or of(each) in names]
    return found


def _is_of(verdict: Verdict, sites: Sequence[str] | None, methods: Sequence[str] | None) -> bool:
    """Whether a verdict is shown: at one of the sites or at none, and on no methods but these."""
    at_site = sites is None or verdict.site in (None, *sites)
    return at_site and (methods is None or set(verdict.methods) <= set(methods))
