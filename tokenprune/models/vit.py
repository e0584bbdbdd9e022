"""Build timm Vision Transformers from a recipe, load local weights into them. Nothing is ever downloaded."""

import math
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from timm.models import VisionTransformer, is_model, is_model_in_modules, list_models
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn

from tokenprune.cost import Architecture
from tokenprune.errors import TokenpruneError, UsageError, nearest
from tokenprune.models.attention import attention_of, blocks_of
from tokenprune.recipe import Model

_FAMILIES = ("vision_transformer", "deit")


def build(spec: Model, classes: int, image_size: int) -> VisionTransformer:
    """A freshly initialised model for square images, drawn from torch's global generator.

    Raises UsageError for a timm name that is unknown or no ViT, and for patches that do not tile the image.
    """
    if spec.name is not None:
        vit = _named(spec.name, classes, image_size)
    else:
        vit = VisionTransformer(
            img_size=image_size,
            patch_size=spec.patch_size,
            num_classes=classes,
            global_pool="token" if spec.class_token else "avg",
            class_token=spec.class_token,
            embed_dim=spec.dim,
            depth=spec.depth,
            num_heads=spec.heads,
            mlp_ratio=spec.mlp_ratio,
            reg_tokens=spec.registers,
            init_values=spec.layer_scale,
            qk_norm=spec.qk_norm,
            drop_path_rate=spec.drop_path,
            pos_drop_rate=spec.dropout,
            proj_drop_rate=spec.dropout,
        )
    patch_size = vit.patch_embed.patch_size[0]
    if image_size % patch_size:
        raise UsageError(
            f"model: patches of {patch_size} pixels do not tile images of {image_size} x {image_size} pixels"
        )
    return vit


def architecture_of(vit: VisionTransformer) -> Architecture:
    """The sizes that decide the model's FLOPs."""
    block = blocks_of(vit)[0]
    hidden = cast(nn.Linear, block.mlp.fc2).in_features
    first = sum(layer.out_features for layer in block.mlp.modules() if isinstance(layer, nn.Linear)) - vit.embed_dim
    return Architecture(
        depth=len(vit.blocks),
        dim=vit.embed_dim,
        heads=attention_of(block).num_heads,
        mlp_hidden=hidden,
        patches=vit.patch_embed.num_patches,
        prefix=vit.num_prefix_tokens,
        patch_size=vit.patch_embed.patch_size[0],
        classes=vit.num_classes,
        channels=vit.in_chans,
        class_token=vit.cls_token is not None,
        qk_norm=not isinstance(attention_of(block).k_norm, nn.Identity),
        mlp_gated=first == 2 * hidden,
        classifiers=2 if isinstance(vit, VisionTransformerDistilled) else 1,
    )


def _named(name: str, classes: int, image_size: int) -> VisionTransformer:
    if not is_model(name):
        guess = nearest(name, list_models("*vit*") + list_models("deit*"))
        hint = f"did you mean {guess!r}? " if guess else ""
        raise UsageError(f"model.name: timm has no model {name!r}: {hint}timm.list_models('vit_*') shows them")
    if not is_model_in_modules(name, _FAMILIES):
        raise UsageError(f"model.name: timm's {name!r} is not a plain Vision Transformer; vit_* and deit_* are")
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # a tag after the dot that timm does not know
        raise UsageError(f"model.name: {error}") from None
    vit = timm.create_model(name, pretrained=False, num_classes=classes, img_size=image_size)
    return cast(VisionTransformer, vit)


def load_weights(vit: VisionTransformer, path: str | Path) -> tuple[str, ...]:
    """Load a local checkpoint: .safetensors, or a torch file that holds tensors only (nothing in it is executed).

    A torch file may hold the tensors under `model` or `state_dict`. A classifier for another number of classes, or
    none, is left as initialised, for fine-tuning. Position embeddings of another grid are resampled (bicubic, timm).

    Returns the names that were skipped. Raises TokenpruneError if the file is damaged, is no plain checkpoint, or is of
    another model; `vit` is then as it was.
    """
    path = Path(path)
    try:
        path.open("rb").close()
    except OSError as error:
        raise TokenpruneError(f"{path}: cannot read the checkpoint: {error.strerror}") from None
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    wanted = vit.state_dict()
    head = {name for name in wanted if name.startswith(("head.", "head_dist."))}
    other_classes = any(
        name not in found or found[name].shape[:1] != wanted[name].shape[:1] for name in head if name.endswith("weight")
    )
    skipped = tuple(sorted(head)) if other_classes else ()
    found = {name: tensor for name, tensor in found.items() if name not in skipped}
    wanted = {name: tensor for name, tensor in wanted.items() if name not in skipped}
    if "pos_embed" in wanted and "pos_embed" in found:
        found["pos_embed"] = _resampled(found["pos_embed"], vit)
    _check_names(path, found, wanted)
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise TokenpruneError(
                f"{path}: {name} has shape {list(tensor.shape)}, the model's has {list(wanted[name].shape)}: "
                "give the recipe's model section the checkpoint's sizes"
            )
        if not tensor.isfinite().all():
            raise TokenpruneError(f"{path}: {name} holds NaN or infinite values; take another copy of the checkpoint")
    vit.load_state_dict(found, strict=False)
    return skipped


def _check_names(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for kind, names in (("lacks", wanted.keys() - found.keys()), ("has unexpected", found.keys() - wanted.keys())):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise TokenpruneError(
                f"{path}: the checkpoint {kind} {shown}: the recipe's model section describes another model"
            )


def _resampled(pos_embed: Tensor, vit: VisionTransformer) -> Tensor:
    """The position embedding for the model's grid, from one of another square grid; unchanged if it is neither."""
    prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
    if pos_embed.ndim != 3:
        return pos_embed
    count = pos_embed.shape[1] - prefix
    if count < 1 or math.isqrt(count) ** 2 != count:
        return pos_embed
    return resample_abs_pos_embed(pos_embed, new_size=list(vit.patch_embed.grid_size), num_prefix_tokens=prefix)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise TokenpruneError(f"{path}: truncated or no safetensors file: {error}; take another copy") from None


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise TokenpruneError(f"{path}: damaged: checksum of {damaged} is wrong; take another copy")
        with warnings.catch_warnings():  # of pickles, which are refused
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise TokenpruneError(
            f"{path}: not a checkpoint of tensors only; nothing in it was executed. "
            "Save the model's state_dict with safetensors, or torch.save"
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        first = str(error).strip().partition("\n")[0]
        raise TokenpruneError(f"{path}: truncated or no torch checkpoint: {first}; take another copy") from None
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise TokenpruneError(f"{path}: expected a state_dict, names and tensors, found {type(content).__name__}")
    return dict(content)
