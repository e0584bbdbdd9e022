"""A report written into a folder: page, figures, CSV, JSON."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from tokenprune.errors import TokenpruneError
from tokenprune.report.collect import Report, collect
from tokenprune.report.export import as_json, claim_rows, point_rows, run_rows, to_csv, to_json
from tokenprune.report.figures import attention_figure, curve_figures, slug, styles_of
from tokenprune.report.mosaic import Examples, mosaic, read_examples
from tokenprune.report.page import page
from tokenprune.report.series import Curves, Group, Measured, attention, by_method
from tokenprune.report.style import Drawing, style
from tokenprune.runs import RunFolder, atomic

_MOST = 4  # groups of curves and families of attention that are drawn; all are in the tables and files
_MOSAICS = 6


def write(runs_dir: Path, out: Path, *, runs: Sequence[str] | None = None) -> Report:
    """Write index.html, figures/, points.csv, runs.csv, claims.csv and report.json into `out`.

    runs: folder names; None for all. What was damaged, unfinished or too much to draw is in `.problems` of the result.
    Raises TokenpruneError if no run is finished or `out` cannot be written, UsageError for an unknown run.
    """
    report = collect(runs_dir, runs)
    drawings, problems = draw(report)
    report = replace(report, problems=report.problems + tuple(problems))
    atomic.make_folder(out / "figures")
    for drawing in drawings:
        atomic.write_text(out / "figures" / f"{drawing.name}.svg", drawing.svg)
        _write_bytes(out / "figures" / f"{drawing.name}.png", drawing.png)
    atomic.write_text(out / "points.csv", to_csv(point_rows(report)))
    atomic.write_text(out / "runs.csv", to_csv(run_rows(report)))
    atomic.write_text(out / "claims.csv", to_csv(claim_rows(report)))
    atomic.write_text(out / "report.json", to_json(as_json(report)))
    atomic.write_text(out / "index.html", page(report, drawings))
    return report


def draw(report: Report) -> tuple[list[Drawing], list[str]]:
    """All figures, each drawn once, and what stood in their way."""
    drawings: list[Drawing] = []
    problems: list[str] = []
    styles = styles_of(line for curves in report.curves for panel in curves.panels for line in panel.lines)
    suffixes = _suffixes(report.curves)
    shown = attention(report.attention, report.trained)
    with style():
        for curves, suffix in list(zip(report.curves, suffixes, strict=True))[:_MOST]:
            drawings += curve_figures(curves, suffix, styles)
        drawings += [attention_figure(*found) for found in shown[:_MOST]]
        mosaics, damaged = _mosaics(report, suffixes)
    for what, count in (("groups of curves", len(report.curves)), ("families' attention", len(shown))):
        if count > _MOST:
            problems.append(
                f"figures: only {_MOST} of {count} {what} are drawn; all are in the tables and CSV; "
                "`tokenprune report --run NAME` draws chosen runs"
            )
    return drawings + mosaics, problems + damaged


def _mosaics(report: Report, suffixes: Sequence[str]) -> tuple[list[Drawing], list[str]]:
    """One mosaic per group and depth, of the first seed's run that kept examples."""
    folders = {folder.name: folder for folder in report.folders}
    prunes: dict[str, dict[str, list[Measured]]] = {}
    for measured in report.measured:
        prunes.setdefault(measured.folder, {}).setdefault(measured.prune_id, []).append(measured)
    drawings: list[Drawing] = []
    problems: list[str] = []
    for curves, suffix in zip(report.curves, suffixes, strict=True):
        for panel in curves.panels:
            if len(drawings) == _MOSAICS:
                return drawings, problems
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
        found = read_examples(folder.path / "prune" / first.prune_id, first.line, ratios, seeds)
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


def _write_bytes(path: Path, content: bytes) -> None:
    def fill(handle: BinaryIO) -> None:
        handle.write(content)

    atomic.write(path, fill)


def _suffixes(found: Sequence[Curves]) -> list[str]:
    """What the file names of each group end in: family and site, and a number where that is not unique."""
    suffixes: list[str] = []
    for curves in found:
        base = slug(curves.group.family, curves.group.site)
        same = sum(suffix == base or suffix.startswith(f"{base}-variant-") for suffix in suffixes)
        suffixes.append(f"{base}-variant-{same + 1}" if same else base)
    return suffixes
