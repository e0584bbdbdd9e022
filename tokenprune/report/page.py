"""The report as one HTML page that loads nothing: figures inline, light and dark, readable without a script."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenprune.claims import LaboratoryStudy, RunData, TrainedStudy
from tokenprune.drawing.numbers import Interval, bounds, duration, over_seeds, percent, pretty
from tokenprune.drawing.style import Drawing, slug
from tokenprune.drawing.table import Column, Table
from tokenprune.errors import counted
from tokenprune.experiments.series import measured
from tokenprune.report import conclusion
from tokenprune.report.collect import Report
from tokenprune.report.commands import Commands, train_command
from tokenprune.report.html import figure, machines, resolved
from tokenprune.report.laboratory import Laboratory
from tokenprune.report.parameters import parameters
from tokenprune.report.sections import Links, Shown, render_page
from tokenprune.statistics import wilson
from tokenprune.theory.folder import TheoryFolder


def page(report: Report, parts: Sequence[Shown], matrix_drawing: Drawing | None, explorer: str | None = None) -> str:
    """index.html. explorer: the JSON of its views."""
    commands = Commands(report)
    runs = _by_setting(report.runs)
    pruned = any(run.prunes for run in report.runs)
    links = {
        study.folders: (_anchor(study.runs[0]), f"{study.recipe}, {describe(study.runs[0])}")
        for study in report.studies
    }
    return render_page(
        report.matrix,
        parts,
        Links(links, {run.folder.name: run.result.seed for run in report.runs}, commands.of),
        title="May these tokens go?",
        lead=_lead(report),
        notes=sorted({run.result.data.note for run in report.runs if run.result.data.note}),
        caption=_CAPTION,
        columns=[f"Depth {depth}" for depth in report.matrix.depths],
        models=conclusion.models(report.runs),
        matrix_figure=figure(matrix_drawing) if matrix_drawing else None,
        explorer=explorer,
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
    "Effects are means over n training seeds: points of accuracy or share, k where the claim is of an exponent. The "
    "95 % interval holds seeds and, where answers by image are known, test images. Supported always means that the "
    "effect lies above the claim’s threshold, or below it where that is said. Verdicts go by the p shown, adjusted by "
    "Holm over all findings of a claim, at 5 %, and need three seeds; ~ marks what stays undecided though its own "
    "interval leaves out the threshold."
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
    return render_page(
        laboratory.matrix,
        parts,
        Links(
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
        explorer=None,
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
