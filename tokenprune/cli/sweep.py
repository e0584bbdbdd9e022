"""`tokenprune sweep`: many cells from one file."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenprune.cli.interrupt import at_once, command, interrupted
from tokenprune.cli.options import (
    DataDir,
    Device,
    Json,
    Quiet,
    RunsDir,
    Scale,
    Set,
    SweepArgument,
    as_options,
    overrides,
)

if TYPE_CHECKING:
    from tokenprune.sweep import Begun

UNFINISHED = 4


class Launcher(StrEnum):
    local = "local"
    slurm = "slurm"


def sweep(
    sweep: SweepArgument,
    scale: Scale = None,
    settings: Set = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    data_dir: DataDir = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="KEY=VALUES", help="Run only cells with these values, such as run.seed=0,1."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue cells that were interrupted.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and their FLOPs; run nothing.")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Cells at a time (default: one a core or GPU).")
    ] = None,
    per_gpu: Annotated[int, typer.Option("--per-gpu", min=1, metavar="K", help="Workers that share a GPU.")] = 1,
    launcher: Annotated[Launcher, typer.Option("--launcher", help="Who runs the cells.")] = Launcher.local,
    slurm: Annotated[
        list[str] | None,
        typer.Option("--slurm", metavar="KEY=VALUE", help="Option of submitit, such as slurm_partition=gpu."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train and prune every cell of a grid; finished ones are skipped.

    Example: tokenprune sweep quickstart --dry-run
    """
    with at_once():
        from tokenprune import sweep as sweeps
        from tokenprune.cli import show_sweep
        from tokenprune.cli.cells import cells
        from tokenprune.recipe.only import chosen
        from tokenprune.recipe.sweep import load_sweep

    given = overrides(settings, device=device)
    with as_options(device=device):
        loaded = load_sweep(sweep, given, scale)
    runs = chosen(loaded, only) if only else None
    if dry_run:
        show_sweep.dry_run(loaded, sweeps.overview(loaded, runs_dir, data_dir, runs), as_json=as_json)
        return
    options = _slurm_options(slurm, launcher)
    verb = shlex.join(["sweep", sweep, *(word for option in only or () for word in ("--only", option))])
    place: dict[str, object] = {"--scale": scale, "--runs-dir": runs_dir, "--data-dir": data_dir}
    begun = sweeps.begin(loaded, runs_dir=runs_dir, data_dir=data_dir, resume=resume, only=runs)
    if not quiet:
        _say_edit(begun, sweep)
    if launcher == Launcher.slurm:
        jobs = sweeps.run_on_cluster(begun, tasks=workers, options=options)
        if not quiet and jobs:
            print(f"submitted {jobs[0]} to {jobs[-1]}; --dry-run shows the progress of its cells", file=sys.stderr)
    else:
        try:
            with cells(begun.rows, quiet) as watcher:
                sweeps.run_here(begun, workers=workers, per_gpu=per_gpu, watcher=watcher)
        except KeyboardInterrupt:
            more = {"--workers": workers, "--per-gpu": per_gpu if per_gpu > 1 else None}
            raise interrupted(verb, given, place | more) from None
    show_sweep.outcome(begun, as_json=as_json)
    left = [row for row in begun.rows if row.state not in ("finished", "failed")]
    away = [row.cell.label for row in left if row.state == "elsewhere" or launcher == Launcher.local]
    if away:
        some = ", ".join(away[:3]) + (f" and {len(away) - 3} more" if len(away) > 3 else "")
        look = command(verb, given, place | {"--dry-run": True})
        print(f"run by other processes, and not finished: {some}; their progress: {look}", file=sys.stderr)
    if away or any(row.state == "failed" for row in begun.rows):
        raise typer.Exit(UNFINISHED)


def _slurm_options(given: list[str] | None, launcher: Launcher) -> dict[str, Any]:
    """KEY=VALUE as submitit takes them."""
    from tokenprune.errors import UsageError
    from tokenprune.recipe.yaml import typed_pairs

    if given and launcher != Launcher.slurm:
        raise UsageError("--slurm: only with --launcher slurm")
    return typed_pairs("--slurm", given or (), "slurm_partition=gpu")


def _say_edit(begun: "Begun", source: str) -> None:
    if begun.edit is None:
        return
    new, gone = begun.edit.new, begun.edit.gone
    print(f"{source} has changed since {begun.file.path} was written:", file=sys.stderr)
    if new:
        print(f"  {len(new)} new: {', '.join(new)}", file=sys.stderr)
    if gone:
        print(f"  {len(gone)} no longer in the sweep, kept on disk: {', '.join(gone)}", file=sys.stderr)
    if not new and not gone:
        print("  the same cells, with other measurements", file=sys.stderr)
