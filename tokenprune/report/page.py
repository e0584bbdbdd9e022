"""The report as one HTML page that loads nothing: figures inline, light and dark, readable without a script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenprune
from tokenprune.claims import Published, RunData, TrainedStudy, Verdict
from tokenprune.drawing.numbers import DASH, Interval, bounds, duration, over_seeds, percent, pretty
from tokenprune.drawing.style import Drawing, slug
from tokenprune.drawing.table import Column, Table
from tokenprune.errors import counted
from tokenprune.experiments import Experiment
from tokenprune.experiments.series import measured
from tokenprune.report import conclusion
from tokenprune.report.collect import Report
from tokenprune.report.commands import Commands
from tokenprune.report.html import figure, machines, resolved, template
from tokenprune.report.matrix import SIGNS, Cell, Matrix, Row
from tokenprune.statistics import wilson


@dataclass(frozen=True)
class Part:
    """An experiment with what was drawn and listed of it."""

    experiment: Experiment
    drawings: tuple[Drawing, ...]
    tables: tuple[Table, ...]


def page(report: Report, parts: Sequence[Part], matrix_drawing: Drawing | None) -> str:
    """index.html"""
    commands, matrix = Commands(report), report.matrix
    settings = {study.setting: study for study in report.studies}
    rows = dict(matrix.experiments)
    return template("page.html.j2").render(
        title="May these tokens go?",
        lead=_lead(report),
        notes=sorted({run.result.data.note for run in report.runs if run.result.data.note}),
        depths=matrix.depths,
        conclusion=conclusion.sentences(matrix),
        models=conclusion.models(report.runs),
        matrix=_matrix(matrix),
        matrix_figure=figure(matrix_drawing) if matrix_drawing else None,
        paper=any(row.claim.published for row in matrix.rows),
        trends=len(matrix.depths) > 1,
        left_out=matrix.left_out,
        silent=matrix.silent,
        experiments=[
            _experiment(part, rows.get(part.experiment.number, []), settings, commands)
            for part in parts
            if part.drawings or part.experiment.number in rows
        ],
        no_curves=None
        if any(run.prunes for run in report.runs)
        else "Nothing here was pruned yet: `tokenprune prune` measures the curves.",
        tables=[table for part in parts for table in part.tables],
        settings=[_setting(runs, commands) for runs in _by_setting(report.runs)],
        environments=machines(report.environments),
        theory=bool(report.laboratory),
        problems=report.problems,
        version=tokenprune.__version__,
    )


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
            "where": _label(row),
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


def _experiment(
    part: Part,
    claims: Sequence[tuple[Any, Sequence[Row]]],
    settings: Mapping[str, TrainedStudy],
    commands: Commands,
) -> dict[str, Any]:
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
                        "label": _label(row, row.recipe),
                        "cells": [_cell(cell, part, settings, commands) for cell in row.cells if cell],
                    }
                    for row in rows
                ],
            }
            for claim, rows in claims
        ],
    }


def _cell(cell: Cell, part: Part, settings: Mapping[str, TrainedStudy], commands: Commands) -> dict[str, Any]:
    verdict = cell.judged
    names = dict.fromkeys(name.partition("/")[0] for name in verdict.evidence)
    read = [study for study in settings.values() if any(name in names for name in study.folders)]
    return {
        **_verdict(cell),
        "depth": verdict.depth,
        "images": None if verdict.images is None else counted(verdict.images, "test image"),
        "why": pretty(verdict.why),
        "todo": verdict.todo,
        "figures": [
            {"name": drawing.name, "title": drawing.title.partition(":")[0]}
            for drawing in part.drawings
            if _belongs(drawing, verdict)
        ],
        "numbers": [table.anchor for table in part.tables if table.anchor and _belongs(table, verdict)],
        "count": counted(len(names), "run"),
        "settings": [
            {
                "anchor": _anchor(study.runs[0]),
                "text": f"{study.recipe}, {describe(study.runs[0])}",
                "seeds": ", ".join(str(run.result.seed) for run in study.runs if run.folder.name in names),
            }
            for study in read
        ],
        "commands": commands.of(verdict.evidence),
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
                places.append(f"{_label(row)} at depth {', '.join(depths)}")
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


def _verdict(cell: Cell) -> dict[str, Any]:
    return {
        "anchor": cell.anchor,
        "verdict": cell.judged.verdict,
        "sign": cell.sign,
        "p": cell.p,
        "effect": None if cell.effect == DASH else cell.effect,
        "interval": None if cell.interval == DASH else cell.interval,
        "seeds": cell.judged.n,
    }


def _label(row: Row, *first: str) -> str:
    """Images, site, and what else distinguishes the row from the claim's others."""
    site = f"site {row.where}" if row.where else ""
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
