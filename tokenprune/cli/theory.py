"""`tokenprune theory`: the papers' synthetic experiments."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tokenprune.cli.interrupt import interrupted, loading
from tokenprune.cli.options import Device, Json, Quiet, RunsDir, Set, TheoryRecipe, as_option, overrides, to_resume
from tokenprune.errors import shortened
from tokenprune.theory import EXPERIMENTS
from tokenprune.theory import experiment as experiment_named

ExperimentName = StrEnum("ExperimentName", {name: name for name in EXPERIMENTS})  # type: ignore[misc]


class Axis(StrEnum):
    alpha = "alpha"
    noise = "noise"
    start = "start"
    confusion = "confusion"


class Network(StrEnum):
    vit = "vit"
    cnn = "cnn"


def theory(
    experiment: Annotated[
        ExperimentName,
        typer.Argument(help="One of the experiments above."),
    ],
    axis: Annotated[Axis | None, typer.Option("--axis", help="phase: what the columns vary (default: alpha).")] = None,
    model: Annotated[Network | None, typer.Option("--model", help="phase: with attention or without.")] = None,
    grid: Annotated[
        str | None,
        typer.Option("--grid", metavar="VALUES", help="phase: columns, such as 4,6,8 (alpha: alpha_*^-2)."),
    ] = None,
    samples: Annotated[
        str | None, typer.Option("--samples", metavar="COUNTS", help="phase: rows, such as 40,80,160.")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option("--iterations", min=2, metavar="N", help="attention: steps of SGD.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", metavar="NAME", help="sparsify: random, irrelevant, noisy or magnitude; repeatable."),
    ] = None,
    removed: Annotated[
        str | None, typer.Option("--removed", metavar="COUNTS", help="sparsify: tokens removed, such as 0,10,20.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, metavar="N", help="Independent models of a cell.")
    ] = None,
    recipe: TheoryRecipe = None,
    settings: Set = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Short for --set run.seed=N.")] = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was interrupted.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what was begun or finished.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run one of the papers' synthetic experiments.

    Thousands of small models are trained as one batch.

    Example: tokenprune theory phase --axis noise
    """
    typed = {
        "--axis": axis and axis.value,
        "--model": model and model.value,
        "--grid": _list(grid),
        "--samples": _list(samples),
        "--iterations": iterations,
        "--method": _list(",".join(method) if method else None),
        "--removed": _list(removed),
        "--trials": trials,
    }
    given = {_set(option, value, experiment.value): option for option, value in typed.items() if value is not None}
    name = recipe or (f"phase-{axis.value if axis else 'alpha'}" if experiment == "phase" else experiment.value)
    with loading(quiet, unchecked=True):
        from tokenprune.cli import show_theory
        from tokenprune.recipe import RecipeError
        from tokenprune.runs import run_name
        from tokenprune.theory.folder import TheoryFolder
        from tokenprune.theory.load import load_theory_recipe

    short = {f"run.seed={seed}": "--seed", f"run.device={device}": "--device", **given}
    try:
        loaded = load_theory_recipe(
            name, experiment.value, overrides([*(settings or []), *given], seed=seed, device=device)
        )
    except RecipeError as error:  # named as it was typed
        text = str(error)
        for override, option in short.items():
            text = as_option(text, override, f"{option} {shortened(override.partition('=')[2].strip('[]'))}")
        raise RecipeError(text) from None
    if resume:
        folder = run_name(loaded.name, loaded.recipe.setting(), loaded.recipe.run.seed)
        to_resume(TheoryFolder(runs_dir / TheoryFolder.place / folder))

    with loading(quiet):
        from tokenprune.cli.progress import progress
        from tokenprune.theory.run import theory_run  # torch: only once the recipe is checked

    try:
        with progress(quiet) as reporter:
            run = theory_run(loaded, runs_dir=runs_dir, resume=resume, force=force, reporter=reporter)
    except KeyboardInterrupt:
        place = {"--recipe": name, "--runs-dir": runs_dir}
        raise interrupted(f"theory {experiment.value}", loaded.overrides, place) from None
    show_theory.result(run, as_json=as_json)


_EXAMPLE = "Example: "
theory.__doc__ = str(theory.__doc__).replace(
    _EXAMPLE, "".join(f"{name}: {what}.\n\n    " for name, what in EXPERIMENTS.items()) + _EXAMPLE
)


def _list(values: str | None) -> str | None:
    return None if values is None else f"[{values}]"


def _set(option: str, value: object, experiment: str) -> str:
    """The override for `--set` of an option that is short for a key."""
    key = experiment_named(experiment).options.get(option)
    if key is None:
        taking = [name for name in EXPERIMENTS if option in experiment_named(name).options]
        raise typer.BadParameter(f"{option} is an option of {' and '.join(taking)}, not of {experiment}")
    if value == "[]":
        raise typer.BadParameter(f"{option} needs values, such as 4,6,8")
    return f"{key}={value}"
