"""`tokenprune adopt`: a model trained elsewhere becomes a finished run."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tokenprune.cli.interrupt import loading
from tokenprune.cli.options import DataDir, Device, Json, Quiet, RunsDir, Set, as_options, overrides, warn_of_idle


def adopt(
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="A timm model by name.")],
    checkpoint: Annotated[Path, typer.Option("--checkpoint", metavar="FILE", help="Its weights, a local file.")],
    images: Annotated[
        str, typer.Option("--images", metavar="WHERE", help="A data set by name, an .npz, or a folder of images.")
    ],
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size",
            metavar="N",
            help="Side that images are brought to (default of a folder: timm's; of others: their own).",
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            metavar="FILE",
            help="The checkpoint's classes in their order, a name a line or JSON, where images have some of them.",
        ),
    ] = None,
    head: Annotated[
        str,
        typer.Option(
            "--head", metavar="KIND", help="The checkpoint's classifier; or, of frozen features, `linear` or `knn`."
        ),
    ] = "checkpoint",
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What the run is called (default: model and head).")
    ] = None,
    settings: Set = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
    data_dir: DataDir = None,
    force: Annotated[bool, typer.Option("--force", help="Score again what is a finished run.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a run of a model trained elsewhere.

    `prune`, `compare` and `report` then work on it. Nothing is trained but, with --head linear, a classifier. Pixels
    are normalised as timm's model of that name was trained with, unless --set data.normalise=... says otherwise.

    Example: tokenprune adopt --model vit_tiny_patch16_224 --checkpoint mine.safetensors --images mine.npz
    """
    with loading(quiet, unchecked=True):
        import yaml

        from tokenprune.cli import show
        from tokenprune.recipe import Loaded, Recipe, parse_recipe

    given = {
        "data": {"source": images, "normalise": "model", **_as_timm_evaluates(model, images, image_size)},
        "model": {"name": model, "checkpoint": str(checkpoint), "head": head},
        "train": {"epochs": 0},
    }
    if classes is not None:
        given["data"]["classes"] = str(classes)
    text, changes = yaml.safe_dump(given, sort_keys=False), overrides(settings, device=device)
    with as_options(device=device):
        recipe = parse_recipe(text, "adopt", changes, Recipe)
    warn_of_idle(recipe)
    called = name or (model if head == "checkpoint" else f"{model}-{head}")
    loaded = Loaded(recipe, re.sub(r"[^\w-]", "-", called), text, tuple(changes))

    with loading(quiet):
        from tokenprune import pipeline  # torch: only once the recipe is checked
        from tokenprune.cli.progress import progress

    with progress(quiet) as reporter:
        run = pipeline.train_run(
            loaded, runs_dir=runs_dir, data_dir=data_dir, resume=True, force=force, reporter=reporter
        )
    show.train(run, as_json=as_json)


def _as_timm_evaluates(model: str, images: str, size: int | None) -> dict[str, Any]:
    """Keys of `data` for a folder of images: size, crop and interpolation of timm's table for the model."""
    if not Path(images).is_dir():
        return {} if size is None else {"image_size": size}
    from timm.models import get_pretrained_cfg, is_model

    try:
        table = get_pretrained_cfg(model) if is_model(model.partition(".")[0]) else None
    except RuntimeError:  # of a tag that timm does not know, which the recipe's own check names
        table = None
    if table is None:
        return {"image_size": size}
    if table.crop_mode != "center":
        print(
            f"warning: timm brings images for {model} to its size otherwise ({table.crop_mode}); here their centre is "
            "cut",
            file=sys.stderr,
        )
    interpolation = table.interpolation if table.interpolation == "bilinear" else "bicubic"
    return {
        "image_size": table.input_size[1] if size is None else size,
        "crop": table.crop_pct,
        "interpolation": interpolation,
    }
