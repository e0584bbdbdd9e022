"""The training loop. Every step is a function of (seed, epoch, step) and the state before it, so a resumed run
ends bit for bit like an uninterrupted one on the same machine.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import PatchDropout
from timm.models import VisionTransformer
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3

from tokenprune import hardware
from tokenprune.data import Batch, Dataset, steps_per_epoch, test_batches, train_batches
from tokenprune.errors import TokenpruneError
from tokenprune.hardware import Precision
from tokenprune.models import BatchInfo, SparseViT, take_smaller_images
from tokenprune.pruners.base import Taught
from tokenprune.recipe import Keep, Recipe, eased, share_of
from tokenprune.runs import Epoch
from tokenprune.training.checkpoint import Checkpoint
from tokenprune.training.observe import Scores, attention_on_relevant, score

#: Steps between two checks of the device for a loss that is not finite: each check waits for the device.
LOOK = 20


#: Least seconds between two checkpoints at the end of epochs, so that short epochs do not spend their time on them.
EPOCHS_APART = 10.0


class Reporter:
    """Receives the progress of a training; this one says nothing."""

    def start(self, steps: int, done: int) -> None: ...
    def step(self, done: int, loss: float, accuracy: float | None, images_per_second: float) -> None: ...
    def epoch(self, record: Epoch) -> None: ...
    def message(self, text: str) -> None: ...


class Diverged(TokenpruneError):
    """The loss is not finite any more."""


@dataclass(frozen=True)
class Job:
    """A model to train and its images. checkpoint: None saves none (fine-tuning)."""

    recipe: Recipe
    model: SparseViT
    dataset: Dataset  # on `device`
    device: torch.device
    precision: Precision
    checkpoint: Checkpoint | None = None
    teacher: VisionTransformer | None = None  # in eval mode; its logits go to the pruner's loss
    observe: bool = True  # measure test accuracy and attention, as often as the recipe says


@dataclass(frozen=True)
class Outcome:
    """The trained model (the moving average, if there is one), in eval mode. scores: None of a job not observed."""

    model: SparseViT
    epochs: list[Epoch]
    scores: Scores | None
    seconds: float


def train(job: Job, reporter: Reporter, resume: bool = False) -> Outcome:
    """Train as the recipe says.

    Raises Diverged at a loss that is not finite, naming the step; the last good checkpoint is kept. On SIGINT or
    SIGTERM writes a checkpoint after the current step and raises KeyboardInterrupt.
    """
    spec, seed, data = job.recipe.train, job.recipe.run.seed, job.dataset
    per_epoch = steps_per_epoch(len(data.train), spec.batch_size)
    learner = Learner(job, per_epoch)
    saved = job.checkpoint.load(job.device) if resume and job.checkpoint else None
    if saved:
        learner.restore(saved)
    if spec.epochs:
        reporter.start(per_epoch * spec.epochs, learner.steps)

    with _interruptible() as interrupted:
        if not learner.epochs:
            learner.close_epoch(0.0, None)
            reporter.epoch(learner.epochs[0])
        checkpointer = Checkpointer(job, learner)
        for epoch in range(learner.epoch, spec.epochs):
            keep = keep_ratio(job.recipe, epoch)
            started = time.perf_counter()
            first = learner.steps - epoch * per_epoch
            batches = train_batches(data, spec.augment, spec.batch_size, job.model.patch_size, seed, epoch, start=first)
            for batch in batches:
                learner.step(batch, keep)
                if learner.steps % LOOK == 0 or job.device.type == "cpu":
                    rate = (learner.steps - epoch * per_epoch - first) * spec.batch_size
                    loss, accuracy = learner.running()
                    reporter.step(learner.steps, loss, accuracy, rate / (time.perf_counter() - started))
                checkpointer.after_step(interrupted(), learner.seconds + time.perf_counter() - started)
            learner.seconds += time.perf_counter() - started
            learner.close_epoch(time.perf_counter() - started, keep, images=(per_epoch - first) * spec.batch_size)
            checkpointer.after_epoch(interrupted(), learner.seconds)
            reporter.epoch(learner.epochs[-1])
            if interrupted():
                raise KeyboardInterrupt

    final = learner.evaluated()
    return Outcome(final, learner.epochs, learner.scores() if job.observe else None, learner.seconds)


def one_step(job: Job, batch: Batch) -> float:
    """One optimiser step on one batch; its loss. For a dry run."""
    learner = Learner(job, per_epoch=1)
    learner.step(batch, keep_ratio(job.recipe, job.recipe.train.epochs))
    return learner.running()[0]


def keep_ratio(recipe: Recipe, epoch: int) -> Keep:
    """What the pruner keeps in an epoch: from all down a cosine over `anneal_epochs`, then as the recipe says."""
    target, over, first = recipe.pruner.keep, recipe.pruner.anneal_epochs, recipe.pruner.anneal_from
    if epoch >= first + over:
        return target
    done = max(0.0, epoch - first) / over if over else 0.0
    return eased(target, 0.5 * (1 + math.cos(math.pi * done)))


class Learner:
    """Model, optimiser, schedule, moving average and the epoch's loss and accuracy: the state that a step changes."""

    def __init__(self, job: Job, per_epoch: int) -> None:
        spec = job.recipe.train
        self.job = job
        self.model = job.model
        options: dict[str, Any] = {"fused": True} if spec.optimizer == "adamw" else {}
        if spec.beta2 != 0.999:  # which is timm's own
            options["betas"] = (0.9, spec.beta2)
        if spec.patch_dropout:
            job.model.vit.patch_drop = PatchDropout(spec.patch_dropout, num_prefix_tokens=job.model.prefix)
        if spec.image_size is not None:
            take_smaller_images(job.model.vit)
        if job.model.pruner is not None and job.model.pruner.model_rate == 0:
            job.model.vit.requires_grad_(False)  # neither its gradients nor their norm are of use
        self.optimizer = create_optimizer_v2(
            job.model, opt=spec.optimizer, lr=spec.learning_rate, weight_decay=spec.weight_decay, **options
        )
        _slow_model(self.optimizer, job.model)
        warmup = round(spec.warmup_epochs * per_epoch)
        self.schedule = CosineLRScheduler(
            self.optimizer,
            t_initial=max(2, spec.epochs * per_epoch - warmup),
            lr_min=spec.final_learning_rate,
            warmup_t=warmup,
            warmup_prefix=True,
            t_in_epochs=False,
        )
        self.average = ModelEmaV3(job.model, decay=spec.ema_decay) if spec.ema_decay else None
        self.run = torch.compile(job.model.run) if job.recipe.run.compile else job.model.run
        self.per_epoch = per_epoch
        self.epoch = 0
        self.steps = 0
        self.seconds = 0.0
        self.epochs: list[Epoch] = []
        self.tally = torch.zeros(
            3, dtype=hardware.widest(job.device), device=job.device
        )  # loss x images, right, images
        self.bad = torch.tensor(-1, device=job.device)  # first step whose loss was not finite, -1 for none
        self.mixes = bool(spec.augment.mixup or spec.augment.cutmix)
        self.last: Scores | None = None

    def _begins(self, epochs: float | None) -> bool:
        """Whether this epoch is one of the first so many; None: all."""
        return epochs is None or self.epoch < epochs

    def step(self, batch: Batch, keep: Keep = 1.0) -> None:
        """One optimiser step."""
        job, spec = self.job, self.job.recipe.train
        seed = job.recipe.run.seed
        torch.manual_seed((seed << 32) + self.steps)  # dropout and drop path do not depend on what ran before
        self.schedule.step_update(self.steps + 1)  # at update 0 the warm-up's rate would be 0
        self.model.train()
        if spec.patch_dropout:
            self.model.vit.patch_drop.prob = spec.patch_dropout if self._begins(spec.patch_dropout_epochs) else 0.0
        images = batch.images
        if spec.image_size is not None and self._begins(spec.image_size_epochs):
            images = F.interpolate(images, size=(spec.image_size, spec.image_size), mode="bilinear", antialias=True)
        # Pruning draws anew each epoch, as augmentation does.
        info = None
        if self.model.pruner is not None:
            info = BatchInfo(batch.relevance, batch.labels, batch.index, seed=(seed << 16) + self.epoch)
        with self._autocast():
            trace = self.run(images, keep, info)
        logits = trace.logits
        loss = batch.cross_entropy(logits.float(), spec.label_smoothing)
        if (pruner := self.model.pruner) is not None:
            own = pruner.loss(trace, batch, self._taught(batch))
            loss = loss if own is None else loss + own
        self.optimizer.zero_grad()
        loss.backward()
        if spec.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), spec.clip_norm)
        self.optimizer.step()
        self.steps += 1
        if self.average is not None:
            self.average.update(self.model, step=self.steps)
        with torch.no_grad():
            count = len(batch.labels)
            right = (logits.argmax(1) == batch.labels).sum()
            self.tally += torch.stack([loss.detach() * count, right, torch.full_like(right, count)])
            self.bad = torch.where((self.bad < 0) & ~loss.isfinite(), self.steps, self.bad)

    def running(self) -> tuple[float, float | None]:
        """Mean loss and accuracy of the epoch so far."""
        loss, right, count = self.tally.tolist()
        return loss / count, None if self.mixes else right / count

    def evaluated(self) -> SparseViT:
        """The model that is evaluated (the moving average, if there is one), in eval mode."""
        model = self.model if self.average is None else self.average.module
        return model.eval()

    def scores(self) -> Scores:
        if self.last is None:
            self.last = self._score(keep_ratio(self.job.recipe, self.job.recipe.train.epochs))
        return self.last

    def close_epoch(self, seconds: float, keep: Keep | None, images: int = 0) -> None:
        """Measure and record an epoch, and start the next. Before any step this is epoch 0."""
        started = self.steps > 0
        if started:
            self.epoch += 1
        job = self.job
        due = self.epoch % job.recipe.run.observe_every == 0 or self.epoch == job.recipe.train.epochs
        observe = job.observe and due
        self.last, attention = None, None
        if observe and (started or job.recipe.run.observe_every == 1):
            self.last = self._score(1.0 if keep is None else keep)
            attention = self.last.attention
        elif observe:  # an untrained model's accuracy is chance; where it attends is what training starts from
            attention = self._attention()
        loss, accuracy = self.running() if started else (None, None)
        self.epochs.append(
            Epoch(
                epoch=self.epoch,
                step=self.steps,
                train_loss=loss,
                train_accuracy=accuracy,
                test_loss=self.last.loss if self.last else None,
                test_accuracy=self.last.accuracy if self.last else None,
                learning_rate=self.optimizer.param_groups[0]["lr"] if started else None,
                keep_ratio=None if keep is None or job.model.pruner is None else kept_share(job.model, keep),
                attention_on_relevant=attention,
                seconds=seconds if started else None,
                images_per_second=images / seconds if started else None,
            )
        )
        self.tally.zero_()

    def _score(self, keep: Keep) -> Scores:
        job = self.job
        model = self.evaluated()
        with self._autocast():
            found = score(model, self._test_batches(), keep, job.recipe.run.seed)
        if not math.isfinite(found.loss):  # a last step may spoil weights whose own loss was finite
            raise _diverged(job, f"the test loss is not finite after epoch {self.epoch}")
        return found

    def _attention(self) -> tuple[float, ...] | None:
        with self._autocast():
            return attention_on_relevant(self.evaluated(), self._test_batches())

    def _test_batches(self) -> Iterator[Batch]:
        return test_batches(self.job.dataset, self.job.recipe.evaluate.batch_size, self.model.patch_size)

    @torch.no_grad()
    def _taught(self, batch: Batch) -> Taught | None:
        if self.job.teacher is None:
            return None
        with self._autocast():
            features = self.job.teacher.forward_features(batch.images)
            return Taught(self.job.teacher.forward_head(features).float(), features)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.job.device.type, torch.bfloat16, enabled=self.job.precision == "bf16")

    def state(self, seconds: float) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.module.state_dict() if self.average else None,
            "tally": self.tally,
            "steps": self.steps,
            "epoch": self.epoch,
            "seconds": seconds,
            "epochs": [record.model_dump_json() for record in self.epochs],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
        self.tally.copy_(state["tally"])
        self.steps, self.epoch, self.seconds = state["steps"], state["epoch"], state["seconds"]
        self.epochs = [Epoch.model_validate_json(line) for line in state["epochs"]]


class Checkpointer:
    """Saves checkpoints on time, after checking that the loss is finite; stops the loop when interrupted."""

    def __init__(self, job: Job, learner: Learner) -> None:
        self.job = job
        self.learner = learner
        self.every = 60 * job.recipe.run.checkpoint_minutes
        self.saved_at = time.monotonic()
        self.saved = False

    def after_step(self, interrupted: bool, seconds: float) -> None:
        due = time.monotonic() - self.saved_at > self.every
        ends_epoch = self.learner.steps % self.learner.per_epoch == 0
        if interrupted or due or ends_epoch or self.learner.steps % LOOK == 0:
            self.check()
        if ends_epoch:
            return  # the epoch is measured first, then saved
        if interrupted or due:
            self.save(seconds)
        if interrupted:
            raise KeyboardInterrupt

    def after_epoch(self, interrupted: bool, seconds: float) -> None:
        if interrupted or not self.saved or time.monotonic() - self.saved_at > min(self.every, EPOCHS_APART):
            self.save(seconds)

    def check(self) -> None:
        bad = int(self.learner.bad)
        if bad >= 0:
            raise _diverged(self.job, f"the loss is not finite at step {bad} (epoch {self.learner.epoch + 1})")

    def save(self, seconds: float) -> None:
        if self.job.checkpoint is not None:
            self.job.checkpoint.save(self.learner.state(seconds))
            self.saved_at, self.saved = time.monotonic(), True


def _diverged(job: Job, what: str) -> Diverged:
    where = ""
    if job.checkpoint is not None:
        saved = job.checkpoint.path.is_file()
        where = f"; the last good checkpoint is {job.checkpoint.path}" if saved else "; no checkpoint was saved yet"
    return Diverged(f"{what}{where}; try a lower train.learning_rate or train.clip_norm")


def _slow_model(optimizer: torch.optim.Optimizer, model: SparseViT) -> None:
    """Gives the model's parameters groups of their own where the pruner asks that they learn more slowly."""
    if model.pruner is None or model.pruner.model_rate == 1:
        return
    own = {id(parameter) for parameter in model.vit.parameters()}
    for group in list(optimizer.param_groups):
        slow = [parameter for parameter in group["params"] if id(parameter) in own]
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in own]
        if slow:
            optimizer.add_param_group({**group, "params": slow, "lr_scale": model.pruner.model_rate})


def kept_share(model: SparseViT, keep: Keep) -> float:
    """What is recorded as the keep ratio of a training."""
    return share_of(keep, model.patches, len(model.schedule.cursors))


@contextlib.contextmanager
def _interruptible() -> Iterator[Any]:
    """The first SIGINT or SIGTERM stops the loop after its step; a second raises KeyboardInterrupt at once.

    A signal that already has a handler of another kind keeps it.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    plain = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: old for number in (signal.SIGINT, signal.SIGTERM) if (old := signal.getsignal(number)) in plain}
    for number in before:
        signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
