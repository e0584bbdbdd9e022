"""The report as one HTML page that loads nothing: figures inline, light and dark, readable without a script."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenprune
from tokenprune.claims import Claim, LaboratoryStudy, Published, RunData, TrainedStudy, Verdict
from tokenprune.claims.judge import within
from tokenprune.drawing.numbers import DASH, Interval, bounds, duration, over_seeds, percent, pretty
from tokenprune.drawing.style import Drawing, slug
from tokenprune.drawing.table import Column, Table
from tokenprune.errors import counted
from tokenprune.experiments import Experiment
from tokenprune.experiments.series import measured
from tokenprune.report import conclusion
from tokenprune.report.collect import Report
from tokenprune.report.commands import Commands, train_command
from tokenprune.report.html import figure, machines, resolved, template
from tokenprune.report.laboratory import Laboratory
from tokenprune.report.matrix import SIGNS, Matrix, MatrixCell, Row
from tokenprune.report.parameters import parameters
from tokenprune.statistics import wilson
from tokenprune.theory.folder import TheoryFolder


@dataclass(frozen=True)
class Shown:
    """An experiment with what was drawn and listed of it."""

    experiment: Experiment
    drawings: tuple[Drawing, ...]
    tables: tuple[Table, ...]


def page(report: Report, parts: Sequence[Shown], matrix_drawing: Drawing | None) -> str:
    """index.html"""
    commands = Commands(report)
    runs = _by_setting(report.runs)
    pruned = any(run.prunes for run in report.runs)
    links = {
        study.folders: (_anchor(study.runs[0]), f"{study.recipe}, {describe(study.runs[0])}")
        for study in report.studies
    }
    return _page(
        report.matrix,
        parts,
        _Links(links, {run.folder.name: run.result.seed for run in report.runs}, commands.of),
        title="May these tokens go?",
        lead=_lead(report),
        notes=sorted({run.result.data.note for run in report.runs if run.result.data.note}),
        caption=_CAPTION,
        columns=[f"Depth {depth}" for depth in report.matrix.depths],
        models=conclusion.models(report.runs),
        matrix_figure=figure(matrix_drawing) if matrix_drawing else None,
        paper=any(row.claim.published for row in report.matrix.rows),
        trends=len(report.matrix.depths) > 1,
        silent=report.matrix.silent,
        nothing=None if pruned else "Nothing here was pruned yet: `tokenprune prune` measures the curves.",
        settings=[_setting(found, commands) for found in runs],
        environments=machines(report.environments),
        other=("theory.html", "Theory laboratory") if report.laboratory else None,
        problems=report.problems,
        files="points.csv, runs.csv, claims.csv",
    )


_CAPTION = (
    "Effects are means over n training seeds with their 95 % interval: points of accuracy or share, k where the claim "
    "is of an exponent. Supported always means that the effect lies above the claim’s threshold. Verdicts go by the p "
    "shown, Holm-adjusted over all findings of a claim, at 5 %, and need three seeds; ~ marks what stays undecided "
    "though its own interval leaves out the threshold."
)
_TREND = (
    " Trend (I8): change of the effect per doubling of depth; it rises or falls where its p, Holm-adjusted over the "
    "claim’s trends, is below 5 %."
)


@dataclass(frozen=True)
class _Links:
    """What is behind a verdict. settings: anchor and words, by the names of the runs. commands: of a verdict's "
    "evidence."""

    settings: Mapping[tuple[str, ...], tuple[str, str]]
    seeds: Mapping[str, int]
    commands: Callable[[Sequence[str]], str]


def _page(
    matrix: Matrix, parts: Sequence[Shown], links: _Links, *, further: Sequence[Table] = (), **context: Any
) -> str:
    """The page of one matrix and its experiments."""
    rows = dict(matrix.experiments)
    context["caption"] += (_TREND if context["trends"] else "") + (
        " What stands in the paper's column was not measured here." if context["paper"] else ""
    )
    return template("page.html.j2").render(
        conclusion=conclusion.sentences(matrix),
        matrix=_matrix(matrix),
        left_out=matrix.left_out,
        experiments=[
            _experiment(part, rows.get(part.experiment.number, []), links)
            for part in parts
            if part.drawings or part.experiment.number in rows
        ],
        tables=[*(table for part in parts for table in part.tables), *further],
        version=tokenprune.__version__,
        **context,
    )


def theory_page(report: Report, parts: Sequence[Shown]) -> str:
    """theory.html"""
    laboratory = report.laboratory
    folders = {folder.name: folder for folder, _ in laboratory.runs}
    links = {study.folders: (slug("setting", study.setting), pretty(study.name)) for study in laboratory.studies}
    commands = {
        name: train_command(laboratory.environments[name]) or study.command(seed=result.seed)
        for study in laboratory.studies
        for name, result in zip(study.folders, study.results, strict=True)
    }
    unread = laboratory.unread
    return _page(
        laboratory.matrix,
        parts,
        _Links(
            links,
            {folder.name: result.seed for folder, result in laboratory.runs},
            lambda evidence: "\n".join(dict.fromkeys(commands[name] for name in evidence if name in commands)),
        ),
        title="The theory laboratory",
        lead=_laboratory_lead(laboratory),
        notes=[f"No claim reads {', '.join(unread)}: figures and numbers only."] if unread else [],
        caption="Effects with their 95 % interval: bootstrap over trials for N50, iterations and rates, Student's t "
        "for "
        "the growth of curves; verdicts go by the interval and Holm-adjusted p at 5 %.",
        columns=["Effect"],
        models=None,
        matrix_figure=None,
        paper=False,
        trends=False,
        silent=(),
        nothing=None,
        further=parameters(laboratory.studies),
        settings=[
            _laboratory_setting(study, [commands[name] for name in study.folders], folders)
            for study in laboratory.studies
        ],
        environments=machines(laboratory.environments),
        other=("index.html", "Trained models") if report.runs else None,
        problems=laboratory.problems,
        files="theory.csv, claims.csv",
    )


def _laboratory_lead(laboratory: Laboratory) -> str:
    models = sum(result.models for _, result in laboratory.runs)
    seconds = sum(result.seconds for _, result in laboratory.runs)
    return " · ".join(
        [
            counted(len(laboratory.runs), "finished run"),
            counted(len(laboratory.studies), "setting"),
            ", ".join(dict.fromkeys(study.experiment for study in laboratory.studies)),
            f"{counted(models, 'model')} in {duration(seconds)}",
        ]
    )


def _laboratory_setting(
    study: LaboratoryStudy[Any], commands: Sequence[str], folders: Mapping[str, TheoryFolder]
) -> dict[str, Any]:
    seconds = sum(result.seconds for result in study.results)
    return {
        "anchor": slug("setting", study.setting),
        "title": pretty(study.name),
        "accuracy": counted(len(study.results), "seed"),
        "facts": pretty(
            f"setting {study.setting} · {study.title} · {counted(study.models, 'model')} in {duration(seconds)} on "
            f"{study.first.device} · {', '.join(study.folders)}"
        ),
        "runs": None,
        "groups": [],
        "commands": "\n".join(dict.fromkeys(commands)),
        "recipe": resolved(folders[study.folders[0]]),
    }


def _lead(report: Report) -> str:
    results = [run.result for run in report.runs]
    recipes, depths = sorted({r.name for r in results}), sorted({r.model.depth for r in results})
    sources = sorted({_data(r.data.source, r.data.scene) for r in results})
    methods = sorted({each.line for each in measured(report.runs)})
    parts = [
        counted(len(results), "finished run"),
        f"{'recipe' if len(recipes) == 1 else 'recipes'} {', '.join(recipes)}",
        f"depth {', '.join(map(str, depths))}",
        ", ".join(sources),
        f"pruned by {', '.join(methods)}" if methods else "not pruned yet",
    ]
    return " · ".join(parts)


def _data(source: str, scene: str) -> str:
    name = Path(source).name
    return name if scene == "plain" else f"{name} ({scene})"


def _matrix(matrix: Matrix) -> list[dict[str, Any]]:
    """The rows of the matrix, with an anchor in each cell."""
    return [
        {
            "experiment": row.claim.experiment,
            "first": place == 0,
            "name": pretty(row.claim.name),
            "where": pretty(_label(row)),
            "rule": _rule(row)
            if row.claim.laboratory and (not place or _rule(row) != _rule(rows[place - 1]))
            else None,
            "published": _published(row.claim.published),
            "cells": [cell and _verdict(cell) for cell in row.cells],
            "trend": None
            if row.slope == DASH
            else {"slope": row.slope, "interval": row.slope_interval, "word": row.direction},
        }
        for _, claims in matrix.experiments
        for _, rows in claims
        for place, row in enumerate(rows)
    ]


def _rule(row: Row) -> str:
    """The effect's unit, and what counts as support."""
    first = next(cell.judged for cell in row.cells if cell)
    return pretty(f"{first.unit}; supported if {within(first.support, first.unit)}")


def _experiment(part: Shown, claims: Sequence[tuple[Claim, Sequence[Row]]], links: _Links) -> dict[str, Any]:
    """Its figures, and for each cell of the matrix the sentence, the runs and the commands that repeat them."""
    return {
        "number": part.experiment.number,
        "title": part.experiment.title,
        "figures": [figure(drawing) for drawing in part.drawings],
        "claims": [
            {
                "id": claim.id,
                "statement": pretty(claim.statement),
                "test": pretty(claim.test),
                "source": pretty(claim.source),
                "published": _published(claim.published),
                "in_short": in_short(rows),
                "rows": [
                    {
                        "label": pretty(_label(row, row.recipe)),
                        "cells": [_cell(cell, part, links) for cell in row.cells if cell],
                    }
                    for row in rows
                ],
            }
            for claim, rows in claims
        ],
    }


def _cell(cell: MatrixCell, part: Shown, links: _Links) -> dict[str, Any]:
    verdict = cell.judged
    names = dict.fromkeys(name.partition("/")[0] for name in verdict.evidence)
    read = {folders: link for folders, link in links.settings.items() if any(name in names for name in folders)}
    todo = itertools.groupby((verdict.todo or "").splitlines(), lambda line: line.startswith(("tokenprune ", "#")))
    return {
        **_verdict(cell),
        "place": f"depth {verdict.depth} " if verdict.of == "seeds" else "",
        "images": None if verdict.images is None else counted(verdict.images, "test image"),
        "why": pretty(verdict.why),
        "todo": [(command, "\n".join(lines)) for command, lines in todo],
        "figures": [
            {"name": drawing.name, "title": drawing.title.partition(":")[0]}
            for drawing in part.drawings
            if _belongs(drawing, verdict)
        ],
        "numbers": [table.anchor for table in part.tables if table.anchor and _belongs(table, verdict)],
        "count": counted(len(names), "run"),
        "settings": [
            {
                "anchor": anchor,
                "text": text,
                "seeds": ", ".join(str(links.seeds[name]) for name in folders if name in names),
            }
            for folders, (anchor, text) in read.items()
        ],
        "commands": links.commands(verdict.evidence),
    }


def _belongs(shown: Drawing | Table, verdict: Verdict) -> bool:
    """Whether a figure or a table is of the models that a verdict is on."""
    return shown.family in (None, verdict.family) and shown.where in (None, verdict.site, verdict.variant)


def in_short(rows: Sequence[Row]) -> str | None:
    """Where a claim of several rows holds, where it does not, where nobody knows; None for a single row."""
    if len(rows) < 2:
        return None
    said = []
    for verdict in SIGNS:
        places = []
        for row in rows:
            depths = [str(cell.judged.depth) for cell in row.cells if cell and cell.judged.verdict == verdict]
            if depths:
                at = "" if row.claim.laboratory else f" at depth {', '.join(depths)}"
                places.append(f"{pretty(_label(row))}{at}")
        if places:
            said.append(f"{verdict}: {'; '.join(places)}.")
    return " ".join(f"{words[0].upper()}{words[1:]}" for words in said)


def _published(found: Sequence[Published]) -> list[dict[str, str]]:
    """What the paper says, each with how surely it is known."""
    return [
        {
            "text": pretty(each.text),
            "mark": "recalled, not verified" if each.mark == "recalled" else f"published: {each.mark}",
        }
        for each in found
    ]


def _verdict(cell: MatrixCell) -> dict[str, Any]:
    return {
        "anchor": cell.anchor,
        "verdict": cell.judged.verdict,
        "sign": cell.sign,
        "p": cell.p,
        "effect": cell.effect
        if cell.effect != DASH
        else "no estimate"
        if cell.judged.of == "trials"
        else "not measured",
        "interval": None if cell.interval == DASH else cell.interval,
        "n": counted(cell.judged.n, "trial") if cell.judged.of == "trials" else f"n {cell.judged.n}",
        "beside": pretty(cell.judged.beside or "") if cell.judged.of == "trials" else "",
    }


def _label(row: Row, *first: str) -> str:
    """Images, site, and what else distinguishes the row from the claim's others."""
    site = f"site {row.where}" if row.where and not row.claim.laboratory else row.where or ""
    parts = (*first, row.data, site, *(part for part in row.beside if part != row.where))
    return ", ".join(dict.fromkeys(filter(None, parts)))


def _by_setting(runs: Sequence[RunData]) -> list[list[RunData]]:
    """Runs of one setting together: they share the recipe, so it is shown once."""
    groups: dict[tuple[Any, ...], list[RunData]] = {}
    for run in runs:
        result, study = run.result, TrainedStudy((run,))
        order = (study.title, study.start, result.data.train_count, result.pruner, -result.keep_ratio)
        groups.setdefault((result.name, result.model.depth, *order, result.setting), []).append(run)
    return [found for _, found in sorted(groups.items(), key=lambda item: item[0])]


def _anchor(run: RunData) -> str:
    return slug("setting", run.result.setting)


def describe(run: RunData) -> str:
    """What makes this setting another than most."""
    result, study = run.result, TrainedStudy((run,))
    parts = [
        f"depth {result.model.depth}",
        f"{result.pruner} at keep {result.keep_ratio:g}" if result.pruner != "none" else None,
        f"{result.data.train_count:,} training images",
        study.title,
        f"start {study.start}" if study.start != "scratch" else None,
    ]
    return ", ".join(part for part in parts if part)


def _setting(runs: Sequence[RunData], commands: Commands) -> dict[str, Any]:
    result = runs[0].result
    model, data = result.model, result.data
    facts = [
        f"setting {result.setting}, family {result.family}",
        f"{model.name}, width {model.dim}, {model.heads} heads, {model.patches} patches of {model.patch_size} pixels",
        f"{model.parameters:,} parameters, {model.flops / 1e6:,.1f} MFLOPs per image",
        f"{_data(data.source, data.scene)}: {data.train_count:,} training and {data.test_count:,} test images",
        f"label-relevant share {percent(data.relevant_share)} %" if data.relevant_share is not None else None,
        f"trained with {result.pruner} at keep {result.keep_ratio:g}" if result.pruner != "none" else None,
        counted(result.epochs, "epoch"),
    ]
    wilsons = [_wilson(run) for run in runs]
    accuracy = over_seeds([each.value for each in wilsons], (wilsons[0].low or 0, wilsons[0].high or 0))
    return {
        "anchor": _anchor(runs[0]),
        "title": f"{result.name}, {describe(runs[0])}",
        "accuracy": f"{percent(accuracy.value)} % ({bounds(accuracy)}), {counted(len(runs), 'seed')}",
        "facts": " · ".join(fact for fact in facts if fact),
        "runs": _runs(runs),
        "groups": [
            {
                "run": run.folder.name,
                "text": ", ".join(f"{name} {percent(share)} %" for name, share in run.result.group_accuracy.items()),
            }
            for run in runs
            if run.result.group_accuracy
        ],
        "commands": commands.all_of(runs),
        "recipe": resolved(runs[0].folder),
    }


def _wilson(run: RunData) -> Interval:
    result = run.result
    return Interval(result.test_accuracy, *wilson(result.test_correct, result.test_count))


def _runs(runs: Sequence[RunData]) -> Table:
    """A row per run."""
    return Table(
        "Runs of this setting",
        "Runs of this setting, which differ only by seed. Intervals are Wilson 95 % over test images.",
        (
            Column("Run", look="word"),
            Column("Seed"),
            Column("Test accuracy, %", lambda value: percent(value.value, 2), bounds),
            Column("Test loss", "{:.4f}".format),
            Column("Training", duration),
            Column("On", look="word"),
        ),
        tuple(
            (
                run.folder.name,
                run.result.seed,
                _wilson(run),
                run.result.test_loss,
                run.result.seconds,
                f"{run.result.precision}, {run.result.device}",
            )
            for run in runs
        ),
    )
