"""A report written into a folder: page, figures, CSV, JSON."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path

from tokenprune import files
from tokenprune.errors import TokenpruneError
from tokenprune.report.arms import experiments
from tokenprune.report.collect import Report, collect
from tokenprune.report.experiments import experiment_figure
from tokenprune.report.export import as_json, claim_table, point_rows, run_rows, to_csv, to_json
from tokenprune.report.figures import attention_figure, curve_figures, styles_of, suffixes
from tokenprune.report.matrix_figure import matrix_figure
from tokenprune.report.mosaic import EXAMPLES, Examples, mosaic, read_examples
from tokenprune.report.page import page
from tokenprune.report.series import Curves, Group, Measured, attention, by_method
from tokenprune.report.style import Drawing, slug, style
from tokenprune.report.theory.figures import figures as laboratory_figures
from tokenprune.report.theory.layout import PREFIX
from tokenprune.report.theory.page import page as laboratory_page
from tokenprune.report.theory.rows import points as laboratory_rows
from tokenprune.runs import RunFolder, atomic

_PANELS = 20  # of curves that are drawn, in whole groups; all are in the tables and files
_MOST = 4  # families of attention
_EXPERIMENTS = 12
_MOSAICS = 6
_ATTENTION = "attention-concentrates"
_PAGES_AND_TABLES = {
    "index.html",
    "points.csv",
    "runs.csv",
    "claims.csv",
    "theory.html",
    "theory.csv",
}
_CHOOSE = "--site, --method and --run of `tokenprune report` choose what is drawn"

_Drawn = tuple[list[Drawing], list[str]]  # and a line for each that could not be drawn


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
    drawings, problems = _draw(report)
    points, laboratory_points = point_rows(report), laboratory_rows(report.laboratory)
    tables = {"claims": claim_table(report)}
    if report.trained:
        tables |= {"points": points, "runs": run_rows(report)}
    if report.laboratory:
        tables |= {"theory": laboratory_points}
    report = replace(
        report, problems=(*report.problems, *problems), figures=tuple(drawing.name for drawing in drawings)
    )
    files = {f"figures/{drawing.name}.{kind}": content for drawing in drawings for kind, content in _files(drawing)}
    files |= {f"{name}.csv": to_csv(rows).encode() for name, rows in tables.items()}
    if report.trained:
        others = [drawing for drawing in drawings if not drawing.name.startswith(PREFIX)]
        files["index.html"] = page(report, others).encode()
    if found := report.laboratory:
        chosen = [drawing for drawing in drawings if drawing.name.startswith(PREFIX)]
        files["theory.html"] = laboratory_page(found, chosen, trained=bool(report.trained)).encode()
    files["report.json"] = to_json(
        as_json(report, points, laboratory_points)
    ).encode()  # last: it says what stands here
    atomic.write_files(out, files, _earlier(out) - set(files))
    return report


def _draw(report: Report) -> _Drawn:
    """All figures, and what stood in their way."""
    styles = styles_of(line for curves in report.curves for panel in curves.panels for line in panel.lines)
    endings = suffixes(report.curves)
    concentrates = {verdict.setting for verdict in report.verdicts if verdict.claim == _ATTENTION}
    shown = attention(report.attention, [run for run in report.trained if run.result.setting in concentrates])
    compared = [draw for each in experiments(report.verdicts, report.trained) if (draw := experiment_figure(each))]
    single: list[Callable[[], Drawing]] = [partial(matrix_figure, report.matrix)] if report.matrix.rows else []
    single += compared[:_EXPERIMENTS]
    groups = sum(total <= _PANELS for total in accumulate(len(curves.panels) for curves in report.curves))
    single += [
        draw
        for curves, suffix in zip(report.curves[:groups], endings, strict=False)
        for draw in curve_figures(curves, suffix, styles)
    ]
    single += [partial(attention_figure, *found) for found in shown[:_MOST]]
    single += laboratory_figures(report.laboratory)
    capped = [
        f"figures: only {most} of {count} {what} are drawn; all are in the tables and CSV; {_CHOOSE}"
        for what, count, most in (
            ("groups of curves", len(report.curves), groups),
            ("families' attention", len(shown), _MOST),
            ("experiments", len(compared), _EXPERIMENTS),
        )
        if count > most
    ]
    gc.freeze()  # the report's objects, often millions, are not to be searched for garbage again and again
    try:
        with style():
            drawings = [draw() for draw in single]
            mosaics, damaged = _mosaics(report, endings)
    finally:
        gc.unfreeze()
    return drawings + mosaics, capped + damaged


def _mosaics(report: Report, endings: Sequence[str]) -> _Drawn:
    """One mosaic per group and depth, of the first seed's run that kept examples."""
    folders = {folder.name: folder for folder in report.folders}
    prunes: dict[str, dict[str, list[Measured]]] = {}
    for measured in report.measured:
        prunes.setdefault(measured.folder, {}).setdefault(measured.prune_id, []).append(measured)
    wanted = [
        (curves, panel, suffix)
        for curves, suffix in zip(report.curves, endings, strict=True)
        for panel in curves.panels
        if any(_kept_examples(folders[name], curves, list(prunes[name].values())) for name in panel.runs)
    ]
    drawings: list[Drawing] = []
    problems: list[str] = []
    for curves, panel, suffix in wanted:
        if len(drawings) == _MOSAICS:
            problems.append(f"figures: only {_MOSAICS} of {len(wanted)} mosaics are drawn; {_CHOOSE}")
            break
        for name in sorted(panel.runs, key=lambda name: prunes[name][next(iter(prunes[name]))][0].run.seed):
            try:
                drawing = _mosaic(folders[name], curves, panel.depth, suffix, list(prunes[name].values()))
            except TokenpruneError as error:
                problems.append(str(error))
                continue
            if drawing is not None:
                drawings.append(drawing)
                break
    return drawings, problems


def _kept_examples(folder: RunFolder, curves: Curves, prunes: Sequence[Sequence[Measured]]) -> bool:
    return any(
        (folder.curves / points[0].prune_id / EXAMPLES).is_file()
        for points in prunes
        if Group.of(points[0]) == curves.group
    )


def _earlier(out: Path) -> set[str]:
    """What the report that stands in `out` wrote; nothing where nothing says so."""
    try:
        record = files.parse_json(files.read_text(out / "report.json"))
    except (OSError, ValueError):
        return set()
    names = record.get("figures", []) if isinstance(record, dict) else []
    own = [name for name in names if isinstance(name, str) and name == slug(name)]
    return {f"figures/{name}.{kind}" for name in own for kind in ("svg", "png")} | _PAGES_AND_TABLES


def _files(drawing: Drawing) -> list[tuple[str, bytes]]:
    return [("svg", drawing.svg.encode()), ("png", drawing.png)]


def _mosaic(
    folder: RunFolder, curves: Curves, depth: int, suffix: str, prunes: Sequence[Sequence[Measured]]
) -> Drawing | None:
    """The methods of one group side by side, on the images that they share; None where none kept examples."""
    examples: list[Examples] = []
    for points in prunes:
        first = points[0]
        if Group.of(first) != curves.group:
            continue
        ratios, seeds = [m.point.keep_ratio for m in points], [m.point.seed for m in points]
        found = read_examples(folder.curves / first.prune_id, first.line, ratios, seeds)
        if found is not None and (not examples or found.same_images(examples[0])):
            examples.append(found)
    if not examples:
        return None
    examples.sort(key=lambda example: by_method(example.method))
    run = prunes[0][0].run
    try:
        return mosaic(depth, run.name, curves.group.describe(), suffix, examples, run.data.classes)
    except (ValueError, IndexError) as error:
        raise TokenpruneError(f"{folder.path}: no mosaic: {error}") from None
