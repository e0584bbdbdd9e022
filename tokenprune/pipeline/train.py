"""From a recipe to a trained run folder."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save as safetensors_bytes
from torch import nn

from tokenprune import cost, data, files, hardware, models, runs, training
from tokenprune.data import Dataset
from tokenprune.errors import TokenpruneError, counted
from tokenprune.models import SparseViT
from tokenprune.pipeline.head import fit_head
from tokenprune.pipeline.normalise import check_normalised
from tokenprune.pipeline.prepare import DatasetCache, Prepared, prepare
from tokenprune.recipe import Loaded, Recipe, dump_recipe, pretraining_of, run_of
from tokenprune.runs import Busy, DataFacts, Epoch, ModelFacts, Progress, RunFolder, TrainResult, atomic
from tokenprune.training import Checkpoint, Job, Outcome, Reporter


def train_run(
    loaded: Loaded,
    *,
    runs_dir: Path,
    data_dir: Path | None = None,
    resume: bool = False,
    force: bool = False,
    reporter: Reporter | None = None,
    cache: DatasetCache | None = None,
) -> RunFolder:
    """Train a recipe into its run folder; `cache` keeps images from one run to the next.

    The pretraining that the recipe starts from is a run in the same folder of runs: it is trained first if it is not
    finished, resumed if it was begun, waited for if another process trains it, and not touched by `force`.

    A finished run is left as it is; with `force`, then `resume`, it stays until the new one is complete. Raises
    TokenpruneError if the run was begun and neither `resume` nor `force` is given, if it or its pretraining was trained
    on other images, if it diverges, or if anything cannot be read or saved; KeyboardInterrupt after a checkpoint was
    saved.
    """
    reporter = reporter or Reporter()
    folder = RunFolder(runs_dir / run_of(loaded))
    with folder.lock():
        if folder.due(resume=resume, force=force, say=reporter.message):
            measured = len(folder.prune_folders())
            if folder.finished and measured:
                what = counted(measured, "curve")
                reporter.message(f"{folder.path}: its {what} will be deleted once it is trained again")
            _train(loaded, folder, data_dir, resume, force, reporter, cache)
        else:
            _check_same(folder, loaded.recipe, data_dir, reporter, cache)
    return folder


def _check_same(
    folder: RunFolder, recipe: Recipe, data_dir: Path | None, reporter: Reporter, cache: DatasetCache | None
) -> None:
    """Raises TokenpruneError where images are not those of the finished run; a message where none are found."""
    try:
        found = (cache or DatasetCache()).provenance(recipe.images, data_dir)
    except TokenpruneError as error:
        reporter.message(f"{folder.path}: its images were not compared: {error}")
        return
    folder.check_images(found)


def _train(
    loaded: Loaded,
    folder: RunFolder,
    data_dir: Path | None,
    resume: bool,
    force: bool,
    reporter: Reporter,
    cache: DatasetCache | None,
) -> None:
    """Train into a folder whose lock is held; a result that it has stays until the new one is complete."""
    recipe = loaded.recipe
    first = _pretrained(loaded, folder.path.parent, data_dir, reporter, cache)
    prepared = prepare(recipe, data_dir, cache, first.check_weights() if first else None, reporter.message)
    here = folder.unfinished
    if force:
        _clear(here)
    elif here.begun:
        here.check_images(prepared.dataset.provenance)
        check_normalised(here.environment, prepared.dataset)
    _describe(here, loaded, prepared, first)
    for note in prepared.notes:
        reporter.message(note)
    if recipe.model.head != "checkpoint":
        reporter.message(fit_head(prepared))
    with here.watched() as progress, _Recorder(here, recipe, reporter, progress) as recorder:
        checkpoint = Checkpoint(here.resume, run=here.name.removeprefix(f"{loaded.name}-"))
        job = Job(
            recipe, prepared.model, prepared.dataset, prepared.device, prepared.precision, checkpoint, prepared.teacher
        )
        outcome = training.train(job, recorder, resume=resume)
        _finish(here, loaded, prepared, outcome)
    folder.settle()


def _pretrained(
    loaded: Loaded, runs_dir: Path, data_dir: Path | None, reporter: Reporter, cache: DatasetCache | None
) -> RunFolder | None:
    """The finished run that a recipe starts from; None from scratch."""
    first = pretraining_of(loaded)
    if first is None:
        return None
    folder = RunFolder(runs_dir / run_of(first))
    if not folder.finished:
        reporter.message(f"{folder.path} is trained first: the pretraining that this run starts from")
    else:
        _check_same(folder, first.recipe, data_dir, reporter, cache)
    waiting = False
    while not folder.finished:
        try:
            with folder.lock():
                if not folder.finished:
                    _train(first, folder, data_dir, resume=True, force=False, reporter=reporter, cache=cache)
        except Busy:  # raised after a fifth of a second: the interval of this loop
            if not waiting:
                reporter.message(f"{folder.path}: another process is training it; waiting")
            waiting = True
        except TokenpruneError as error:
            raise type(error)(f"{folder.name}, the pretraining that this run starts from: {error}") from error
    reporter.message(f"starting from {folder.path}")
    return folder


@dataclass(frozen=True)
class DryRun:
    """Sizes and cost of a recipe, and the loss of one training batch."""

    depth: int
    parameters: int
    flops: float  # per image, forward
    memory_bytes: int  # at peak: of the GPU, or of this process on CPU
    patches: int
    steps_per_epoch: int
    train_count: int
    test_count: int
    device: str
    precision: str
    loss: float
    notes: tuple[str, ...]  # warnings about the images and about the weights that it starts from


def dry_run(loaded: Loaded, *, data_dir: Path | None = None) -> DryRun:
    """Resolve, build, run one batch forward and backward, from scratch; writes nothing."""
    prepared = prepare(loaded.recipe, data_dir)
    spec, dataset, model = loaded.recipe.train, prepared.dataset, prepared.model
    batches = data.train_batches(dataset, spec.augment, spec.batch_size, model.patch_size, loaded.recipe.run.seed, 0)
    device, precision, teacher = prepared.device, prepared.precision, prepared.teacher
    job = Job(loaded.recipe, model, dataset, device, precision, teacher=teacher, observe=False)
    loss = training.one_step(job, next(batches))
    sizes = models.architecture_of(model.vit)
    return DryRun(
        depth=sizes.depth,
        parameters=_parameters(model),
        flops=cost.flops(sizes).flops,
        memory_bytes=hardware.peak_memory(prepared.device),
        patches=model.patches,
        steps_per_epoch=data.steps_per_epoch(len(dataset.train), spec.batch_size),
        train_count=len(dataset.train),
        test_count=len(dataset.test),
        device=hardware.device_name(prepared.device),
        precision=prepared.precision,
        loss=loss,
        notes=prepared.notes,
    )


class _Recorder(Reporter):
    """Writes each epoch into the run folder (and TensorBoard, if asked), and passes everything to another reporter."""

    def __init__(self, folder: RunFolder, recipe: Recipe, reporter: Reporter, progress: Progress) -> None:
        self.folder = folder
        self.progress = progress
        self.of_epochs = recipe.train.epochs
        self.reporter = reporter
        self.epochs: list[Epoch] = []
        self.board: Any = None
        if recipe.run.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise TokenpruneError(
                    "run.tensorboard needs the tensorboard package: pip install 'tokenprune-vit[tensorboard]'"
                ) from None
            self.board = SummaryWriter(str(folder.path / "tensorboard"))

    def __enter__(self) -> "_Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        if self.board is not None:
            self.board.close()

    def start(self, steps: int, done: int) -> None:
        self.progress.epoch, self.progress.step = done * self.of_epochs // steps, done
        self.reporter.start(steps, done)

    def step(self, done: int, loss: float, accuracy: float | None, images_per_second: float) -> None:
        self.progress.step = done
        self.reporter.step(done, loss, accuracy, images_per_second)

    def message(self, text: str) -> None:
        self.reporter.message(text)

    def epoch(self, record: Epoch) -> None:
        if not self.epochs:
            self.epochs = self.folder.epochs()[: record.epoch]  # what a resumed run recorded before
        self.epochs.append(record)
        self.folder.set_epochs(self.epochs)
        self.progress.epoch, self.progress.step = record.epoch, record.step
        self.folder.set_status("running", record.epoch, record.step)
        if self.board is not None:
            for name, value in record.model_dump().items():
                if isinstance(value, float):
                    self.board.add_scalar(name, value, record.step)
            for block, share in enumerate(record.attention_on_relevant or ()):
                self.board.add_scalar(f"attention_on_relevant/block_{block}", share, record.step)
        self.reporter.epoch(record)


def _describe(folder: RunFolder, loaded: Loaded, prepared: Prepared, first: RunFolder | None) -> None:
    folder.set_recipe(loaded.text, loaded.overrides)
    recipe = loaded.recipe
    if first is None:  # keys of a start that is not used have no effect
        recipe = recipe.model_copy(update={"start": Recipe().start})
    atomic.write_text(folder.resolved, dump_recipe(recipe))
    record = runs.describe(hardware.device_name(prepared.device), prepared.threads, prepared.dataset.provenance)
    if first is not None:
        weights = first.result().weights_sha256
        record["start"] = {"run": first.name, "weights_sha256": weights, "images": first.images()}
    if prepared.weights is not None:
        record["weights"] = asdict(prepared.weights)
    atomic.write_json(folder.environment, record)
    folder.set_status("running", 0, 0)


def _clear(folder: RunFolder) -> None:
    """Remove the files of an unfinished run."""
    atomic.make_folder(folder.path)
    for path in (folder.resume, folder.weights, folder.pruner, folder.predictions):
        path.unlink(missing_ok=True)
    for measured in ("prune", "finetuned", "measure"):
        shutil.rmtree(folder.path / measured, ignore_errors=True)
    folder.set_epochs([])


def _finish(folder: RunFolder, loaded: Loaded, prepared: Prepared, outcome: Outcome) -> None:
    recipe, dataset, model = loaded.recipe, prepared.dataset, outcome.model
    scores = outcome.scores
    assert scores is not None
    _save(folder.weights, model.vit)
    learned = model.pruner is not None and bool(model.pruner.state_dict())
    if model.pruner is not None and learned:
        _save(folder.pruner, model.pruner)
    labels = dataset.test.labels.cpu().numpy()
    predictions = scores.predictions.numpy()
    kind = np.uint8 if len(dataset.classes) <= 256 else np.uint16
    atomic.write(
        folder.predictions,
        lambda handle: np.savez(handle, labels=labels.astype(kind), predictions=predictions.astype(kind)),
    )
    folder.set_epochs(outcome.epochs)
    last = outcome.epochs[-1]
    folder.set_status("finished", last.epoch, last.step)
    folder.set_result(  # last: with it the run is finished
        TrainResult(
            name=loaded.name,
            setting=recipe.setting(),
            family=recipe.family(),
            seed=recipe.run.seed,
            model=_model_facts(recipe, model),
            data=_data_facts(recipe, dataset, model),
            pruner=recipe.pruner.name if recipe.pruner.removes else "none",
            keep_ratio=training.kept_share(model, recipe.pruner.keep),
            kept_relevance=scores.kept_relevance,
            start=None if recipe.start.source is None else recipe.start.label,
            epochs=recipe.train.epochs,
            test_count=len(labels),
            test_correct=scores.correct,
            test_accuracy=scores.accuracy,
            test_loss=scores.loss,
            group_accuracy=_group_accuracy(dataset, predictions == labels),
            seconds=outcome.seconds,
            precision=prepared.precision,
            device=hardware.device_name(prepared.device),
            weights_sha256=files.sha256(folder.weights),
            pruner_sha256=files.sha256(folder.pruner) if learned else None,
        )
    )
    folder.resume.unlink(missing_ok=True)


def _save(path: Path, module: nn.Module) -> None:
    state = {name: value.contiguous().cpu() for name, value in module.state_dict().items()}
    atomic.write_bytes(path, safetensors_bytes(state))


def _group_accuracy(dataset: Dataset, right: np.ndarray) -> dict[str, float] | None:
    if dataset.test.groups is None:
        return None
    groups = dataset.test.groups.cpu().numpy()
    return {name: float(right[groups == g].mean()) for g, name in enumerate(dataset.group_names) if (groups == g).any()}


def _model_facts(recipe: Recipe, model: SparseViT) -> ModelFacts:
    sizes = models.architecture_of(model.vit)
    return ModelFacts(
        name=recipe.model.name or ("vit" if recipe.model.stages is None else "alternet"),
        depth=sizes.depth,
        dim=sizes.dim,
        heads=sizes.heads,
        patch_size=sizes.patch_size,
        patches=sizes.patches,
        prefix=sizes.prefix,
        class_token=sizes.class_token,
        pooling=model.vit.global_pool,
        parameters=_parameters(model),
        flops=cost.flops(sizes).flops,
    )


def _data_facts(recipe: Recipe, dataset: Dataset, model: SparseViT) -> DataFacts:
    mask = dataset.test.mask
    return DataFacts(
        source=recipe.data.source,
        scene=recipe.data.scene,
        classes=dataset.classes,
        train_count=len(dataset.train),
        test_count=len(dataset.test),
        relevant_share=None if mask is None else mask.sum().item() / mask.numel(),
        note=dataset.provenance.get("note"),
    )


def _parameters(model: SparseViT) -> int:
    return sum(p.numel() for p in model.parameters())
