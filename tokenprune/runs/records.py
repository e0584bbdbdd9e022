"""What a run folder holds, typed: missing is null, never 0; shares and accuracies are in [0, 1]."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SCHEMA = 1

#: Full batches of test images that a measured speed takes; the first warms up.
TIMED_BATCHES = 4


#: What the recipe of a run is called that exists for others to start from.
PRETRAIN = "pretrain"


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class Status(Record):
    """status.json"""

    state: Literal["running", "interrupted", "failed", "finished"]
    epoch: int
    step: int
    message: str | None = None
    updated: str  # ISO 8601, UTC


class Epoch(Record):
    """A line of metrics.jsonl. Epoch 0 is the model before training."""

    epoch: int
    step: int  # optimiser steps taken so far
    train_loss: float | None = None
    train_accuracy: float | None = None  # of augmented images, as they were trained on; null with mixup or cutmix
    test_loss: float | None = None
    test_accuracy: float | None = None
    learning_rate: float | None = None
    keep_ratio: float | None = None  # of the pruner in training; null without one
    attention_on_relevant: tuple[float, ...] | None = None  # share of class (or received) attention, per block
    seconds: float | None = None
    images_per_second: float | None = None  # training images


class ModelFacts(Record):
    name: str  # "vit" or timm's name
    depth: int
    dim: int
    heads: int
    patch_size: int
    patches: int  # patch tokens of an image
    prefix: int  # class and register tokens
    class_token: bool
    pooling: str | None = None  # timm's global_pool; null in older results
    parameters: int
    flops: float  # per image, forward, unpruned

    @property
    def class_pooled(self) -> bool:
        """Whether the classifier reads prefix tokens alone."""
        return self.class_token if self.pooling is None else self.pooling == "token"


class DataFacts(Record):
    source: str
    scene: str
    classes: tuple[str, ...]
    train_count: int
    test_count: int
    relevant_share: float | None  # alpha_*: mean label-relevant share of a test image's area
    note: str | None = None  # what a reader of any number must know of the data


class TrainResult(Record):
    """result.json of a run."""

    schema_version: int = SCHEMA
    name: str  # of the recipe
    setting: str  # shared by runs that differ only by seed
    family: str  # shared by runs that differ only by seed and depth
    seed: int
    model: ModelFacts
    data: DataFacts
    pruner: str
    keep_ratio: float
    kept_relevance: float | None = None  # label-relevant share of the test tokens that this pruner keeps: their alpha_*
    start: str | None = None  # the pretraining, in a word or two (`Start.label`); null: from scratch
    epochs: int
    test_count: int
    test_correct: int
    test_accuracy: float
    test_loss: float
    group_accuracy: dict[str, float] | None = None  # spurious scenes: per group of test images
    seconds: float  # of training, over all resumptions
    precision: Literal["fp32", "bf16"]
    device: str
    weights_sha256: str

    @property
    def pretraining(self) -> bool:
        """Whether this run is what others start from, and by itself evidence of nothing."""
        return self.name == PRETRAIN


class PrunePoint(Record):
    """Accuracy of one method at one ratio, on all test images, compared with the unpruned model on the same ones."""

    seed: int | None  # the draw of a random pruner, null for the others
    keep_ratio: float  # as asked, per site
    realised: tuple[float, ...]  # share of the image's patches present after each site
    realised_mean: float  # averaged over blocks (a block counts the tokens its MLP sees)
    correct: int
    accuracy: float
    low: float  # Wilson 95 %
    high: float
    difference: float  # accuracy less the unpruned model's
    difference_low: float  # paired 95 %
    difference_high: float
    lost: int  # right unpruned, wrong pruned
    gained: int  # wrong unpruned, right pruned
    mcnemar_p: float
    kept_relevance: float | None  # share of the kept patch tokens' area that is label-relevant
    relevant_recall: float | None  # share of all label-relevant area that is kept
    flops: float  # per image, scores included
    ideal_speedup: float  # unpruned FLOPs over these
    images_per_second: float | None
    speedup: float | None  # measured, over the unpruned model in the same pass


class PruneResult(Record):
    """result.json of prune/<method>-<id>/; predictions.npz beside it has a row of predictions per point."""

    schema_version: int = SCHEMA
    run: str  # folder name of the run
    method: str
    options: dict[str, Any] = {}
    site: str
    input_scores: str | None = None
    finetune_epochs: int = 0
    precision: Literal["fp32", "bf16"]
    device: str
    batch_size: int
    count: int  # test images
    baseline_correct: int
    baseline_accuracy: float
    baseline_images_per_second: float | None
    points: tuple[PrunePoint, ...]

    @property
    def untimed(self) -> str | None:
        """Why there are no images/s, and the options of `prune` that measure them; None where there are some."""
        full, most = self.count // self.batch_size, self.count // TIMED_BATCHES
        if self.baseline_images_per_second is not None or full >= TIMED_BATCHES or not most:
            return None
        return (
            f"no img/s: needs {TIMED_BATCHES} full batches, not {full} of {self.batch_size}; "
            f"add --force --batch-size {most}"
        )
