"""Loads local weights into a model, also those of other trainers, and says what was read."""

import argparse
import math
import pickle
import sys
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from timm.models import VisionTransformer
from torch import Tensor, nn

from tokenprune import files
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.models.huggingface import SIGN, to_timm
from tokenprune.models.neighbours import Neighbours
from tokenprune.recipe.images import Channels

#: Keys of a file under which weights lie, averaged ones first: the order of timm.models._helpers.load_state_dict.
_KEYS = ("state_dict_ema", "model_ema", "state_dict", "model")

#: What Vision Transformers are made of; a module of another name is of the training, and not read.
_PARTS = (
    *("patch_embed", "cls_token", "dist_token", "reg_token", "pos_embed", "pos_drop", "patch_drop", "norm_pre", "rope"),
    *("blocks", "norm", "fc_norm", "attn_pool", "head_drop", "head", "head_dist", "rel_pos_bias", "shared_rel_pos"),
)

#: A name that every Vision Transformer has: what precedes it is the prefix of all names of the model.
_EVERY = "patch_embed.proj.weight"


@dataclass(frozen=True)
class Weights:
    """What was read from a checkpoint, and what was not.

    key: of the file, None where it holds the weights themselves. prefix: taken off the names, such as `module.`.
    initialised: names of the model that the file has none for, or for other classes. unread: its other names.
    normalised: mean and std that its trainer says it normalised images with.
    converted: from HuggingFace's names. classes: outputs of its classifier, None where it has none.
    """

    file: str
    key: str | None = None
    prefix: str = ""
    initialised: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    normalised: tuple[Channels, Channels] | None = None
    converted: bool = False
    classes: int | None = None

    def __str__(self) -> str:
        parts = [f"{self.file}: read {self.key}" if self.key else f"{self.file}: read"]
        parts += ["names of HuggingFace's transformers taken for timm's"] if self.converted else []
        parts += [f"{self.prefix!r} taken off its names"] if self.prefix else []
        parts += (
            [f"initialised anew, as it has none for these classes: {_some(self.initialised)}"]
            if self.initialised
            else []
        )
        parts += [f"not read: {_some(self.unread)}"] if self.unread else []
        return "; ".join(parts)


def load_weights(
    vit: VisionTransformer, path: str | Path, key: str | None = None, content: Mapping[str, Any] | None = None
) -> Weights:
    """Load a local checkpoint: .safetensors, or a torch file that holds tensors only (nothing in it is executed).

    key: where in a torch file the weights lie; None takes what timm's own reader takes, averaged weights first, else
    the only ones there are. content: what `read_checkpoint` gave, if it was read already. A prefix that the model's
    names have, such as `module.`, is taken off. A classifier for another number of classes, or none, is left as
    initialised, for fine-tuning. Position embeddings of another grid are resampled (bicubic, timm). Modules that no
    Vision Transformer has, such as another loss's, are not read, and said.

    Raises TokenpruneError if the file is damaged, is no plain checkpoint, or is of another model, UsageError for a key
    that it does not have; `vit` is then as it was.
    """
    path = Path(path)
    content = content or read_checkpoint(path)
    key, state = _chosen(path, content, key)
    prefix = _prefix(path, state)
    found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    beside = [name for name in state if not name.startswith(prefix)]
    unread = [name for name in content if name != key and name not in state] + beside
    if "mask_token" in found:  # as Meta saves DINOv2 and DINOv3: timm's own reader knows the names
        unread.append(f"{prefix}mask_token")
        found = sys.modules[type(vit).__module__].checkpoint_filter_fn(found, vit)
    if "head.features" in found and "head.labels" in found and not isinstance(vit.head, Neighbours):
        of_run = Neighbours(found["head.features"], found["head.labels"].long(), vit.num_classes)
        vit.head = cast(nn.Linear, of_run)
    beside_it = [name for name in found if name.partition(".")[0] not in _PARTS]
    unread += beside_it
    found = {name: value for name, value in found.items() if name not in beside_it}
    wanted = vit.state_dict()
    head = {name for name in wanted if name.startswith(("head.", "head_dist."))}
    other_classes = any(
        name not in found or found[name].shape[:1] != wanted[name].shape[:1] for name in head if name.endswith("weight")
    )
    initialised = tuple(sorted(head)) if other_classes else ()
    classes = len(found["head.weight"]) if "head.weight" in found and found["head.weight"].ndim else None
    found = {name: tensor for name, tensor in found.items() if name not in initialised}
    wanted = {name: tensor for name, tensor in wanted.items() if name not in initialised}
    for name, tensor in found.items():
        if not tensor.is_floating_point() or tensor.is_meta or tensor.layout is not torch.strided:
            what = "no values" if tensor.is_meta else f"{tensor.dtype}, {tensor.layout}".replace("torch.", "")
            raise TokenpruneError(f"{path}: {name} holds {what}; weights are dense floating-point numbers")
    if "pos_embed" in wanted and "pos_embed" in found:
        found["pos_embed"] = _resampled(found["pos_embed"], vit)
    _check(path, found, wanted)
    vit.load_state_dict(found, strict=False)
    converted = isinstance(content, _Renamed)
    return Weights(path.name, key, prefix, initialised, tuple(unread), _normalised(content), converted, classes)


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """What a file holds, weights under timm's names."""
    return _renamed(_read(path))


def classes_in(path: Path, content: Mapping[str, Any]) -> int:
    """How many classes a checkpoint's classifier knows, 0 where it has none. Errors as of `load_weights`."""
    _, state = _chosen(path, content, None)
    weight = state.get(f"{_prefix(path, state)}head.weight")
    return 0 if weight is None or weight.ndim != 2 else len(weight)


def load_pruner(pruner: nn.Module, path: Path) -> None:
    """Give a pruner its own parameters, from a file of its state_dict. Raises TokenpruneError if they do not fit it."""
    found, wanted = _read(path), pruner.state_dict()
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in (found, wanted)]
    if differ := sorted(name for name, _ in shapes[0].items() ^ shapes[1].items()):
        raise TokenpruneError(
            f"{path}: parameters of a pruner at other sites or ratios, with other options, or of another version: "
            f"{_some(dict.fromkeys(differ))}"
        )
    pruner.load_state_dict(found)


class _Renamed(dict[str, Any]):
    """A file's content whose weights had HuggingFace's names."""


def _renamed(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The content with timm's names where it, or what lies under a key of it, has HuggingFace's."""
    if _of_huggingface(content):
        return _Renamed(to_timm(content))
    inner = {key: to_timm(value) for key, value in content.items() if _of_huggingface(value)}
    return _Renamed({**content, **inner}) if inner else content


def _of_huggingface(value: object) -> bool:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        return False
    return sum(name.endswith(SIGN) for name in value) == 1 and all(isinstance(each, Tensor) for each in value.values())


def _chosen(path: Path, content: Mapping[str, Any], key: str | None) -> tuple[str | None, dict[str, Tensor]]:
    """The key of the weights, and the weights."""
    states = {name: state for name, value in content.items() if (state := _state(value))}
    own = _state(content)
    if key is not None and key not in states:
        known = f"there are {_some(states)}" if states else f"it has {_some(content)}"
        raise UsageError(f"model.checkpoint_key: no weights of a Vision Transformer under {key!r} in {path}; {known}")
    if key is None and own:
        return None, own
    key = key or next((name for name in _KEYS if name in states), None)
    if key is None and len(states) > 1:
        raise TokenpruneError(f"{path}: weights under {_some(states)}; model.checkpoint_key chooses")
    key = key or next(iter(states), None)
    if key is None:
        inner = next((content[name] for name in _KEYS if isinstance(content.get(name), Mapping)), content)
        raise TokenpruneError(
            f"{path}: expected a state_dict of a Vision Transformer, names and tensors with {_EVERY} among them, "
            f"found {_some(map(str, inner))}"
        )
    return key, states[key]


def _state(value: object) -> dict[str, Tensor]:
    """The tensors of a state_dict; none if it is not that of a Vision Transformer."""
    if not isinstance(value, Mapping):
        return {}
    found = {name: each for name, each in value.items() if isinstance(name, str) and isinstance(each, Tensor)}
    return found if _prefixes(found) else {}


def _prefixes(names: Iterable[str]) -> list[str]:
    return [name.removesuffix(_EVERY) for name in names if f".{name}".endswith(f".{_EVERY}")]


def _prefix(path: Path, names: Iterable[str]) -> str:
    found = _prefixes(names)
    if "" in found:
        return ""
    if len(found) > 1:
        raise TokenpruneError(f"{path}: several models in one: names begin with {_some(found)}; save one by itself")
    return found[0]


def _some(names: Iterable[str]) -> str:
    known = [name if len(name) <= 60 else f"{name[:57]}..." for name in names]
    return ", ".join(known[:4]) + (f" and {len(known) - 4} more" if len(known) > 4 else "") or "nothing"


def _normalised(content: Mapping[str, Any]) -> tuple[Channels, Channels] | None:
    """As timm's trainer keeps it in `args`."""
    args = content.get("args")
    said = vars(args) if isinstance(args, argparse.Namespace) else args
    return mean_and_std(said) if isinstance(said, Mapping) else None


def mean_and_std(said: Mapping[str, Any]) -> tuple[Channels, Channels] | None:
    """`mean` and `std` of a record, three channels each; None where it has not both."""
    try:
        (red, green, blue), (of_red, of_green, of_blue) = (
            (float(each) for each in said[key]) for key in ("mean", "std")
        )
    except (KeyError, TypeError, ValueError):
        return None
    return (red, green, blue), (of_red, of_green, of_blue)


def _check(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    lacking, further = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if lacking or further:
        said = [f"lacks {_some(lacking)}"] if lacking else []
        said += [f"has {_some(further)}, which the model has not"] if further else []
        raise TokenpruneError(
            f"{path}: the checkpoint {' and '.join(said)}: it is of another model than the recipe's model section, or "
            "not whole"
        )
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise TokenpruneError(
                f"{path}: {name} has shape {list(tensor.shape)}, the model's has {list(wanted[name].shape)}: "
                "give the recipe's model section the checkpoint's sizes"
            )
        if not tensor.float().isfinite().all():
            raise TokenpruneError(f"{path}: {name} holds NaN or infinite values; take another copy of the checkpoint")


def _resampled(pos_embed: Tensor, vit: VisionTransformer) -> Tensor:
    """The position embedding for the model's grid, from one of another square grid; unchanged if it is neither."""
    prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
    if pos_embed.ndim != 3:
        return pos_embed
    count = pos_embed.shape[1] - prefix
    if count < 1 or math.isqrt(count) ** 2 != count:
        return pos_embed
    return resample_abs_pos_embed(pos_embed, new_size=list(vit.patch_embed.grid_size), num_prefix_tokens=prefix)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with files.opened(path):
            pass
    except OSError as error:
        raise TokenpruneError(f"{path}: cannot read the checkpoint: {error.strerror}") from None
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _read_torch(path)
    except TokenpruneError:
        raise
    except Exception as error:  # damaged bytes raise many kinds of errors
        kind = "safetensors file" if path.suffix == ".safetensors" else "torch checkpoint"
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise TokenpruneError(f"{path}: truncated or no {kind}: {first}; take another copy") from None
    if not isinstance(content, Mapping):
        raise TokenpruneError(f"{path}: expected a state_dict, names and tensors, found {type(content).__name__}")
    return content


def _read_torch(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise TokenpruneError(f"{path}: damaged: checksum of {damaged} is wrong; take another copy")
    try:
        # timm's trainer keeps its options, an argparse.Namespace, beside the weights.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # of pickles, which are refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise TokenpruneError(
            f"{path}: not a checkpoint of tensors only; nothing in it was executed. "
            "Save the model's state_dict with safetensors, or torch.save"
        ) from None
