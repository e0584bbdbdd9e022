"""One picture through a model, pruned by several methods at several ratios.

Shapes: h x h pixels, t patches, s sites.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import timm
import torch
from jaxtyping import Float, Int, UInt8
from timm.models import VisionTransformer

from tokenprune import evaluation, files, hardware, models, pruners
from tokenprune.data import picture
from tokenprune.data.classes import outputs
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.evaluation import CurvePlan
from tokenprune.models import BatchInfo, SparseViT
from tokenprune.pipeline.prune import Fill, learned
from tokenprune.recipe import Data, Evaluate, Model, Recipe, Schedule, named, pruner_options, read_resolved
from tokenprune.recipe.images import Channels
from tokenprune.recipe.timm_names import check_name
from tokenprune.runs import RunFolder


@dataclass(frozen=True)
class Seen:
    """What a method leaves at a ratio, and what the model then says.

    owner, count, attention: as of `evaluation.ExampleStates`. likely: classes by falling probability, the first of
    which stands at place `answer` among the model's; none of a model without a classifier.
    """

    method: str
    keep: float | str
    owner: Int[np.ndarray, "s t"]
    count: Int[np.ndarray, " s"]
    attention: Float[np.ndarray, " t"]
    likely: tuple[tuple[str, float], ...]
    answer: int

    @property
    def tokens(self) -> int:
        """Patch tokens left after the last site."""
        return int(self.count[-1])


@dataclass(frozen=True)
class Opened:
    """A trained model with what is needed to show it a picture.

    recipe: of its run; timm's defaults where there is none. run: None of a model that is none.
    """

    vit: VisionTransformer
    recipe: Recipe
    classes: tuple[str, ...]
    mean: Channels
    std: Channels
    device: torch.device
    run: RunFolder | None = None

    @property
    def depth(self) -> int:
        return len(self.vit.blocks)

    @property
    def class_pooled(self) -> bool:
        """Whether the classifier reads prefix tokens alone."""
        return self.vit.global_pool == "token"

    def fill(self, plan: CurvePlan) -> Fill:
        """Loads the trained parameters of a pruner. UsageError where there are none."""
        if self.run is not None:
            return learned(self.run, self.recipe, plan, self.vit.patch_embed.num_patches)

        def none(method: str, pruner: pruners.Pruner) -> None:
            if pruner.state_dict():
                raise UsageError(f"pruner {method!r} has parameters to learn, and this model was not trained with it")

        return none


def opened_run(run: RunFolder, device: str | None = None) -> Opened:
    """The model of a finished run. Raises TokenpruneError where it is not finished or was changed."""
    result, weights = run.result(), run.check_weights()
    run.check_recipe()
    recipe = read_resolved(run.resolved)
    where = hardware.choose_device(device or recipe.run.device)
    side = result.model.patch_size * round(result.model.patches**0.5)
    record = json.loads(files.read_bytes(run.environment, files.RECORD_BYTES))["data"]["normalise"]
    found = models.mean_and_std(record)
    assert found is not None
    vit = models.build(recipe.model.model_copy(update={"init": "timm"}), len(result.data.classes), side)
    models.load_weights(vit, weights)
    return Opened(vit.to(where).eval(), recipe, result.data.classes, *found, where, run)


def opened_timm(
    name: str,
    checkpoint: Path,
    image_size: int | None = None,
    classes: Path | None = None,
    device: str | None = None,
) -> Opened:
    """A timm model with local weights; classes as a file names them, or numbers; none without a classifier.

    image_size: of the picture as the model sees it; timm's own where None. Raises UsageError for a model that timm does
    not know or that cannot be pruned, TokenpruneError for weights that are not its own.
    """
    try:
        check_name(name)
        table = timm.get_pretrained_cfg(name)
    except (ValueError, RuntimeError) as error:  # the latter of a tag after the dot
        raise UsageError(f"--model: {error}") from None
    if table is None:
        raise UsageError(f"--model: timm does not say what images {name!r} was trained on")
    content = models.read_checkpoint(checkpoint)
    count = models.classes_in(checkpoint, content)
    where = hardware.choose_device(device or "auto")
    found = models.mean_and_std(table.to_dict())
    if found is None:
        raise UsageError(f"--model: timm does not say how images for {name!r} are normalised")
    spec = Model(name=name)
    vit = models.build(spec, count, image_size or table.input_size[1])
    models.load_weights(vit, checkpoint, content=content)
    how: Literal["bicubic", "bilinear"] = "bilinear" if table.interpolation == "bilinear" else "bicubic"
    recipe = Recipe(model=spec, data=Data(source="./", crop=table.crop_pct, interpolation=how))
    names = tuple(f"class {i}" for i in range(count)) if classes is None else outputs(classes, ())[1]
    if len(names) != count:
        raise UsageError(f"--classes: {classes} names {len(names):,} outputs, {checkpoint} has {count:,}")
    return Opened(vit.to(where).eval(), recipe, names, *found, where)


def look(
    model: Opened, image: Path, evaluate: Evaluate, *, options: Mapping[str, Any] | None = None
) -> tuple[UInt8[np.ndarray, "h h 3"], list[Seen]]:
    """The picture as the model sees it, and what each method leaves of it at each ratio. No data set is read.

    It is resized and cut to the model's size as a folder of images is, and normalised as the model's images were. No
    label is known, so that `oracle` cannot choose. A random method shows its first draw.

    Raises TokenpruneError for a file that is no image; UsageError for sites and pruners that do not exist or are not
    trained, and for `oracle`.
    """
    vit, recipe, where = model.vit, model.recipe, model.device
    pixels = picture(image, vit.patch_embed.img_size[0], recipe.data)
    mean, std = (torch.tensor(each, dtype=torch.float32)[:, None, None] for each in (model.mean, model.std))
    batch = ((torch.from_numpy(pixels).permute(2, 0, 1) / 255 - mean) / std)[None].to(where)
    plan = CurvePlan(
        methods=tuple((name, pruner_options(recipe, name) | dict(options or {})) for name in evaluate.methods),
        keep=evaluate.points,
        schedule=Schedule.parse(evaluate.site),
    )
    fill = model.fill(plan)
    info = BatchInfo(index=torch.zeros(1, dtype=torch.long, device=where), seed=recipe.run.seed)
    found = []
    for name, arguments in plan.methods:
        for keep in plan.keep:
            pruner = pruners.create(name, **arguments)
            sparse = SparseViT(vit, pruner, plan.schedule, keep)
            sparse.schedule.check(sparse.depth, sparse.class_pooled)
            fill(name, pruner)
            pruner.to(where).eval()
            sparse.training = False
            try:
                with torch.no_grad():
                    trace = sparse.run(batch, keep, info)
            except ValueError as error:
                raise TokenpruneError(f"pruner {name!r} cannot choose in a picture without a label: {error}") from None
            seen = evaluation.seen(sparse, trace.states, plan.schedule.cursors[-1], trace.logits, [0])
            found.append(
                Seen(
                    name,
                    named(keep),
                    seen.owner[0].cpu().numpy(),
                    seen.count[0].cpu().numpy(),
                    seen.attention[0].cpu().numpy(),
                    _likely(seen.probability[0].cpu().tolist(), model.classes),
                    int(seen.probability[0].argmax()) if model.classes else 0,
                )
            )
    return pixels, found


def _likely(shares: Sequence[float], classes: Sequence[str]) -> tuple[tuple[str, float], ...]:
    named = zip(classes, shares, strict=True) if classes else ()
    return tuple(sorted(named, key=lambda each: -each[1]))
