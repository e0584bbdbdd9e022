"""Small models of every kind that SparseViT promises to run, parameters far from their initial values."""

import torch
from timm.models import VisionTransformer
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva

from tokenprune.data import Batch
from tokenprune.models import build
from tokenprune.recipe import Model

CLASSES, SIDE = 5, 16
_TIMM = {"img_size": SIDE, "patch_size": 4, "num_classes": CLASSES, "embed_dim": 16, "depth": 3, "num_heads": 2}
_RECIPES = {
    "plain": {},
    "depth 1": {"depth": 1},
    "depth 2": {"depth": 2},
    "LayerScale": {"layer_scale": 0.1},
    "QK-norm": {"qk_norm": True},
    "registers": {"registers": 3},
    "average pooling": {"class_token": False},
    "average pooling, registers": {"class_token": False, "registers": 2},
    "positional": {"attention": "positional", "registers": 2},
    "positional, average pooling": {"attention": "positional", "class_token": False, "qk_norm": True},
    "local": {"attention": "local", "kernel": 3, "registers": 1},
    "local, even, average pooling": {"attention": "local", "kernel": 2, "class_token": False, "qk_norm": True},
    "dropout, drop path": {"dropout": 0.3, "drop_path": 0.3},
}
_EVA = {"depth": 3, "embed_dim": 16, "num_heads": 2, "use_rot_pos_emb": True, "use_abs_pos_emb": False}
#: As EVA-02 and DINOv3 (codes shared by heads and blocks), ROPE ViTs (codes of each block and head), and what is left.
_ROTARY = {
    "rotary": {"qkv_fused": False, "swiglu_mlp": True, "scale_mlp": True, "init_values": 0.1, "use_abs_pos_emb": True},
    "rotary, mixed": {"attn_type": "rope", "rope_type": "mixed", "qk_norm": True, "num_reg_tokens": 2},
    "rotary, halves": {"rope_type": "dinov3", "rope_rotate_half": True, "num_reg_tokens": 3, "class_token": False},
    "rotary, shared keys": {"attn_type": "rope", "qkv_fused": False, "num_kv_heads": 1},
    "rotary, attention pooling": {"attn_type": "rope", "global_pool": "map"},
}
NAMES = (
    *_RECIPES,
    "distilled",
    "registers without position",
    "norm before blocks",
    "no bias of queries",
    "attention pooling",
    *_ROTARY,
)


def make(name: str, seed: int = 0) -> VisionTransformer:
    if name in _RECIPES:
        keys = {"depth": 3, "dim": 16, "heads": 2, "patch_size": 4} | _RECIPES[name]
        vit = build(Model(**keys), CLASSES, SIDE)
    elif name == "distilled":
        vit = VisionTransformerDistilled(**_TIMM)
    elif name == "registers without position":
        vit = VisionTransformer(**_TIMM, reg_tokens=4, no_embed_class=True)
    elif name == "norm before blocks":
        vit = VisionTransformer(**_TIMM, pre_norm=True)
    elif name == "attention pooling":
        vit = VisionTransformer(**_TIMM, global_pool="map", class_token=False)
    elif name in _ROTARY:
        pool = {"global_pool": "avg" if "class_token" in _ROTARY[name] else "token"}
        vit = Eva(**(_TIMM | _EVA | pool | _ROTARY[name]))
    else:
        vit = VisionTransformer(**_TIMM, qkv_bias=False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return vit.eval()


def batch_of(labels: torch.Tensor, **mixed: torch.Tensor) -> Batch:
    """A batch of which only labels are read."""
    return Batch(torch.zeros(len(labels), 3, 1, 1), labels, None, torch.arange(len(labels)), **mixed)


def images(count: int = 4, seed: int = 1, side: int = SIDE) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
