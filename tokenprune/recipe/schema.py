"""The schema of a recipe: every key with its unit, range and default. `docs/recipes.md` is printed from here."""

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from tokenprune import files
from tokenprune.errors import UsageError, counted, shortened, unknown
from tokenprune.identity import digest
from tokenprune.pruners.registry import is_learned, known_pruners
from tokenprune.recipe.images import NAMED_SOURCES, Data
from tokenprune.recipe.site import Keep, RemovedPerSite, Schedule, written
from tokenprune.recipe.sited import Sited
from tokenprune.recipe.timm_names import check_name
from tokenprune.section import YOUNGER, Named, RatioOrRatios, Section, identifying

SITES = "input (by attention of the last block), input:mean, input:rollout, before:BLOCKS or after:BLOCKS"


class Model(Section):
    """A timm-style Vision Transformer."""

    depth: int = Field(1, ge=1, le=200, description="transformer blocks")
    dim: int = Field(192, ge=4, description="width of a token")
    heads: int = Field(3, ge=1, description="attention heads; divides dim")
    mlp_ratio: float = Field(4.0, gt=0, le=1000, description="hidden width of the MLP over dim")
    patch_size: int = Field(4, ge=1, description="side of a patch token, pixels; divides the image")
    class_token: bool = Field(True, description="classify from a class token (true) or by average pooling (false)")
    registers: int = Field(0, ge=0, description="register tokens, never pruned")
    layer_scale: float | None = Field(None, gt=0, description="initial LayerScale, null for none")
    qk_norm: bool = Field(False, description="normalise queries and keys")
    drop_path: float = Field(0.0, ge=0, lt=1, description="stochastic depth at the last block, growing linearly")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after embedding and projections")
    init: Literal["timm", "mimetic"] = Field(
        "timm",
        description="timm's random weights, or attention that begins as that of trained models is: near the identity, "
        "with sinusoidal positions",
        json_schema_extra=YOUNGER,
    )
    attention: Literal["content", "positional", "local"] = Field(
        "content",
        description="what queries and keys are made of: tokens, codes of their places alone, or tokens of which each "
        "attends to those around it",
        json_schema_extra=YOUNGER,
    )
    kernel: int | None = Field(
        None,
        ge=2,
        description="side in tokens of what local attention sees, or of the windows of a convolutional network "
        "(null: 4)",
        json_schema_extra=YOUNGER,
    )
    stages: tuple[Annotated[int, Field(ge=1, le=100)], ...] | None = Field(
        None,
        min_length=1,
        max_length=8,
        strict=False,
        description="blocks of each stage of a convolutional network, depth in all; null: a Vision Transformer",
        json_schema_extra=YOUNGER,
    )
    attentions: int = Field(
        0,
        ge=0,
        description="blocks of a convolutional network that are attention in windows, from its end",
        json_schema_extra=YOUNGER,
    )
    name: str | None = Field(None, description="a timm model by name instead of the keys above")
    checkpoint: Named | None = Field(
        None, description="local weights to start from: .safetensors, or .pt of tensors only"
    )

    checkpoint_key: str | None = Field(
        None,
        description="key of that file which holds them; null: averaged ones, or the only ones, as timm reads it",
        json_schema_extra=YOUNGER,
    )
    head: Literal["checkpoint", "linear", "knn"] = Field(
        "checkpoint",
        description="with train.epochs 0: the checkpoint's own classifier, a linear one on its frozen features, or "
        "the 20 nearest training images",
        json_schema_extra=YOUNGER,
    )

    @field_validator("name")
    @classmethod
    def _name(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.context != RECORDED:
            check_name(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"heads: {self.heads} does not divide dim {self.dim}")
        if self.init != "timm" and (self.name or self.checkpoint):
            raise ValueError(f"init: {self.init} is for a model of the keys above, from scratch")
        if self.attention != "content" and (self.name or self.init != "timm"):
            raise ValueError(f"attention: {self.attention} is for a model of the keys above, with init timm")
        if (self.attention == "local") != (self.kernel is not None) and self.stages is None:
            raise ValueError("kernel: local attention needs it (3, 5, 8), and it needs attention local, or stages")
        if self.attentions and self.stages is None:
            raise ValueError("attentions: only in a convolutional network (stages)")
        if self.stages is not None:
            self._convolutional()
        if self.init == "mimetic" and self.dim % 4:
            raise ValueError(f"init: sinusoidal positions need a dim that 4 divides, not {self.dim}")
        if self.checkpoint_key is not None and self.checkpoint is None:
            raise ValueError(f"checkpoint_key: {shortened(self.checkpoint_key)!r} is of no checkpoint; name one")
        return self

    def _convolutional(self) -> None:
        if sum(self.stages or ()) != self.depth:
            raise ValueError(f"depth: stages {list(self.stages or ())} make {sum(self.stages or ())}, not {self.depth}")
        if self.class_token:
            raise ValueError("class_token: a convolutional network (stages) has none; set it to false")
        only = Model(depth=self.depth, class_token=False).model_dump(exclude=_CONVOLUTIONAL)
        other = [key for key, value in self.model_dump(exclude=_CONVOLUTIONAL).items() if value != only[key]]
        if other:
            raise ValueError(f"{other[0]}: not for a convolutional network (stages)")


#: Keys of a convolutional network.
_CONVOLUTIONAL = {
    *("depth", "dim", "heads", "patch_size", "class_token", "drop_path", "kernel", "stages", "attentions"),
    *("checkpoint", "checkpoint_key"),
}


class PrunerSection(Sited):
    """A pruner that works while training; evaluation chooses its own."""

    name: str = Field("none", description="none, or a pruner that `tokenprune ls pruners` shows")
    keep_ratio: RatioOrRatios = Field(
        1.0, description="share of the patch tokens entering each site that stays; a list has one for each site"
    )
    r: int | None = Field(
        None, ge=1, description="patch tokens that leave at each site, instead of a share", json_schema_extra=YOUNGER
    )
    site: str = Field("before:0", description=SITES)
    anneal_epochs: float = Field(0.0, ge=0, description="epochs over which the ratio falls from 1 along a cosine")
    anneal_from: float = Field(0.0, ge=0, description="epochs with all tokens before them", json_schema_extra=YOUNGER)
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the pruner")

    @property
    def removes(self) -> bool:
        """Whether it ever removes a token: at ratio 1 every pruner leaves the unpruned model."""
        return self.name != "none" and (self.r is not None or self.keep_ratio not in (1, (1.0,) * len(self.cursors)))

    @property
    def cursors(self) -> tuple[int, ...]:
        """Its sites, in half-blocks."""
        return Schedule.parse(self.site).cursors

    @property
    def keep(self) -> Keep:
        """What stays at the sites; all of it without a pruner."""
        if not self.removes:
            return 1.0
        return self.keep_ratio if self.r is None else RemovedPerSite(self.r)

    @model_validator(mode="after")
    def _one_number(self) -> Self:
        if self.r is not None and self.keep_ratio != 1:
            raise ValueError("r: keep_ratio says already what stays; give one of them")
        if self.r is not None and self.name == "none":
            raise ValueError("r: there is no pruner (name)")
        if self.name != "none" and not self.removes and is_learned(self.name):
            raise ValueError(f"keep_ratio: 1 removes no token, and pruner {self.name!r} has parameters to learn")
        if isinstance(self.keep_ratio, tuple) and len(self.keep_ratio) != len(self.cursors):
            raise ValueError(f"keep_ratio: {len(self.keep_ratio)} ratios for {counted(len(self.cursors), 'site')}")
        return self

    @field_validator("options")
    @classmethod
    def _options(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(value, allow_nan=False)
        except ValueError:
            raise ValueError("NaN and infinity are not taken") from None
        return value

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return _known_pruner(value, allow_none=True)


class Augment(Section):
    """Random changes of training images, one draw per image."""

    crop: int = Field(4, ge=0, description="padding of the random crop, pixels; 0 for none")
    flip: bool = Field(True, description="mirror half of the images left to right")
    cutout: int = Field(0, ge=0, description="side of a square set to the mean, pixels; 0 for none")
    randaugment_ops: int = Field(0, ge=0, le=8, description="RandAugment operations per image; 0 for none")
    randaugment_magnitude: float = Field(9.0, ge=0, le=30, description="RandAugment magnitude, 0 to 30")
    mixup: float = Field(0.0, ge=0, description="alpha of mixup's Beta distribution; 0 for none")
    cutmix: float = Field(0.0, ge=0, description="alpha of CutMix's Beta distribution; 0 for none")


class Train(Section):
    """How the model learns."""

    epochs: int = Field(
        10, ge=0, description="passes over the training images; 0 scores the weights of model.checkpoint as they are"
    )
    batch_size: int = Field(128, ge=1, description="images per step")
    optimizer: Literal["adamw", "muon"] = Field("adamw", description="adamw, or muon for matrices (adamw for the rest)")
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate")
    beta2: float = Field(0.999, ge=0, lt=1, description="AdamW's decay of squared gradients", json_schema_extra=YOUNGER)
    weight_decay: float = Field(0.05, ge=0, description="decoupled weight decay; not on biases and norms")
    warmup_epochs: float = Field(1.0, ge=0, description="linear warm-up")
    final_learning_rate: float = Field(1e-5, ge=0, description="where the cosine ends")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    clip_norm: float | None = Field(1.0, gt=0, description="largest gradient norm, null for none")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="evaluate an exponential moving average of weights")
    patch_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of each image's patch tokens left out at random in training, before block 0",
        json_schema_extra=YOUNGER,
    )
    patch_dropout_epochs: float | None = Field(
        None, ge=0, description="epochs that begin with it; all tokens after them; null: all", json_schema_extra=YOUNGER
    )
    image_size: int | None = Field(
        None,
        ge=1,
        description="side in pixels to which training images are shrunk, without a pruner; null: their own",
        json_schema_extra=YOUNGER,
    )
    image_size_epochs: float | None = Field(
        None,
        ge=0,
        description="epochs that begin with it; whole images after them; null: all",
        json_schema_extra=YOUNGER,
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto is bf16 where the hardware multiplies it fast, else fp32"
    )
    teacher: Named | None = Field(
        None,
        description="run folder, or weights of this same model, whose logits the pruner's loss gets; null: none",
        json_schema_extra=YOUNGER,
    )
    augment: Augment = Field(default_factory=lambda: Augment(), description="random changes of training images")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.warmup_epochs > self.epochs > 0:
            raise ValueError(f"warmup_epochs: {self.warmup_epochs:g} is more than epochs {self.epochs}")
        for name in ("patch_dropout_epochs", "image_size_epochs"):
            asked = getattr(self, name)
            if asked is not None and asked > self.epochs:
                raise ValueError(f"{name}: {asked:g} is more than epochs {self.epochs}")
        return self


class Evaluate(Sited):
    """Defaults of `tokenprune prune`'s options, and of the curves of a sweep."""

    methods: tuple[str, ...] = Field(
        ("magnitude", "random", "oracle"), min_length=1, strict=False, description="pruners to compare"
    )
    keep: tuple[RatioOrRatios, ...] = Field(
        (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1),
        min_length=1,
        strict=False,
        description="kept-token ratios, a point each; a list among them has a ratio for each site",
    )
    r: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (),
        strict=False,
        description="more points: so many patch tokens leave at each site",
        json_schema_extra=YOUNGER,
    )
    site: str = Field("before:0", description=f"{SITES}; one curve, one site")
    seeds: int = Field(3, ge=1, description="draws of a random pruner")
    finetune_epochs: int = Field(0, ge=0, description="epochs of training at each ratio before it is measured")
    batch_size: int = Field(500, ge=1, description="images per forward pass")
    examples: int = Field(8, ge=0, le=64, description="test images kept to look at, in the mosaic and the explorer")

    @field_validator("methods")
    @classmethod
    def _methods(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_known_pruner(name) for name in value))

    @field_validator("keep", "r")
    @classmethod
    def _once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(value))

    @property
    def points(self) -> tuple[Keep, ...]:
        """What stays at the sites, point by point."""
        return (*self.keep, *map(RemovedPerSite, self.r))

    @model_validator(mode="after")
    def _sites(self) -> Self:
        sites = len(Schedule.parse(self.site).cursors)
        for each in self.keep:
            if isinstance(each, tuple) and len(each) != sites:
                raise ValueError(f"keep: {written(each)} has {len(each)} ratios for {counted(sites, 'site')}")
        return self


class Run(Section):
    """Seed and machine; only the seed affects results."""

    seed: int = Field(0, ge=0, description="initial weights, order of images, augmentation, random pruning")
    device: Literal["auto", "cuda", "mps", "cpu"] = Field("auto", description="auto is cuda where there is one")
    threads: int | None = Field(None, ge=1, description="CPU threads, null for all")
    compile: bool = Field(False, description="torch.compile the training step")
    checkpoint_minutes: float = Field(5.0, ge=0, description="minutes between checkpoints within an epoch")
    observe_every: int = Field(
        1,
        ge=1,
        description="epochs between two measurements of test accuracy and attention; the last is always measured",
    )
    tensorboard: bool = Field(False, description="also write TensorBoard event files")


class Start(Section):
    """Pretraining that weights start from, on plain images, without a pruner; all else is as in the recipe itself."""

    source: str | None = Field(
        None, description="images to pretrain on: as data.source; null: none, weights start from scratch"
    )
    exclude: tuple[str, ...] | None = Field(
        None, strict=False, description="classes left out, as data.exclude; null: plants of cifar100, none of others"
    )
    noise: float = Field(0.0, ge=0, le=1, description="sd of Gaussian noise on every pixel, in shares of its range")
    train_size: int | None = Field(None, ge=1, description="use this many training images (null: all), class-balanced")
    epochs: int = Field(10, ge=1, description="passes over them")
    seed: int | None = Field(None, ge=0, description="of the pretraining; null: run.seed, a pretraining for each run")

    @property
    def label(self) -> str:
        """In a word or two: scratch, cifar100, noisy 0.2 (of CIFAR-10)."""
        if self.source is None:
            return "scratch"
        source = self.source if self.source in NAMED_SOURCES else Path(self.source).stem
        if not self.noise:
            return source
        return f"noisy {self.noise:g}" if source == "cifar10" else f"noisy {source} {self.noise:g}"


#: Validation context of a recipe that a run was made with: a site that is refused today does not make it unreadable.
RECORDED = "recorded"


class Recipe(Section):
    """A whole experiment."""

    data: Data = Field(default_factory=lambda: Data())
    model: Model = Field(default_factory=lambda: Model())
    start: Start = Field(default_factory=lambda: Start())
    pruner: PrunerSection = Field(default_factory=lambda: PrunerSection())
    train: Train = Field(default_factory=lambda: Train())
    evaluate: Evaluate = Field(default_factory=lambda: Evaluate())
    run: Run = Field(default_factory=lambda: Run())

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Self:
        problems = []
        if self.model.name is None:
            for section, site in (("pruner", self.pruner.site), ("evaluate", self.evaluate.site)):
                try:
                    Schedule.parse(site).check(self.model.depth, self.model.class_token and info.context != RECORDED)
                except UsageError as error:
                    problems.append(f"{section}.site: {error}")
            size = self.data.patterns.image_size if self.data.source == "patterns" else self.data.image_size or 32
            if (self.data.file is None or self.data.image_size is not None) and size % self.model.patch_size:
                problems.append(f"model.patch_size: {self.model.patch_size} does not divide the image side {size}")
        if self.model.stages is not None:
            for key, unfit in (
                ("pruner.name", self.pruner.removes),
                ("train.patch_dropout", self.train.patch_dropout > 0),
                ("train.image_size", self.train.image_size is not None),
                ("model.head", self.model.head != "checkpoint"),
            ):
                if unfit:
                    problems.append(f"{key}: not for a convolutional network (model.stages)")
        over, first = self.pruner.anneal_epochs, self.pruner.anneal_from
        if over + first > self.train.epochs:
            after = f"{first:g} + {over:g}" if first else f"{over:g}"
            problems.append(f"pruner.anneal_epochs: {after} is more than train.epochs {self.train.epochs}")
        if self.train.teacher is not None and not self.pruner.removes:
            problems.append("train.teacher: teaches a pruner; there is none (pruner.name, pruner.keep_ratio below 1)")
        if self.data.normalise == "model" and self.model.name is None:
            problems.append("data.normalise: model is for a timm model by name (model.name)")
        if self.train.epochs == 0 and self.model.checkpoint is None:
            problems.append("train.epochs: 0 trains nothing, and model.checkpoint has no weights to score")
        if self.train.epochs == 0 and self.pruner.removes:
            problems.append("pruner.name: with train.epochs 0 none is trained; `tokenprune prune` removes tokens")
        if self.train.epochs and self.model.head != "checkpoint":
            problems.append(
                f"model.head: {self.model.head} is for train.epochs 0; training has a classifier of its own"
            )
        if self.data.classes is not None and self.model.head != "checkpoint":
            problems.append(f"data.classes: names the checkpoint's outputs; model.head {self.model.head} has its own")
        if self.start.source is not None and self.model.checkpoint is not None:
            problems.append("start.source: model.checkpoint says already what the weights start from; leave one null")
        try:
            self.pretraining()
        except ValidationError as error:
            prefix = "start." if error.title == "Data" else "start.source: "
            problems += [
                f"{prefix}{line}" for item in error.errors() for line in str(item["ctx"]["error"]).splitlines()
            ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def images(self) -> Data:
        """What draws this run's images: `data`, with the run's seed where it has none of its own."""
        return self.data if self.data.seed is not None else self.data.model_copy(update={"seed": self.run.seed})

    def pretraining(self) -> "Recipe | None":
        """The recipe of the run whose weights this one starts from; None from scratch.

        It is the same for all runs that can share it: this one's images, pruner and length are not part of it.
        """
        start = self.start
        if start.source is None:
            return None
        plants = ("plants",) if start.source == "cifar100" else ()
        data = Data(
            source=start.source,
            exclude=plants if start.exclude is None else start.exclude,
            noise=start.noise,
            train_size=start.train_size,
            test_size=self.data.test_size,
            seed=self.data.seed,
            normalise=self.data.normalise,
            patterns=self.data.patterns,
        )
        warmup = round(self.train.warmup_epochs * start.epochs / max(1, self.train.epochs), 6)
        train = self.train.model_copy(update={"epochs": start.epochs, "warmup_epochs": warmup, "teacher": None})
        model = self.model.model_copy(update={"checkpoint": None, "checkpoint_key": None})
        run = self.run if start.seed is None else self.run.model_copy(update={"seed": start.seed})
        sections = {"data": data, "model": model, "train": train, "evaluate": self.evaluate, "run": run}
        return Recipe.model_validate(sections, context=RECORDED)  # nothing is measured on it

    def science(self) -> dict[str, Any]:
        """The keys that decide the trained weights, without the seed: no paths, no device, nothing of evaluation."""
        part = identifying(self, self.model_dump(mode="json", include={"data", "model", "pruner", "train"}))
        if (first := self.pretraining()) is not None:
            part["start"] = {
                "data": first.science()["data"],
                "epochs": self.start.epochs,
                "seed": self.start.seed,
            }
        if self.data.source != "patterns":
            del part["data"]["patterns"]
        if not self.data.noise_tokens:
            del part["data"]["noise_tile"]
        if not self.pruner.removes:
            part["pruner"] = identifying(PrunerSection(), PrunerSection().model_dump(mode="json"))
        paths = {"data": ("source", "background", "classes"), "model": ("checkpoint",), "train": ("teacher",)}
        for section, key in ((section, key) for section, keys in paths.items() for key in keys):
            path = part[section].get(key)
            if path is not None and key == "teacher":
                path = str(weights_at(path))
            if path is not None and Path(path).is_file():
                part[section][key] = "sha256:" + files.checksum(Path(path))
        if self.data.is_folder and os.path.isdir(self.data.source):
            part["data"]["source"] = "sha256:" + _folder_digest(self.data.source)
        return part

    def setting(self) -> str:
        """Eight hex digits that runs share which differ only by seed: replicates of one setting."""
        return digest(self.science())

    def family(self) -> str:
        """Eight hex digits that runs share which differ only by seed and depth: the panels of one figure."""
        part = self.science()
        part["model"]["depth"] = None
        return digest(part)


def weights_at(path: str) -> Path:
    """The weights file that a path names: itself, or that of a run folder."""
    return Path(path) / "weights.safetensors" if Path(path).is_dir() else Path(path)


def _folder_digest(path: str) -> str:
    """sha256 of the names and bytes of all files below a folder; computed again only if one of them changed."""
    found = sorted(each for each in Path(path).rglob("*") if each.is_file())
    known = [each.stat() for each in found]
    return _tree_digest(
        path, len(found), sum(each.st_size for each in known), max((each.st_mtime_ns for each in known), default=0)
    )


@lru_cache
def _tree_digest(path: str, count: int, size: int, changed: int) -> str:
    found = sorted(each for each in Path(path).rglob("*") if each.is_file())
    return digest([[str(each.relative_to(path)), files.checksum(each)] for each in found])


def _known_pruner(value: str, *, allow_none: bool = False) -> str:
    known = [*known_pruners(), *(["none"] if allow_none else [])]
    if value not in known:
        raise ValueError(str(unknown("pruner", value, known)))
    return value
