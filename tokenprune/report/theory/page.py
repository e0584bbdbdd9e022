"""theory.html: verdicts, figures, the numbers behind them, and how to repeat them."""

from collections.abc import Sequence
from typing import Any

import tokenprune
from tokenprune.errors import counted
from tokenprune.report.commands import train_command
from tokenprune.report.html import figure, machines, resolved, template
from tokenprune.report.numbers import duration
from tokenprune.report.style import Drawing
from tokenprune.report.theory.collect import Laboratory
from tokenprune.report.theory.numbers import tables
from tokenprune.report.theory.parameters import parameters
from tokenprune.report.theory.settings import Case
from tokenprune.report.theory.verdicts import matrix
from tokenprune.report.theory.words import pretty


def page(laboratory: Laboratory, drawings: Sequence[Drawing], *, trained: bool) -> str:
    """trained: whether index.html stands beside it."""
    return template("theory/theory.html.j2").render(
        title="The theory laboratory",
        lead=_lead(laboratory),
        trained=trained,
        matrix=matrix(laboratory),
        pretty=pretty,
        figures=[figure(drawing) for drawing in drawings],
        tables=[*tables(laboratory), *parameters(laboratory.cases)],
        settings=[_setting(laboratory, case) for case in laboratory.cases],
        environments=machines(laboratory.environments),
        problems=laboratory.problems,
        version=tokenprune.__version__,
    )


def _lead(laboratory: Laboratory) -> str:
    models = sum(result.models for _, result in laboratory.runs)
    seconds = sum(result.seconds for _, result in laboratory.runs)
    experiments = dict.fromkeys(case.setting.experiment for case in laboratory.cases)
    return " · ".join(
        [
            counted(len(laboratory.runs), "finished run"),
            counted(len(laboratory.cases), "setting"),
            ", ".join(experiments),
            f"{counted(models, 'model')} in {duration(seconds)}",
        ]
    )


def _setting(laboratory: Laboratory, case: Case[Any]) -> dict[str, Any]:
    folders = {folder.name: folder for folder, _ in laboratory.runs}
    seconds = sum(result.seconds for result in case.setting.results)
    started = [train_command(laboratory.environments[name]) for name in case.setting.folders]
    commands = [
        command or case.setting.command(seed=result.seed)
        for command, result in zip(started, case.setting.results, strict=True)
    ]
    return {
        "title": pretty(case.title),
        "facts": pretty(
            f"setting {case.first.setting} · {case.setting.title} · {counted(case.setting.models, 'model')} in "
            f"{duration(seconds)} on {case.first.device} · {', '.join(case.setting.folders)}"
        ),
        "commands": "\n".join(dict.fromkeys(commands)),
        "recipe": resolved(folders[case.setting.folders[0]]),
    }
