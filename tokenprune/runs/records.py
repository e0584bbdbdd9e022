"""Typed records of a run folder: missing is null, never 0; shares and accuracies are in [0, 1]."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

SCHEMA = 1

#: Full batches of test images that a measured speed needs; the first warms up.
TIMED_BATCHES = 4


#: Recipe name of a run that others start from.
PRETRAIN = "pretrain"


Share = Annotated[float, Field(ge=0, le=1)]
Change = Annotated[float, Field(ge=-1, le=1)]
Count = Annotated[int, Field(ge=0)]
Some = Annotated[int, Field(ge=1)]
#: A share that was computed in floating point.
Nearly = Annotated[float, Field(ge=-1e-6, le=1 + 1e-6)]
Ratio = Annotated[float, Field(gt=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
#: A hash of a setting or family, shortened: part of file names.
Digest = Annotated[str, Field(max_length=64)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class Result(Record):
    """A result.json.

    files: sha256 of the files beside it that are part of the result, by name. seal: sha256 of everything else in it, so
    that later changes are detected; both are missing in results from before there were seals.
    """

    files: dict[str, Sha256] = {}
    seal: Sha256 | None = None

    def stored(self) -> dict[str, Any]:
        """What is written, without its seal."""
        return self.model_dump(mode="json", exclude={"seal"})


class Status(Record):
    """status.json"""

    state: Literal["running", "interrupted", "failed", "finished"]
    epoch: Count
    step: Count
    message: str | None = None
    updated: str  # ISO 8601, UTC


class Epoch(Record):
    """A line of metrics.jsonl. Epoch 0 is the model before training."""

    epoch: Count
    step: Count  # optimiser steps taken so far
    train_loss: float | None = None
    train_accuracy: Share | None = None  # of augmented images, as they were trained on; null with mixup or cutmix
    test_loss: float | None = None
    test_accuracy: Share | None = None
    learning_rate: float | None = None
    keep_ratio: Share | None = None  # of the pruner in training; null without one
    attention_on_relevant: tuple[Nearly, ...] | None = None  # share of class (or received) attention, per block
    seconds: float | None = None
    images_per_second: float | None = None  # training images


class ModelFacts(Record):
    name: str  # "vit" or timm's name
    depth: Some
    dim: Some
    heads: Some
    patch_size: Some
    patches: Some  # patch tokens of an image
    prefix: Count  # class and register tokens
    class_token: bool
    pooling: str | None = None  # timm's global_pool; null in older results
    parameters: Some
    flops: Positive  # per image, forward, unpruned

    @property
    def class_pooled(self) -> bool:
        """Whether the classifier reads prefix tokens alone."""
        return self.class_token if self.pooling is None else self.pooling == "token"


class DataFacts(Record):
    source: str
    scene: str
    classes: tuple[str, ...]
    train_count: Some
    test_count: Some
    relevant_share: Share | None  # alpha_*: mean label-relevant share of a test image's area
    note: str | None = None  # a caveat about the data, for readers of any number


class TrainResult(Result):
    """result.json of a run."""

    schema_version: int = SCHEMA
    name: str  # of the recipe
    setting: Digest  # shared by runs that differ only by seed
    family: Digest  # shared by runs that differ only by seed and depth
    seed: Count
    model: ModelFacts
    data: DataFacts
    pruner: str
    keep_ratio: Ratio
    kept_relevance: Nearly | None = (
        None  # label-relevant share of the test tokens that this pruner keeps: their alpha_*
    )
    start: str | None = None  # the pretraining, in a word or two (`Start.label`); null: from scratch
    epochs: Count
    test_count: Some
    test_correct: Count
    test_accuracy: Share
    test_loss: float
    group_accuracy: dict[str, Share] | None = None  # spurious scenes: per group of test images
    seconds: NotNegative  # of training, over all resumptions
    precision: Literal["fp32", "bf16"]
    device: str
    weights_sha256: str
    pruner_sha256: Sha256 | None = None  # of the pruner's own parameters; null where it has none

    @property
    def pretraining(self) -> bool:
        """Whether this run is a pretraining, which is no evidence by itself."""
        return self.name == PRETRAIN


class Values(Record):
    """An array with its unit: a nested tuple, with the name of an axis for each level.

    labels: what the places on an axis stand for, where their number does not say it: by axis, columns by name, a label
    for each place. Empty in older results.
    """

    unit: str
    axes: tuple[str, ...]
    values: Any
    labels: dict[str, dict[str, tuple[str | int | float, ...]]] = {}

    @field_validator("values")
    @classmethod
    def _array(cls, value: Any, info: ValidationInfo) -> Any:
        import numpy as np

        array = np.asarray(value)  # ValueError for rows of different lengths
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise ValueError("holds what is no finite number")
        if array.ndim != len(info.data.get("axes", ())):
            raise ValueError("as many levels as axes are needed")
        return value

    @field_validator("labels")
    @classmethod
    def _of_axes(cls, value: Any, info: ValidationInfo) -> Any:
        import numpy as np

        axes, shape = info.data.get("axes", ()), np.shape(info.data.get("values", ()))
        for axis, columns in value.items():
            if axis not in axes[: len(shape)]:
                raise ValueError(f"{axis}: no axis of that name")
            if any(len(column) != shape[axes.index(axis)] for column in columns.values()):
                raise ValueError(f"{axis}: a label for each place is needed")
        return value


class MeasureResult(Result):
    """result.json of measure/<measurement>-<id>/.

    threads, processor, torch: what it ran on, beside the device; null in older results. notes: what was left out, and
    why.
    """

    schema_version: int = SCHEMA
    run: str  # folder name of the run
    measurement: str
    options: dict[str, Any] = {}
    precision: Literal["fp32", "bf16"]
    device: str
    weights_sha256: str  # of the model it was measured on
    threads: Some | None = None
    processor: str | None = None
    torch: str | None = None
    notes: tuple[str, ...] = ()
    arrays: Annotated[dict[str, Values], Field(min_length=1)]


class PrunePoint(Record):
    """Accuracy of one method at one ratio, on all test images, compared with the unpruned model on the same ones."""

    seed: Count | None  # the draw of a random pruner, null for the others
    keep_ratio: Ratio  # as asked, per site; where `keep` says something else was asked: what stays after the last
    keep: str | None = None  # 0.9/0.7/0.5, a ratio for each site, or r=8, tokens that leave at each; null: keep_ratio
    realised: Annotated[tuple[Share, ...], Field(min_length=1)]  # share of the image's patches present after each site
    realised_mean: Share  # averaged over blocks (a block counts the tokens its MLP sees)
    correct: Count
    accuracy: Share
    low: Nearly  # Wilson 95 %
    high: Nearly
    difference: Change  # accuracy less the unpruned model's
    difference_low: Change  # paired 95 %
    difference_high: Change
    lost: Count  # right unpruned, wrong pruned
    gained: Count  # wrong unpruned, right pruned
    mcnemar_p: Nearly
    agreement: Share | None = None  # images with the unpruned model's answer; null in older results
    tokens: tuple[Some, Some, Some, Some, Some] | None = None  # left after the last site: least, quartiles, most
    kept_relevance: Nearly | None  # share of the kept patch tokens' area that is label-relevant
    relevant_recall: Nearly | None  # share of all label-relevant area that is kept
    flops: Positive  # per image, scores included
    ideal_speedup: Positive  # unpruned FLOPs over these
    images_per_second: Positive | None
    speedup: Positive | None  # measured, over the unpruned model in the same pass
    own_time: Share | None = None  # share of the time in which the pruner works; null unpruned and in older results

    @property
    def asked(self) -> str:
        """What stays, as it was asked."""
        return self.keep or f"{self.keep_ratio:g}"


class PruneResult(Result):
    """result.json of prune/<method>-<id>/; predictions.npz beside it has a row of predictions per point."""

    schema_version: int = SCHEMA
    run: str  # folder name of the run
    method: str
    options: dict[str, Any] = {}
    site: str
    input_scores: str | None = None
    finetune_epochs: Count = 0
    precision: Literal["fp32", "bf16"]
    device: str
    batch_size: Some
    count: Some  # test images
    baseline_correct: Count
    baseline_accuracy: Share
    baseline_images_per_second: Positive | None
    points: Annotated[tuple[PrunePoint, ...], Field(min_length=1)]

    @property
    def written_site(self) -> str:
        """The site as a recipe or an option has it: `input:rollout`."""
        return (
            f"input:{self.input_scores}"
            if self.site == "input" and self.input_scores not in (None, "last")
            else self.site
        )

    @property
    def untimed(self) -> str | None:
        """Why images/s are missing, and the options of `prune` that measure them; None where they are there."""
        full, most = self.count // self.batch_size, self.count // TIMED_BATCHES
        if self.baseline_images_per_second is not None or full >= TIMED_BATCHES or not most:
            return None
        return (
            f"no img/s: needs {TIMED_BATCHES} full batches, not {full} of {self.batch_size}; "
            f"add --force --batch-size {most}"
        )
