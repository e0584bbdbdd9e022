"""`tokenprune show`: one picture, pruned."""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokenprune.cli.interrupt import loading
from tokenprune.cli.options import Device, Json, Methods, Quiet, RunName, RunsDir, chosen_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from tokenprune.pipeline import Opened, Seen
    from tokenprune.report.explorer import View

_KINDS = (".html", ".png", ".svg")


def show(
    image: Annotated[Path, typer.Option("--image", metavar="FILE", help="A picture: JPEG, PNG and the like.")],
    run: RunName = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="A timm model by name, instead of a run.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", metavar="FILE", help="The weights of --model, a local file.")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size", metavar="N", min=1, max=1024, help="Side at which --model sees it (default: timm's)."
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option("--classes", metavar="FILE", help="Names of the outputs of --model, a line each, or JSON."),
    ] = None,
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
        Path | None,
        typer.Option("--out", metavar="FILE", help="PNG, SVG, or HTML to explore (default: NAME-tokens.png, here)."),
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
        from tokenprune.pruners.registry import untrained_pruners
        from tokenprune.recipe import choose_evaluation, given_options

    out = out or Path(f"{image.stem}-tokens.png")
    if out.suffix.lower() not in _KINDS:
        raise UsageError(f"--out {out}: one of {', '.join(_KINDS)} is drawn")
    if (model is None) != (checkpoint is None) or (model is None and (image_size or classes) is not None):
        raise UsageError(
            "--model, --checkpoint: give both (nothing is downloaded), or neither for a run; --image-size and "
            "--classes are for them"
        )
    if model is not None and run is not None:
        raise UsageError("--model: give it or --run")
    methods = method or ["magnitude", "tome"]
    if "all" in methods:
        methods = [name for name in untrained_pruners() if name != "oracle"]  # which needs a label
    if model is None:
        folder = chosen_run(run, runs_dir)
        facts = folder.result().model
        choice = choose_evaluation(folder.resolved, facts, methods=methods, keep=keep, site=site)
        given_options(option or (), choice.methods)
        if run is None and not quiet:
            typer.echo(f"latest finished run: {folder.path}", err=True)

    with loading(quiet):
        from tokenprune import pipeline
        from tokenprune.runs import atomic

    if model is None or checkpoint is None:
        opened = pipeline.opened_run(folder, device)
    else:
        opened = pipeline.opened_timm(model, checkpoint, image_size, classes, device)
        choice = choose_evaluation(opened.recipe, opened, methods=methods, keep=keep, site=site)
    options = given_options(option or (), choice.methods)
    pixels, seen = pipeline.look(opened, image, choice, options=options)
    rows = [(name, list(of_method)) for name, of_method in groupby(seen, key=lambda each: each.method)]
    if out.suffix.lower() == ".html":
        from tokenprune.report.explorer import picture_page

        name = model or folder.result().name
        content = picture_page(image.name, _view(opened, name, choice.site, pixels, rows)).encode()
    else:
        content = _drawn(pixels, rows, png=out.suffix.lower() == ".png")
    atomic.write_bytes(out, content)
    shown.seen(seen, out, as_json=as_json)


def _drawn(pixels: "np.ndarray", rows: "Sequence[tuple[str, list[Seen]]]", *, png: bool) -> bytes:
    from tokenprune.drawing import picture
    from tokenprune.drawing.style import style

    with style():
        svg, drawn = picture.tiles(
            pixels,
            [
                (name, [(f"keep {each.keep}\n{_says(each)}".rstrip(), each.owner[-1]) for each in of])
                for name, of in rows
            ],
        )
    return drawn if png else svg.encode()


def _says(seen: "Seen") -> str:
    return f"{seen.likely[0][0]} {seen.likely[0][1]:.0%}" if seen.likely else ""


def _view(
    opened: "Opened", name: str, site: str, pixels: "np.ndarray", rows: "Sequence[tuple[str, list[Seen]]]"
) -> "View":
    from tokenprune.report.explorer import Method, Point, View, sites_of

    methods = [
        Method(
            method,
            sites_of(site, of_method[0].owner.shape[0]),
            [
                Point(
                    f"{each.keep}",
                    each.owner[None],
                    each.count[None],
                    each.attention[None],
                    [each.answer] if each.likely else [],
                    [each.likely[0][1]] if each.likely else None,
                )
                for each in of_method
            ],
        )
        for method, of_method in rows
    ]
    return View(name, opened.depth, site, opened.classes, pixels[None], None, methods)
