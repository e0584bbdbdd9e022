"""`tokenprune measure`: a measurement of a trained run."""

from pathlib import Path
from typing import Annotated

import typer

from tokenprune.cli.interrupt import loading
from tokenprune.cli.options import Again, DataDir, Device, Json, Quiet, RunName, RunsDir, chosen_run, completion


def _names(*_: object) -> list[tuple[str, str]]:
    from tokenprune.measurements import MEASUREMENTS

    return list(MEASUREMENTS.items())


def measure(
    name: Annotated[
        str, typer.Argument(help="`tokenprune ls measurements` lists them.", autocompletion=completion(_names))
    ],
    run: RunName = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Keyword argument of the measurement; repeatable."),
    ] = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    data_dir: DataDir = None,
    force: Again = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure something of a trained model on its test images.

    Example: tokenprune measure latency --option keep=[1,0.7,0.5] --option batch=[1,64]
    """
    with loading(quiet, unchecked=True):
        from tokenprune.cli import show
        from tokenprune.errors import unknown
        from tokenprune.measurements import MEASUREMENTS
        from tokenprune.recipe import given_options

    if name not in MEASUREMENTS:
        raise unknown("measurement", name, MEASUREMENTS)
    folder = chosen_run(run, runs_dir)
    if run is None and not quiet:
        typer.echo(f"latest finished run: {folder.path}", err=True)
    options = given_options(option or (), (name,))

    with loading(quiet):
        from tokenprune import pipeline
        from tokenprune.cli.progress import progress

    with progress(quiet) as reporter:
        path, result = pipeline.measure_run(
            folder,
            name,
            options=options,
            device=device,
            data_dir=data_dir,
            force=force,
            progress=reporter.count,
            say=reporter.message,
        )
    show.measured(path, result, as_json=as_json)
