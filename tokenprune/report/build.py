"""A report written into a folder: page, figures, CSV, JSON."""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tokenprune import files as disk
from tokenprune.claims import Study, Verdict
from tokenprune.drawing.style import slug, style
from tokenprune.drawing.table import Table, to_csv
from tokenprune.errors import TokenpruneError
from tokenprune.experiments import EXPERIMENTS, LABORATORY, Experiment
from tokenprune.report.collect import Report, collect
from tokenprune.report.explorer import embedded
from tokenprune.report.export import as_json, claim_table, point_rows, run_rows, to_json
from tokenprune.report.laboratory_rows import points as laboratory_rows
from tokenprune.report.matrix_figure import matrix_figure
from tokenprune.report.page import page, theory_page
from tokenprune.report.sections import Shown
from tokenprune.runs import atomic

_MOST = 20  # figures of an experiment that are drawn; their numbers are in the tables and files
_PAGES_AND_TABLES = {
    "index.html",
    "points.csv",
    "runs.csv",
    "claims.csv",
    "theory.html",
    "theory.csv",
}


def write(
    runs_dir: Path,
    out: Path,
    *,
    runs: Sequence[str] | None = None,
    sites: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> Report:
    """Write figures/, claims.csv and report.json into `out`; index.html, points.csv and runs.csv if there are trained
    runs, theory.html and theory.csv if there are runs of the laboratory.

    runs: folder names; sites, methods: of prunes, as in `collect`; None for all. What was damaged, unfinished or too
    much to draw is in `.problems` of the result. Pages and figures of an earlier report in `out` that are not part of
    this one are removed. Raises TokenpruneError if no run is finished or if `out` cannot be written, which leaves an
    earlier report whole; UsageError for an unknown run, site or method.
    """
    report = collect(runs_dir, runs, sites, methods)
    gc.freeze()  # the report's objects, often millions, are not to be searched for garbage again and again
    try:
        with style():
            matrix = matrix_figure(report.matrix) if report.matrix.rows else None
            problems, parts = _parts(EXPERIMENTS, report.studies, report.verdicts, report.tables)
            found = report.laboratory
            lost, laboratory = _parts(LABORATORY, found.studies, found.verdicts, found.tables)
    finally:
        gc.unfreeze()
    drawings = [drawing for part in (*parts, *laboratory) for drawing in part.drawings]
    drawings = [matrix, *drawings] if matrix else drawings
    points, laboratory_points = point_rows(report), laboratory_rows(report.laboratory)
    tables = {"claims": claim_table(report)}
    if report.runs:
        tables |= {"points": points, "runs": run_rows(report)}
    if report.laboratory:
        tables |= {"theory": laboratory_points}
    explorer, unseen = embedded(report.runs)
    report = replace(
        report,
        problems=(*report.problems, *problems, *lost, *unseen),
        figures=tuple(drawing.name for drawing in drawings),
    )
    files: dict[str, bytes] = {}
    for drawing in drawings:
        files |= {f"figures/{drawing.name}.svg": drawing.svg.encode(), f"figures/{drawing.name}.png": drawing.png}
    files |= {f"{name}.csv": to_csv(rows).encode() for name, rows in tables.items()}
    if report.runs:
        files["index.html"] = page(report, parts, matrix, explorer).encode()
    if report.laboratory:
        files["theory.html"] = theory_page(report, laboratory).encode()
    files["report.json"] = to_json(
        as_json(report, points, laboratory_points)
    ).encode()  # last: it says what stands here
    atomic.write_files(out, files, _earlier(out) - set(files))
    return report


def _parts(
    experiments: Sequence[Experiment],
    studies: Sequence[Study],
    verdicts: Sequence[Verdict],
    tables: Mapping[str, tuple[Table, ...]],
) -> tuple[list[str], list[Shown]]:
    """A line for each thing that could not be drawn, and the experiments."""
    problems: list[str] = []
    parts = []
    for experiment in experiments:
        figures = experiment.figures(studies, verdicts)
        if len(figures) > _MOST:
            problems.append(
                f"figures: only {_MOST} of {len(figures)} figures of {experiment.number} are drawn; all numbers are in "
                "the tables and CSV; --site, --method and --run of `tokenprune report` choose what is drawn"
            )
        drawings = []
        for draw in figures[:_MOST]:
            try:
                drawings.append(draw())
                problems += drawings[-1].problems
            except TokenpruneError as error:
                problems += str(error).splitlines()
        parts.append(Shown(experiment, tuple(drawings), tables[experiment.number]))
    return problems, parts


def _earlier(out: Path) -> set[str]:
    """What the report that stands in `out` wrote; nothing where nothing says so."""
    try:
        record = disk.parse_json(disk.read_text(out / "report.json"))
    except (OSError, ValueError):
        return set()
    names = record.get("figures", []) if isinstance(record, dict) else []
    own = [name for name in names if isinstance(name, str) and name == slug(name)]
    return {f"figures/{name}.{kind}" for name in own for kind in ("svg", "png")} | _PAGES_AND_TABLES
