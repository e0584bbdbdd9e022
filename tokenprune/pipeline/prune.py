"""From a finished run to its pruning curves."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.models import VisionTransformer

from tokenprune import evaluation, models, pruners, training
from tokenprune.errors import UsageError
from tokenprune.evaluation import Curve, CurvePlan
from tokenprune.identity import curve_id
from tokenprune.models import SparseViT
from tokenprune.pipeline.prepare import DatasetCache, Prepared, prepare_run
from tokenprune.pruners.base import Pruner
from tokenprune.recipe import (
    Evaluate,
    Keep,
    Recipe,
    RemovedPerSite,
    Schedule,
    named,
    pruner_options,
    read_resolved,
    written,
)
from tokenprune.runs import PruneResult, RunFolder, atomic
from tokenprune.training import Job

#: Loads the trained parameters of the pruner of that name.
Fill = Callable[[str, Pruner], None]


def prune_run(
    run: RunFolder,
    evaluate: Evaluate,
    *,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    data_dir: Path | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    cache: DatasetCache | None = None,
    say: Callable[[str], None] | None = None,
) -> list[tuple[Path, PruneResult]]:
    """Accuracy against kept-token ratio of a finished run, a curve per method; curves that exist are read, not redone.

    evaluate: what is measured. options: keyword arguments of the pruners, over those that the run was trained with.
    say: takes lines about images, before anything is slow.

    Each fine-tuned model's point is saved at once: after KeyboardInterrupt the same call continues. Without fine-tuning
    one pass measures all methods, and an interrupted one saves nothing. With `force` old curves stay until the new ones
    are complete.

    A pruner with parameters has those of the run; fine-tuning trains new ones, with the run's own model as the teacher
    of its loss.

    Raises TokenpruneError where the run is not finished, its weights or images are not those it was trained with, or
    a curve cannot be saved; UsageError for sites and pruners that do not exist.
    """
    result = run.result()
    run.check_recipe()
    recipe = read_resolved(run.resolved)
    plan = CurvePlan(
        methods=tuple((name, pruner_options(recipe, name) | dict(options or {})) for name in evaluate.methods),
        keep=evaluate.points,
        schedule=Schedule.parse(evaluate.site),
        seeds=evaluate.seeds,
        batch_size=evaluate.batch_size,
        precision=result.precision,
        examples=evaluate.examples,
    )
    identities = {name: _curve_id(plan, options, evaluate.finetune_epochs) for name, options in plan.methods}
    for name, arguments in plan.methods:
        pruners.create(name, **arguments)

    def folder(method: str) -> Path:
        return run.prune_folder(method, identities[method])

    missing = tuple(pair for pair in plan.methods if force or not (folder(pair[0]) / "result.json").is_file())
    if missing:
        with run.lock():
            trained = prepare_run(run, recipe, device, data_dir, cache, say)
            plan = replace(plan, methods=missing)
            finetuned = run.path / "finetuned"
            if evaluate.finetune_epochs:
                place = finetuned / atomic.ANEW if force else finetuned
                curves = _finetuned(trained, plan, run, place, evaluate.finetune_epochs, progress)
            else:
                curves = iter(
                    _measured(
                        trained, trained.model, plan, run, learned(run, recipe, plan, trained.model.patches), progress
                    )
                )
            for curve in curves:
                evaluation.save_curve(curve, folder(curve.result.method))
            if force and evaluate.finetune_epochs:
                atomic.move_up(finetuned)
    return [(path, run.curve(path)) for path in map(folder, identities)]


def _measured(
    trained: Prepared,
    model: SparseViT,
    plan: CurvePlan,
    run: RunFolder,
    fill: Fill,
    progress: Callable[[int, int], None] | None = None,
    baseline: np.ndarray | None = None,
) -> list[Curve]:
    return evaluation.prune_curves(
        model.vit,
        trained.dataset,
        plan,
        run=run.name,
        seed=trained.recipe.run.seed,
        device=trained.device,
        progress=progress,
        baseline=baseline,
        fill=fill,
    )


def learned(run: RunFolder, recipe: Recipe, plan: CurvePlan, patches: int) -> Fill:
    """Loads a pruner's parameters from the run.

    UsageError where it has parameters and the run has none for it, or has them for other sites or another number of
    tokens.
    """
    own, trained = run.check_pruner(), recipe.pruner

    def fill(method: str, pruner: Pruner) -> None:
        if not pruner.state_dict():
            return
        if own is None or method != trained.name:
            raise UsageError(
                f"pruner {method!r} has parameters to learn, and {run.name} was not trained with it: train with "
                f"--set pruner.name={method} --set pruner.keep_ratio=0.7, or give --finetune-epochs"
            )
        if (site := str(plan.schedule)) != trained.site:
            raise UsageError(f"pruner {method!r} of {run.name} was trained at {trained.site}, not at {site}")
        asked = [keep for keep in plan.keep if evaluation.removes(plan, patches, keep)]
        if pruner.fixed and asked != [trained.keep]:
            raise UsageError(
                f"pruner {method!r} of {run.name} has parameters for the number of tokens that it was trained with: "
                f"give --keep 1,{written(trained.keep)}"
            )
        models.load_pruner(pruner, own)

    return fill


def _finetuned(
    trained: Prepared,
    plan: CurvePlan,
    run: RunFolder,
    place: Path,
    epochs: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Curve]:
    """Curves whose every point is the run's model, trained further with its pruner at its ratio.

    All are compared with their control, the same model trained on as long without a pruner: extra training alone
    changes accuracy. The control is also the point of every ratio that keeps all tokens. Each model's point is saved
    below `place` at once, so that an interrupted call continues where it stopped.
    """
    ratios = evaluation.ordered(plan, trained.model.patches)
    removes = {keep: evaluation.removes(plan, trained.model.patches, keep) for keep in ratios}
    models = sum(removes.values()) * len(plan.methods) + 1
    done = 0

    def tuned(method: str, options: dict[str, Any], ratio: Keep, baseline: np.ndarray | None) -> Curve:
        nonlocal done
        folder = place / f"{method}-{_curve_id(replace(plan, keep=(ratio,)), options, epochs)}"
        if not (folder / "result.json").is_file():
            evaluation.save_curve(_tune(trained, plan, run, method, options, ratio, epochs, baseline), folder)
        done += 1
        if progress is not None:
            progress(done, models)
        return evaluation.load_curve(folder)

    control = tuned("none", {}, 1.0, None)
    baseline = control.predictions["baseline"]
    for method, options in plan.methods:
        points = [
            tuned(method, options, ratio, baseline) if removes[ratio] else _at(control, ratio) for ratio in ratios
        ]
        yield evaluation.join(points, method=method, options=options, finetune_epochs=epochs)


def _at(control: Curve, keep: Keep) -> Curve:
    """The control's point, for a ratio that keeps every token."""
    (point,) = control.result.points
    name = named(keep)
    points = (point.model_copy(update={"keep": name} if isinstance(name, str) else {"keep_ratio": name}),)
    return replace(control, result=control.result.model_copy(update={"points": points}))


def _tune(
    trained: Prepared,
    plan: CurvePlan,
    run: RunFolder,
    method: str,
    options: dict[str, Any],
    ratio: Keep,
    epochs: int,
    baseline: np.ndarray | None,
) -> Curve:
    """The point of one model trained further; method `none` is the control."""
    pruner = None if method == "none" else pruners.create(method, **options)
    torch.manual_seed(trained.recipe.run.seed)  # the pruner may have parameters
    model = SparseViT(copy.deepcopy(trained.model.vit), pruner, plan.schedule, ratio).to(trained.device)
    recipe = _finetuning(trained.recipe, method, ratio, str(plan.schedule), epochs)
    job = Job(recipe, model, trained.dataset, trained.device, trained.precision, teacher=_teacher(trained, pruner))
    outcome = training.train(replace(job, observe=False), training.Reporter())

    def fill(_: str, measured: Pruner) -> None:
        if outcome.model.pruner is not None:
            measured.load_state_dict(outcome.model.pruner.state_dict())

    # A ratio of 1 uses no pruner, so that any name serves the control.
    methods = ((method, options) if pruner is not None else plan.methods[0],)
    plan = replace(plan, methods=methods, keep=(ratio,))
    (curve,) = _measured(trained, outcome.model, plan, run, fill, baseline=baseline)
    return curve


def _teacher(trained: Prepared, pruner: Pruner | None) -> VisionTransformer | None:
    """The model that fine-tuning starts from, for a pruner whose loss may use a teacher."""
    if pruner is None or not pruner.uses_teacher or type(pruner).loss is Pruner.loss:
        return None
    return copy.deepcopy(trained.model.vit).eval().requires_grad_(False)


def _finetuning(recipe: Recipe, method: str, keep: Keep, site: str, epochs: int) -> Recipe:
    """The run's own training, shorter, at a tenth of its rate, on whole images; no warm-up, average or annealing."""
    rate = recipe.train.learning_rate / 10
    train = recipe.train.model_copy(
        update={
            "epochs": epochs,
            "learning_rate": rate,
            "final_learning_rate": min(rate, recipe.train.final_learning_rate),
            "warmup_epochs": 0.0,
            "ema_decay": None,
            "patch_dropout": 0.0,
            "image_size": None,
        }
    )
    stays = (
        {"r": keep.tokens, "keep_ratio": 1.0} if isinstance(keep, RemovedPerSite) else {"r": None, "keep_ratio": keep}
    )
    pruner = recipe.pruner.model_copy(
        update={"name": method, "site": site, "anneal_from": 0.0, "anneal_epochs": 0.0, **stays}
    )
    return recipe.model_copy(update={"train": train, "pruner": pruner})


def _curve_id(plan: CurvePlan, options: dict[str, Any], finetune_epochs: int) -> str:
    return curve_id(
        options, list(map(named, plan.keep)), str(plan.schedule), plan.seeds, finetune_epochs, plan.precision
    )
