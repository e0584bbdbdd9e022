"""`tokenprune train`: a recipe to a trained run folder."""

from pathlib import Path
from typing import Annotated

import typer

from tokenprune.cli.interrupt import interrupted, loading
from tokenprune.cli.options import DataDir, Device, Json, Quiet, RecipeOption, RunsDir, Set, load, to_resume


def train(
    recipe: RecipeOption,
    settings: Set = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Short for --set run.seed=N.")] = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    data_dir: DataDir = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was interrupted.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train again what was begun or finished.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Build and run one batch; write nothing.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train the model of a recipe.

    Example: tokenprune train --recipe shallow --set model.depth=6 --seed 1
    """
    with loading(quiet, unchecked=True):
        from tokenprune.cli import show
        from tokenprune.recipe import run_of
        from tokenprune.runs import RunFolder

    loaded = load(recipe, settings, seed=seed, device=device)
    if resume:
        to_resume(RunFolder(runs_dir / run_of(loaded)))

    with loading(quiet):
        from tokenprune import pipeline  # torch: only once the recipe is checked
        from tokenprune.cli.progress import progress

    if dry_run:
        show.dry_run(loaded, pipeline.dry_run(loaded, data_dir=data_dir), as_json=as_json)
        return
    try:
        with progress(quiet) as reporter:
            run = pipeline.train_run(
                loaded, runs_dir=runs_dir, data_dir=data_dir, resume=resume, force=force, reporter=reporter
            )
    except KeyboardInterrupt:
        place = {"--recipe": recipe, "--runs-dir": runs_dir, "--data-dir": data_dir}
        raise interrupted("train", loaded.overrides, place) from None
    show.train(run, as_json=as_json)
