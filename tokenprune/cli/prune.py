"""`tokenprune prune`: accuracy against kept-token ratio for a trained run."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tokenprune.cli.interrupt import Interrupted, loading
from tokenprune.cli.options import Again, DataDir, Device, Json, Methods, Quiet, RunName, RunsDir, chosen_run, words

_SITES = {
    "input": "before the model, by the last block's attention in a full pass",
    "input:mean": "by the mean over its blocks",
    "input:rollout": "by its rollout",
    "before:": "blocks, by their own query and key, before they attend",
    "after:": "blocks, between attention and MLP",
}


def prune(
    run: RunName = None,
    method: Methods = None,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", metavar="RATIOS", help="Kept-token ratios, such as 1.0,0.7,0.5; 0.9/0.7 has one a site."
        ),
    ] = None,
    r: Annotated[
        str | None, typer.Option("--r", metavar="COUNTS", help="Patch tokens that leave at each site, such as 4,8.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Keyword argument of the one --method; repeatable."),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(
            "--site",
            metavar="SITE",
            help="input[:mean|:rollout], before:BLOCKS or after:BLOCKS.",
            autocompletion=words(**_SITES),
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, metavar="N", help="Draws of a random pruner.")] = None,
    finetune_epochs: Annotated[
        int | None, typer.Option("--finetune-epochs", min=0, metavar="N", help="Training at each ratio first.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, metavar="N", help="Images a pass.")] = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    data_dir: DataDir = None,
    force: Again = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Remove tokens from a trained model and measure what that costs.

    Options that are not given come from section `evaluate` of the run's recipe.

    Example: tokenprune prune --method magnitude --method random --keep 1.0,0.5,0.2
    """
    with loading(quiet, unchecked=True):
        from tokenprune.cli import show
        from tokenprune.recipe import choose_evaluation, given_options

    folder = chosen_run(run, runs_dir)
    choice = choose_evaluation(
        folder.resolved,
        folder.result().model,
        methods=method,
        keep=keep,
        r=r,
        site=site,
        seeds=seeds,
        finetune_epochs=finetune_epochs,
        batch_size=batch_size,
    )
    options = given_options(option or (), choice.methods)
    if choice.finetune_epochs and not folder.result().epochs:
        print(
            "warning: this run was adopted, and its recipe says little of how it is trained: fine-tuning takes a tenth "
            "of train.learning_rate, which `adopt --set train.learning_rate=...` chooses; look at keep 1",
            file=sys.stderr,
        )

    if run is None and not quiet:
        typer.echo(f"latest finished run: {folder.path}", err=True)

    with loading(quiet):
        from tokenprune import pipeline  # torch: only once the request is checked
        from tokenprune.cli.progress import progress

    try:
        with progress(quiet) as reporter:
            results = pipeline.prune_run(
                folder,
                choice,
                options=options,
                device=device,
                data_dir=data_dir,
                force=force,
                progress=reporter.count,
                say=reporter.message,
            )
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; the models fine-tuned so far are kept: the same command continues"
            if choice.finetune_epochs
            else "interrupted; nothing is kept, since one pass measures all methods: the same command starts again"
        ) from None
    show.prunes(results, as_json=as_json)
