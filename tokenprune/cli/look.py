"""`tokenprune show`: one picture, pruned."""

from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from tokenprune.cli.interrupt import loading
from tokenprune.cli.options import Device, Json, Methods, Quiet, RunName, RunsDir, chosen_run


def show(
    image: Annotated[Path, typer.Option("--image", metavar="FILE", help="A picture: JPEG, PNG and the like.")],
    run: RunName = None,
    method: Methods = None,
    keep: Annotated[str, typer.Option("--keep", metavar="RATIOS", help="Kept-token ratios.")] = "1,0.7,0.5,0.3",
    site: Annotated[
        str | None, typer.Option("--site", metavar="SITE", help="Where tokens are removed (default: the recipe's).")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Keyword argument of the one --method; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="PNG or SVG (default: NAME-tokens.png, here).")
    ] = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw what methods leave of a picture.

    Patches that are gone are grey; those that share a token have its mean colour. Below stands what the model says, and
    how likely that is to it.

    Example: tokenprune show --image cat.png --method magnitude --method tome
    """
    with loading(quiet, unchecked=True):
        from tokenprune.cli import show as shown
        from tokenprune.errors import UsageError
        from tokenprune.recipe import choose_evaluation, given_options

    out = out or Path(f"{image.stem}-tokens.png")
    if out.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"--out {out}: a .png or .svg is drawn")
    folder = chosen_run(run, runs_dir)
    choice = choose_evaluation(
        folder.resolved, folder.result().model, methods=method or ["magnitude", "tome"], keep=keep, site=site
    )
    options = given_options(option or (), choice.methods)
    if run is None and not quiet:
        typer.echo(f"latest finished run: {folder.path}", err=True)

    with loading(quiet):
        from tokenprune import pipeline
        from tokenprune.drawing import picture
        from tokenprune.drawing.style import style
        from tokenprune.runs import atomic

    pixels, seen = pipeline.look(folder, image, choice, options=options, device=device)
    rows = [
        (name, [(f"keep {each.keep}\n{each.likely[0][0]} {each.likely[0][1]:.0%}", each.owner) for each in of_method])
        for name, of_method in groupby(seen, key=lambda each: each.method)
    ]
    with style():
        svg, png = picture.tiles(pixels, rows)
    atomic.write_bytes(out, svg.encode() if out.suffix.lower() == ".svg" else png)
    shown.seen(seen, out, as_json=as_json)
