"""Build timm Vision Transformers from a recipe. Nothing is ever downloaded."""

import copy
from functools import partial
from typing import Any, cast

import timm
import torch
from timm.layers import Format
from timm.models import VisionTransformer
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tokenprune.cost import Architecture
from tokenprune.errors import UsageError
from tokenprune.models.alternet import AlterNet
from tokenprune.models.attention import attention_of, blocks_of, folds, has_codes
from tokenprune.models.local import LocalTransformer
from tokenprune.models.mimetic import mimetic
from tokenprune.models.neighbours import Neighbours
from tokenprune.models.positional import PositionalTransformer
from tokenprune.models.sparse import patch_size_of, pools_prefix, refuse_unsupported
from tokenprune.recipe import Model


def build(spec: Model, classes: int, image_size: int) -> VisionTransformer:
    """A freshly initialised model for square images, drawn from torch's global generator.

    A convolutional network (`spec.stages`) is an `AlterNet`, which has the names of a Vision Transformer.

    Raises UsageError for a timm model that cannot be pruned, for an unknown tag after its dot, and for patches,
    windows or stages that do not tile.
    """
    if spec.name is not None:
        vit = _named(spec.name, classes, image_size)
    elif spec.stages is not None:
        vit = cast(VisionTransformer, _convolutional(spec, classes, image_size))
    else:
        kinds: dict[str, Any] = {
            "content": VisionTransformer,
            "positional": PositionalTransformer,
            "local": partial(LocalTransformer, cast(int, spec.kernel)),
        }
        vit = kinds[spec.attention](
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
        if spec.init == "mimetic":
            mimetic(vit)
    patch_size = patch_size_of(vit)
    if image_size % patch_size:
        raise UsageError(
            f"model: patches of {patch_size} pixels do not tile images of {image_size} x {image_size} pixels; "
            f"data.image_size (--image-size) brings them to another size, a multiple of {patch_size}"
        )
    return vit


def take_smaller_images(vit: VisionTransformer) -> None:
    """Let the model take smaller images too, position embeddings resampled, as if built with `dynamic_img_size`."""
    vit.dynamic_img_size = True  # type: ignore[misc]  # final for TorchScript alone
    vit.patch_embed.strict_img_size = False
    vit.patch_embed.flatten = False
    vit.patch_embed.output_fmt = Format.NHWC


def architecture_of(vit: VisionTransformer) -> Architecture:
    """The sizes that decide the model's FLOPs; of a convolutional network its FLOPs, as torch counts them."""
    if isinstance(vit, AlterNet):
        return Architecture(
            depth=len(vit.blocks),
            dim=vit.embed_dim,
            heads=vit.heads,
            mlp_hidden=0,
            patches=vit.patch_embed.num_patches,
            prefix=0,
            patch_size=vit.patch_embed.patch_size[0],
            classes=vit.num_classes,
            class_token=False,
            counted=_counted(vit, vit.patch_embed.img_size),
        )
    block, pool = blocks_of(vit)[0], getattr(vit, "attn_pool", None)
    hidden = cast(nn.Linear, block.mlp.fc2).in_features
    first = sum(layer.out_features for layer in block.mlp.modules() if isinstance(layer, nn.Linear)) - vit.embed_dim
    return Architecture(
        depth=len(vit.blocks),
        dim=vit.embed_dim,
        heads=attention_of(block).num_heads,
        mlp_hidden=hidden,
        patches=vit.patch_embed.num_patches,
        prefix=vit.num_prefix_tokens,
        patch_size=patch_size_of(vit),
        classes=len(vit.head.labels) if isinstance(vit.head, Neighbours) else vit.num_classes,
        channels=vit.in_chans,
        class_token=vit.cls_token is not None,
        qk_norm=not folds(attention_of(block)) or has_codes(vit),
        mlp_gated=first == 2 * hidden,
        classifiers=2 if isinstance(vit, VisionTransformerDistilled) else 1,
        stem=_counted(vit.patch_embed, vit.patch_embed.img_size) if isinstance(vit.patch_embed, HybridEmbed) else 0,
        pool_hidden=0 if pool is None else cast(nn.Linear, pool.mlp.fc2).in_features,
        pool_prefix=vit.num_prefix_tokens if pool is not None and pools_prefix(vit) else 0,
    )


def _counted(module: nn.Module, size: tuple[int, int]) -> int:
    """FLOPs of a module for one image, as torch counts them."""
    module = copy.deepcopy(module).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, 3, *size, device="meta"))
    return int(counter.get_total_flops())


def _convolutional(spec: Model, classes: int, image_size: int) -> AlterNet:
    assert spec.stages is not None
    return AlterNet(
        spec.stages,
        spec.dim,
        spec.heads,
        spec.attentions,
        spec.kernel or 4,
        spec.patch_size,
        image_size,
        classes,
        spec.drop_path,
    )


def _named(name: str, classes: int, image_size: int) -> VisionTransformer:
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # a tag after the dot that timm does not know
        raise UsageError(f"model.name: {error}") from None
    vit = timm.create_model(name, pretrained=False, num_classes=classes, img_size=image_size)
    try:
        refuse_unsupported(vit)
    except UsageError as error:
        raise UsageError(f"model.name: timm's {name!r}: {error}; vit_tiny_patch16_224 is one that works") from None
    return cast(VisionTransformer, vit)
