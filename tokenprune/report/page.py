"""The report as one HTML page that loads nothing: figures inline, light and dark, readable without a script."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenprune
from tokenprune.errors import counted
from tokenprune.report import behind, captions, conclusion
from tokenprune.report.collect import Report
from tokenprune.report.commands import Commands
from tokenprune.report.figures import suffixes
from tokenprune.report.html import figure, machines, resolved, template
from tokenprune.report.numbers import (
    bounds,
    duration,
    p_value,
    percent,
    plain,
    signed,
    signed_bounds,
)
from tokenprune.report.series import Curves, Interval, Mark, Panel, Trained, over_seeds
from tokenprune.report.style import Drawing
from tokenprune.runs import RunFolder


def page(report: Report, drawings: Sequence[Drawing]) -> str:
    """index.html"""
    commands = Commands(report)
    experiments = behind.behind(report, drawings, commands)
    placed = behind.shown(experiments)
    matrix = next((drawing for drawing in drawings if drawing.name == "claims-matrix"), None)
    return template("page.html.j2").render(
        title="May these tokens go?",
        lead=_lead(report),
        notes=sorted({run.result.data.note for run in report.trained if run.result.data.note}),
        depths=report.matrix.depths,
        conclusion=conclusion.sentences(report.matrix),
        models=conclusion.models(report),
        matrix=behind.head(report.matrix),
        matrix_figure=figure(matrix) if matrix else None,
        paper=any(row.claim.published for row in report.matrix.rows),
        trends=len(report.matrix.depths) > 1,
        left_out=report.matrix.left_out,
        silent=report.matrix.silent,
        experiments=experiments,
        figures=[figure(drawing) for drawing in drawings if drawing is not matrix and drawing.name not in placed],
        no_curves=None if report.measured else "Nothing here was pruned yet: `tokenprune prune` measures the curves.",
        tables=[_table(*each) for each in zip(report.curves, suffixes(report.curves), strict=True)],
        settings=_settings(report, commands),
        environments=machines(report.environments),
        theory=bool(report.laboratory),
        problems=report.problems,
        version=tokenprune.__version__,
    )


def _lead(report: Report) -> str:
    results = [run.result for run in report.trained]
    recipes, depths = sorted({r.name for r in results}), sorted({r.model.depth for r in results})
    sources = sorted({_data(r.data.source, r.data.scene) for r in results})
    methods = sorted({measured.line for measured in report.measured})
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


def _table(curves: Curves, ending: str) -> dict[str, Any]:
    ratios = sorted(
        {mark.keep_ratio for panel in curves.panels for line in panel.lines for mark in line.marks}, reverse=True
    )
    return {
        "anchor": behind.numbers_anchor(ending),
        "title": f"{curves.title}, site {curves.group.site}",
        "conditions": captions.conditions(curves),
        "untimed": [f"{why[0].upper()}{why[1:]} to tokenprune prune." for why in curves.untimed],
        "ratios": [f"{ratio:g}" for ratio in ratios],
        "panels": [_panel(panel, ratios) for panel in curves.panels],
    }


def _panel(panel: Panel, ratios: Sequence[float]) -> dict[str, Any]:
    lines = []
    for line in panel.lines:
        marks = {mark.keep_ratio: mark.accuracy for mark in line.marks}
        lines.append(
            {
                "name": line.name,
                "seeds": max(mark.seeds for mark in line.marks),
                "cells": [_accuracy(marks.get(ratio)) for ratio in ratios],
                "marks": [_full(mark) for mark in line.marks],
            }
        )
    return {"depth": panel.depth, "unpruned": percent(panel.unpruned.value), "lines": lines}


def _accuracy(interval: Interval | None) -> dict[str, str]:
    return {"value": percent(interval.value if interval else None), "bounds": bounds(interval)}


def _full(mark: Mark) -> list[str]:
    return [
        f"{mark.keep_ratio:g}",
        percent(mark.kept),
        percent(mark.accuracy.value, 2),
        bounds(mark.accuracy),
        signed(mark.difference.value, 2),
        signed_bounds(mark.difference),
        p_value(mark.p_low, mark.p_high),
        percent(mark.kept_relevance.value if mark.kept_relevance else None),
        f"{mark.flops / 1e6:,.1f}",
        f"{mark.ideal_speedup:.2f}",
        plain(mark.speedup, ".2f"),
        plain(mark.images_per_second, ",.0f"),
    ]


def _settings(report: Report, commands: Commands) -> list[dict[str, Any]]:
    """Runs of one setting together: they share the recipe, so it is shown once."""
    folders = {folder.name: folder for folder in report.folders}
    groups: dict[tuple[Any, ...], list[Trained]] = {}
    for run in report.trained:
        result = run.result
        trained = (run.images, run.start, result.data.train_count, result.pruner, -result.keep_ratio)
        groups.setdefault((result.name, result.model.depth, *trained, result.setting), []).append(run)
    return [_setting(runs, folders, commands) for _, runs in sorted(groups.items())]


def _setting(runs: Sequence[Trained], folders: dict[str, RunFolder], commands: Commands) -> dict[str, Any]:
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
    accuracy = over_seeds([run.result.test_accuracy for run in runs], (runs[0].low, runs[0].high))
    return {
        "anchor": behind.setting_anchor(runs[0]),
        "title": f"{result.name}, {behind.describe(runs[0])}",
        "accuracy": f"{percent(accuracy.value)} % ({bounds(accuracy)}), {counted(len(runs), 'seed')}",
        "facts": " · ".join(fact for fact in facts if fact),
        "runs": [_run(run) for run in runs],
        "groups": [
            {
                "run": run.folder,
                "text": ", ".join(f"{name} {percent(share)} %" for name, share in run.result.group_accuracy.items()),
            }
            for run in runs
            if run.result.group_accuracy
        ],
        "commands": commands.all_of(runs),
        "recipe": resolved(folders[runs[0].folder]),
    }


def _run(run: Trained) -> dict[str, Any]:
    result = run.result
    return {
        "name": run.folder,
        "seed": result.seed,
        "accuracy": percent(result.test_accuracy, 2),
        "bounds": bounds(Interval(result.test_accuracy, run.low, run.high)),
        "loss": f"{result.test_loss:.4f}",
        "duration": duration(result.seconds),
        "device": f"{result.precision}, {result.device}",
    }
