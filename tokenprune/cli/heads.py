"""`tokenprune heads`: convex heads on a run's frozen backbone."""

from pathlib import Path
from typing import Annotated

import typer

from tokenprune.cli.interrupt import loading
from tokenprune.cli.options import Again, DataDir, Device, Json, Quiet, RunName, RunsDir, chosen_run, completion, words

_KINDS = (".png", ".svg")


def _heads(*_: object) -> list[tuple[str, str]]:
    from tokenprune.heads.names import HEADS

    return list(HEADS.items())


def heads(
    run: RunName = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME",
            help="cifar10 or cifar100 (default: the run's own images).",
            autocompletion=words(cifar10="", cifar100=""),
        ),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option("--head", metavar="NAME", help="Repeatable (default: all).", autocompletion=completion(_heads)),
    ] = None,
    penalty: Annotated[
        list[float] | None,
        typer.Option(
            "--penalty",
            metavar="SHARE",
            help="Of the least penalty that leaves nothing; repeatable (default: 0.3, 0.1, 0.03, 0.01).",
        ),
    ] = None,
    rank: Annotated[
        int | None, typer.Option("--rank", metavar="N", help="Of the factors of a block (default: 12).")
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option(
            "--solver",
            metavar="NAME",
            help="factored or fista (default: factored).",
            autocompletion=words(factored="Burer-Monteiro", fista="proximal gradient, slow"),
        ),
    ] = None,
    train_size: Annotated[
        int | None, typer.Option("--train-size", metavar="N", help="Training images (default: 5,000).")
    ] = None,
    test_size: Annotated[
        int | None, typer.Option("--test-size", metavar="N", help="Test images (default: all).")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Any other, as of `measure heads`; repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="PNG or SVG: what attention clusters, on a few test images."),
    ] = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    data_dir: DataDir = None,
    force: Again = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit convex heads to a frozen model, with certificates.

    Attention, MLP-mixer, FNO, block-FNO, MLP and linear heads, without and with gates for ReLU, and the ordinary
    two-layer heads beside them (Sahiner et al. 2022). Of each convex one it says by how much its objective can be above
    the optimum, at most.

    Example: tokenprune heads --data cifar100 --head attention --head mlp
    """
    with loading(quiet, unchecked=True):
        from tokenprune.cli import show_heads
        from tokenprune.errors import UsageError
        from tokenprune.heads.asked import asked
        from tokenprune.recipe import given_options

    if out is not None and out.suffix.lower() not in _KINDS:
        raise UsageError(f"--out {out}: one of {', '.join(_KINDS)} is drawn")
    named = {
        "data": data,
        "heads": head,
        "penalties": penalty,
        "rank": rank,
        "solver": solver,
        "train_size": train_size,
        "test_size": test_size,
    }
    options = given_options(option or (), ("heads",)) | {
        key: value for key, value in named.items() if value is not None
    }
    asked(options)
    folder = chosen_run(run, runs_dir)
    if run is None and not quiet:
        typer.echo(f"latest finished run: {folder.path}", err=True)

    with loading(quiet):
        from tokenprune import pipeline
        from tokenprune.cli.progress import progress
        from tokenprune.runs import atomic

    with progress(quiet) as reporter:
        path, result = pipeline.measure_run(
            folder,
            "heads",
            options=options,
            device=device,
            data_dir=data_dir,
            force=force,
            progress=reporter.count,
            say=reporter.message,
        )
    if out is not None:
        svg, png = show_heads.drawn(result)
        atomic.write_bytes(out, png if out.suffix.lower() == ".png" else svg.encode())
    show_heads.table(path, result, as_json=as_json)
    if out is not None and not as_json:
        print(out)
