"""The images of a recipe: sources, patterns made here, scenes, noise."""

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tokenprune.errors import did_you_mean, shortened
from tokenprune.section import YOUNGER, Named, Section, Share

#: Data sets by name; any other source is a path to an .npz.
SOURCES = {
    "patterns": "made here, no download: noisy orthonormal patterns, one per patch, majority vote, exact relevance",
    "cifar10": "60,000 photographs of 10 classes, 32 x 32",
    "cifar100": "60,000 photographs of 100 classes, 32 x 32",
    "svhn": "99,289 house-number digits of 10 classes, 32 x 32",
}
NAMED_SOURCES = tuple(SOURCES)

#: Files that are taken for images.
PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
#: Names of the folder of test images beside `train`, in the order in which they are looked for.
TEST_FOLDERS = ("test", "val", "validation")

Channels = tuple[float, float, float]


class Patterns(Section):
    """The theory's data model as images (Li et al., ICLR 2023): every patch shows one of M orthonormal patterns."""

    classes: int = Field(10, ge=2, le=48, description="classes; each has one discriminative pattern of its own")
    count: int = Field(20, ge=3, le=3072, description="M: orthonormal patterns in all, at most patch_size^2 x 3")
    image_size: int = Field(32, ge=4, le=224, description="side of an image, pixels")
    patch_size: int = Field(4, ge=1, le=32, description="side of a pattern, pixels; divides image_size")
    relevant: float = Field(0.3, gt=0, le=1, description="alpha_*: mean share of tokens that show the label's pattern")
    confusion: float = Field(
        0.1, ge=0, le=1, description="alpha_#: mean share of tokens that show other classes' patterns"
    )
    noise: float = Field(
        0.5, ge=0, le=1e6, description="standard deviation of pixel noise, in units of a pattern's RMS"
    )
    train_size: int = Field(4000, ge=1, description="training images drawn")
    test_size: int = Field(1000, ge=1, description="test images drawn")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.relevant + self.confusion > 1:
            raise ValueError(f"relevant + confusion is {self.relevant + self.confusion:g}, must be at most 1")
        if self.image_size % self.patch_size:
            raise ValueError(f"patch_size {self.patch_size} does not divide image_size {self.image_size}")
        if self.count > 3 * self.patch_size**2:
            raise ValueError(f"count {self.count} exceeds the {3 * self.patch_size**2} dimensions of a patch")
        if self.count < self.classes:
            raise ValueError(f"count {self.count} is less than classes {self.classes}: each class needs a pattern")
        return self


class Data(Section):
    """Which images."""

    source: Named = Field(
        "patterns",
        description="patterns (made here), cifar10, cifar100, svhn, a path to an .npz, or a folder of images",
    )
    image_size: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="side in pixels that images are brought to: a folder's as they are read, others' batch by batch, "
        "after scene, crop and flip; null: their own",
        json_schema_extra=YOUNGER,
    )
    crop: float = Field(
        1.0,
        gt=0,
        le=1,
        description="of a folder: side of the square cut from an image's centre over its shorter side (crop_pct)",
        json_schema_extra=YOUNGER,
    )
    interpolation: Literal["bicubic", "bilinear"] = Field(
        "bicubic", description="how images are brought to image_size", json_schema_extra=YOUNGER
    )
    held_out: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="of a folder without train and test: share of each class for tests, drawn by data.seed",
        json_schema_extra=YOUNGER,
    )
    scene: Literal["plain", "composite", "spurious"] = Field(
        "plain",
        description="plain; composite: each image shrunk onto a background; spurious: bird or airplane, plants behind",
    )
    foreground_size: int = Field(26, ge=1, le=224, description="side of the shrunk image in composite scenes, pixels")
    background: Named = Field(
        "plants", description="behind composites: plants (CIFAR-100 plants and trees), zeros, noise, or an image folder"
    )
    spurious_train: Share = Field(0.9, description="spurious: share of training birds on plants (airplanes: the rest)")
    exclude: tuple[str, ...] = Field(
        (),
        strict=False,
        description="classes left out, by name; plants: the 15 of CIFAR-100 that stand behind composites",
        json_schema_extra=YOUNGER,
    )
    classes: Named | None = Field(
        None,
        description="a file that names the classifier's outputs in their order, a line each or JSON; classes of images "
        "are found in it by name",
        json_schema_extra=YOUNGER,
    )
    noise: float = Field(
        0.0,
        ge=0,
        le=1,
        description="sd of Gaussian noise on every pixel, in shares of its range",
        json_schema_extra=YOUNGER,
    )
    noise_tokens: float = Field(
        0.0, ge=0, lt=1, description="share of each image's tiles that noise replaces", json_schema_extra=YOUNGER
    )
    noise_tile: int = Field(4, ge=1, description="side of those tiles, pixels: the model's patch_size for whole tokens")
    shuffle: int | None = Field(
        None,
        ge=2,
        description="tiles a side, moved by one permutation of all images, which data.seed draws; null: as they are",
        json_schema_extra=YOUNGER,
    )
    train_size: int | None = Field(None, ge=1, description="use this many training images (null: all), class-balanced")
    test_size: int | None = Field(None, ge=1, description="use this many test images (null: all), class-balanced")
    seed: int | None = Field(
        0, ge=0, description="draws subsets, placements, backgrounds and patterns; null: run.seed, images for each run"
    )
    normalise: Literal["dataset", "model"] | tuple[Channels, Channels] = Field(
        "dataset",
        description="what pixels in [0, 1] are normalised by: mean and sd of the training images; those that timm's "
        "model of that name was trained with; or [mean, sd], each a number or three, such as [0.5, 0.5]",
        json_schema_extra=YOUNGER,
    )
    patterns: Patterns = Field(default_factory=lambda: Patterns(), description="only for source: patterns")

    @property
    def stream(self) -> int:
        """The seed that draws. Raises ValueError where it is the run's, which only the recipe knows."""
        if self.seed is None:
            raise ValueError("data.seed is null: Recipe.images has the run's")
        return self.seed

    @field_validator("normalise", mode="before")
    @classmethod
    def _normalise(cls, value: Any) -> Any:
        """One number is used for all three channels."""
        if isinstance(value, str) and value in ("dataset", "model"):
            return value
        pair = list(map(_channels, value)) if isinstance(value, list | tuple) else []
        if len(pair) != 2 or None in pair or min(pair[1] or ()) <= 0:
            raise ValueError(
                f"found {shortened(repr(value))}, must be dataset, model, or [mean, sd] of pixels in [0, 1], such as "
                "[0.5, 0.5] or [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]"
            )
        return tuple(pair)

    @field_validator("source")
    @classmethod
    def _as_folder(cls, value: str) -> str:
        """A folder ends with a slash, so that it is known for one where it is not."""
        named = value in NAMED_SOURCES or value.endswith("/")
        return value if named or not os.path.isdir(value) else f"{value}/"

    @property
    def file(self) -> Path | None:
        """The .npz or folder that the source is; None for a data set by name."""
        return None if self.source in NAMED_SOURCES else Path(self.source)

    @property
    def is_folder(self) -> bool:
        return self.source.endswith("/")

    @model_validator(mode="after")
    def _source(self) -> Self:
        if self.file is not None and self.file.suffix.lower() != ".npz" and not self.is_folder:
            hint = did_you_mean(self.source, NAMED_SOURCES)
            known = f"{', '.join(SOURCES)}, a path to an .npz, or a folder of images"
            raise ValueError(f"source: unknown data set {shortened(self.source)!r}: {hint}known: {known}")
        if self.crop != 1 and not self.is_folder:
            raise ValueError(f"crop: only for a folder of images; those of {self.source} are resized whole")
        if self.image_size is not None and self.source == "patterns":
            raise ValueError("image_size: patterns.image_size says how large patterns are made")
        if self.scene != "plain" and self.source == "patterns":
            raise ValueError(f"scene: {self.scene} needs photographs; source patterns takes scene plain")
        if self.exclude and self.source == "patterns":
            raise ValueError(
                "exclude: source patterns has no named classes to leave out; patterns.classes says how many"
            )
        if self.scene == "spurious" and self.classes is not None:
            raise ValueError("classes: scene spurious has two of its own, airplanes and birds")
        if self.scene == "composite" and self.source in NAMED_SOURCES and self.foreground_size > 32:
            raise ValueError(f"foreground_size: {self.foreground_size} is more than the image side 32")
        return self


def _channels(value: Any) -> Channels | None:
    """Three numbers in [0, 1], of one or three; None if they are not."""
    values = [value] * 3 if not isinstance(value, list | tuple) else list(value)
    if len(values) != 3 or any(isinstance(each, bool) or not isinstance(each, int | float) for each in values):
        return None
    red, green, blue = map(float, values)
    return (red, green, blue) if 0 <= min(red, green, blue) <= max(red, green, blue) <= 1 else None
