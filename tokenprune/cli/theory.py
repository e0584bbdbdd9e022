"""`tokenprune theory`: the paper's synthetic experiments."""

import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tokenprune.cli.interrupt import Interrupted, loading
from tokenprune.cli.options import Device, Json, Quiet, RunsDir, Set, TheoryRecipe, overrides, to_resume

theory = typer.Typer(
    name="theory",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The papers' synthetic experiments, thousands of small models as one batch.\n\n"
    "Example: tokenprune theory phase --axis noise",
)

Resume = Annotated[bool, typer.Option("--resume", help="Continue a run that was interrupted.")]
Force = Annotated[bool, typer.Option("--force", help="Run again what was begun or finished.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Short for --set run.seed=N.")]
TrialCount = Annotated[int | None, typer.Option("--trials", min=1, metavar="N", help="Independent models of a cell.")]


class Axis(StrEnum):
    alpha = "alpha"
    noise = "noise"
    start = "start"
    confusion = "confusion"


class Network(StrEnum):
    vit = "vit"
    cnn = "cnn"


@theory.command()
def phase(
    axis: Annotated[Axis | None, typer.Option("--axis", help="What the columns vary (default: alpha).")] = None,
    model: Annotated[Network | None, typer.Option("--model", help="With attention or without.")] = None,
    grid: Annotated[
        str | None, typer.Option("--grid", metavar="VALUES", help="Columns, such as 4,6,8 (alpha: alpha_*^-2).")
    ] = None,
    samples: Annotated[str | None, typer.Option("--samples", metavar="COUNTS", help="Rows, such as 40,80,160.")] = None,
    trials: TrialCount = None,
    recipe: TheoryRecipe = None,
    settings: Set = None,
    seed: Seed = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    resume: Resume = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Success over (alpha_*, noise, start or confusion; training samples).

    Example: tokenprune theory phase --axis alpha --model cnn --trials 5
    """
    given = _keys(
        ("--axis", "grid.axis", axis and axis.value),
        ("--model", "model.kind", model and model.value),
        ("--grid", "grid.values", grid and f"[{grid}]"),
        ("--samples", "grid.samples", samples and f"[{samples}]"),
        ("--trials", "grid.trials", trials),
    )
    how = _How(seed, device, runs_dir, resume, force, quiet, as_json)
    _run("phase", recipe or f"phase-{axis.value if axis else 'alpha'}", settings, given, how)


@theory.command()
def attention(
    iterations: Annotated[int | None, typer.Option("--iterations", min=2, metavar="N", help="Steps of SGD.")] = None,
    trials: TrialCount = None,
    recipe: TheoryRecipe = None,
    settings: Set = None,
    seed: Seed = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    resume: Resume = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Attention on label-relevant tokens, iteration by iteration.

    Example: tokenprune theory attention --set data.relevant=0.3
    """
    given = _keys(("--iterations", "curve.iterations", iterations), ("--trials", "curve.trials", trials))
    how = _How(seed, device, runs_dir, resume, force, quiet, as_json)
    _run("attention", recipe or "attention", settings, given, how)


@theory.command()
def sparsify(
    method: Annotated[
        list[str] | None,
        typer.Option("--method", metavar="NAME", help="random, irrelevant, noisy or magnitude; repeatable."),
    ] = None,
    removed: Annotated[
        str | None, typer.Option("--removed", metavar="COUNTS", help="Tokens removed, such as 0,10,20.")
    ] = None,
    trials: TrialCount = None,
    recipe: TheoryRecipe = None,
    settings: Set = None,
    seed: Seed = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    resume: Resume = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Test loss over tokens removed, and the samples needed before and after.

    Example: tokenprune theory sparsify --method irrelevant --method random
    """
    given = _keys(
        ("--method", "removal.methods", method and f"[{','.join(method)}]"),
        ("--removed", "removal.removed", removed and f"[{removed}]"),
        ("--trials", "removal.trials", trials),
    )
    how = _How(seed, device, runs_dir, resume, force, quiet, as_json)
    _run("sparsify", recipe or "sparsify", settings, given, how)


@theory.command()
def time(
    trials: TrialCount = None,
    recipe: TheoryRecipe = None,
    settings: Set = None,
    seed: Seed = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    resume: Resume = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Iterations to zero test loss over alpha_* and the step size.

    Example: tokenprune theory time --trials 50
    """
    given = _keys(("--trials", "convergence.trials", trials))
    how = _How(seed, device, runs_dir, resume, force, quiet, as_json)
    _run("time", recipe or "time", settings, given, how)


@theory.command()
def spatial(
    trials: TrialCount = None,
    recipe: TheoryRecipe = None,
    settings: Set = None,
    seed: Seed = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    resume: Resume = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Patch association, a solution without it, and transfer: Jelassi et al. (NeurIPS 2022).

    Example: tokenprune theory spatial --set data.flips=0.6
    """
    given = _keys(("--trials", "curve.trials", trials))
    how = _How(seed, device, runs_dir, resume, force, quiet, as_json)
    _run("spatial", recipe or "spatial", settings, given, how)


def _keys(*options: tuple[str, str, object]) -> dict[str, str]:
    """`--set` for options that are short for a key, and the option that was typed."""
    for option, _, value in options:
        if value in ("", "[]"):
            raise typer.BadParameter(f"{option} needs values, such as 4,6,8")
    return {f"{key}={value}": option for option, key, value in options if value is not None}


@dataclass(frozen=True)
class _How:
    """What all experiments are asked alike."""

    seed: int | None
    device: str | None
    runs_dir: Path
    resume: bool
    force: bool
    quiet: bool
    as_json: bool


def _run(experiment: str, recipe: str, settings: list[str] | None, given: dict[str, str], how: _How) -> None:
    with loading(how.quiet, unchecked=True):
        from tokenprune.cli import show_theory
        from tokenprune.recipe import RecipeError, load_theory_recipe
        from tokenprune.runs import TheoryFolder, run_name

    short = {f"run.seed={how.seed}": "--seed", f"run.device={how.device}": "--device", **given}
    try:
        loaded = load_theory_recipe(
            recipe, experiment, overrides([*(settings or []), *given], seed=how.seed, device=how.device)
        )
    except RecipeError as error:  # named as it was typed
        text = str(error)
        for override, option in short.items():
            text = text.replace(f"--set {override}: ", f"{option} {override.partition('=')[2].strip('[]')}: ")
        raise RecipeError(text) from None
    if how.resume:
        name = run_name(loaded.name, loaded.recipe.setting(), loaded.recipe.run.seed)
        to_resume(TheoryFolder(how.runs_dir / TheoryFolder.place / name), how.quiet)

    with loading(how.quiet):
        from tokenprune.cli.progress import progress
        from tokenprune.theory import theory_run  # torch: only for a recipe that is right

    try:
        with progress(how.quiet) as reporter:
            run = theory_run(loaded, runs_dir=how.runs_dir, resume=how.resume, force=how.force, reporter=reporter)
    except KeyboardInterrupt:
        words = ["tokenprune", "theory", experiment, "--recipe", recipe, "--runs-dir", str(how.runs_dir)]
        words += [word for override in loaded.overrides for word in ("--set", override)]
        raise Interrupted(f"interrupted; continue with: {shlex.join([*words, '--resume'])}") from None
    show_theory.result(run, as_json=how.as_json)
