"""One picture through a run's model, pruned by several methods at several ratios.

Shapes: s x s pixels, t patches.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8

from tokenprune import files, hardware, models, pruners
from tokenprune.data import picture
from tokenprune.errors import TokenpruneError
from tokenprune.evaluation import CurvePlan
from tokenprune.models import BatchInfo, SparseViT
from tokenprune.pipeline.prune import learned
from tokenprune.recipe import Evaluate, Schedule, named, pruner_options, read_resolved
from tokenprune.runs import RunFolder


@dataclass(frozen=True)
class Seen:
    """What a method leaves at a ratio, and what the model then says.

    owner: the token that each patch lives in after the last site, -1 where it is gone. likely: classes by falling
    probability.
    """

    method: str
    keep: float | str
    tokens: int
    owner: Int[np.ndarray, " t"]
    likely: tuple[tuple[str, float], ...]


def look(
    run: RunFolder,
    image: Path,
    evaluate: Evaluate,
    *,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> tuple[UInt8[np.ndarray, "s s 3"], list[Seen]]:
    """The picture as the model sees it, and what each method leaves of it at each ratio. No data set is read.

    It is resized and cut to the model's size as a folder of images is, and normalised as the run's images were. No
    label is known, so that `oracle` cannot choose. A random method shows its first draw.

    Raises TokenpruneError for a file that is no image, a run that is not finished or was changed; UsageError for sites
    and pruners that do not exist or are not trained, and for `oracle`.
    """
    result, weights = run.result(), run.check_weights()
    run.check_recipe()
    recipe = read_resolved(run.resolved)
    where = hardware.choose_device(device or recipe.run.device)
    classes = result.data.classes
    side = result.model.patch_size * round(result.model.patches**0.5)
    pixels = picture(image, side, recipe.data)
    record = json.loads(files.read_bytes(run.environment, files.RECORD_BYTES))["data"]["normalise"]
    mean, std = (torch.tensor(record[key], dtype=torch.float32)[:, None, None] for key in ("mean", "std"))
    batch = ((torch.from_numpy(pixels).permute(2, 0, 1) / 255 - mean) / std)[None].to(where)
    vit = models.build(recipe.model.model_copy(update={"init": "timm"}), len(classes), side)
    models.load_weights(vit, weights)
    vit.to(where).eval()

    plan = CurvePlan(
        methods=tuple((name, pruner_options(recipe, name) | dict(options or {})) for name in evaluate.methods),
        keep=evaluate.points,
        schedule=Schedule.parse(evaluate.site),
    )
    fill = learned(run, recipe, plan, result.model.patches)
    info = BatchInfo(index=torch.zeros(1, dtype=torch.long, device=where), seed=recipe.run.seed)
    seen = []
    for name, arguments in plan.methods:
        for keep in plan.keep:
            pruner = pruners.create(name, **arguments)
            model = SparseViT(vit, pruner, plan.schedule, keep)
            model.schedule.check(model.depth, model.class_pooled)
            fill(name, pruner)
            pruner.to(where).eval()
            model.training = False
            try:
                with torch.no_grad():
                    trace = model.run(batch, keep, info)
            except ValueError as error:
                raise TokenpruneError(f"pruner {name!r} cannot choose in a picture without a label: {error}") from None
            state = trace.states[-1]
            seen.append(
                Seen(
                    name,
                    named(keep),
                    int((state.weights > 0).sum()),
                    state.owner[0].cpu().numpy(),
                    _likely(trace.logits[0].float().softmax(0).cpu().tolist(), classes),
                )
            )
    return pixels, seen


def _likely(shares: Sequence[float], classes: Sequence[str]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(zip(classes, shares, strict=True), key=lambda each: -each[1]))
