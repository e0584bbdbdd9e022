"""Building from a recipe equals timm's own constructor."""

import pytest
import timm
import torch
from model_zoo import images, make
from pydantic import ValidationError
from timm.models import VisionTransformer

from tokenprune.errors import UsageError
from tokenprune.models import build
from tokenprune.recipe import Model

SMALL = {"depth": 2, "dim": 16, "heads": 2, "patch_size": 4}


def test_a_recipe_builds_what_timm_builds() -> None:
    torch.manual_seed(3)
    ours = build(Model(**SMALL, registers=1, layer_scale=1e-4, qk_norm=True, mlp_ratio=2.0), 7, 16).eval()
    torch.manual_seed(3)
    sizes = {"img_size": 16, "patch_size": 4, "num_classes": 7, "embed_dim": 16, "depth": 2, "num_heads": 2}
    theirs = VisionTransformer(**sizes, mlp_ratio=2.0, reg_tokens=1, init_values=1e-4, qk_norm=True).eval()
    assert torch.equal(ours(images()), theirs(images()))


def test_average_pooling_drop_path_and_dropout() -> None:
    vit = build(Model(**SMALL, class_token=False, drop_path=0.2, dropout=0.1), 7, 16)
    assert (vit.cls_token, vit.global_pool, vit.num_prefix_tokens) == (None, "avg", 0)
    assert vit.blocks[1].drop_path1.drop_prob == pytest.approx(0.2)
    assert (vit.pos_drop.p, vit.blocks[0].mlp.drop2.p) == (0.1, 0.1)


def test_a_timm_model_by_name_takes_the_image_size() -> None:
    with torch.device("meta"):
        vit = build(Model(name="deit_tiny_distilled_patch16_224"), 10, 64)
    assert (vit.patch_embed.num_patches, vit.num_classes, vit.num_prefix_tokens) == (16, 10, 2)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "vit_small_patch16_18x2_224",
            r"^model.name: .*ParallelThingsBlock .*; vit_tiny_patch16_224 is one that works$",
        ),
        ("vit_base_patch16_xp_224", "cannot prune a model with ParallelScalingBlock"),
        ("vit_dpwee_patch16_reg1_gap_256", "cannot prune a model with DiffParallelScalingBlock"),
        ("vit_tiny_patch16_224.nonsense", "nonsense"),
        ("vit_small_patch14_dinov2", "patches of 14 pixels do not tile images of 32 x 32"),
    ],
)
def test_a_name_that_cannot_be_built_is_a_usage_error(name: str, says: str) -> None:
    with torch.device("meta"), pytest.raises(UsageError, match=says):
        build(Model(name=name), 10, 32)


def test_timm_is_never_asked_to_download(monkeypatch) -> None:
    asked = {}
    monkeypatch.setattr(timm, "create_model", lambda name, **keys: asked.update(keys) or make("plain"))
    build(Model(name="vit_tiny_patch16_224.augreg_in21k"), 10, 32)
    assert asked["pretrained"] is False


@torch.no_grad()
def test_mimetic_attention_is_near_the_identity() -> None:
    """Per head queries and keys, over heads values and projection: the closest factors of their rank (Eckart-Young)."""
    torch.manual_seed(0)
    vit = build(Model(depth=2, dim=64, heads=4, init="mimetic"), 10, 32)
    attention = vit.blocks[1].attn
    query, key, value = attention.qkv.weight.view(3, 4, 16, 64)
    for head in range(4):
        product = query[head].T @ key[head]
        assert torch.linalg.matrix_rank(product) == 16
        assert product.trace() / 64 > 0.25  # .7 on the diagonal, of which rank 16 of 64 keeps a part
    whole = attention.proj.weight @ value.reshape(64, 64)
    assert whole.trace() / 64 == pytest.approx(-0.4, abs=0.05)
    off = whole[~torch.eye(64, dtype=torch.bool)]
    assert off.std() == pytest.approx(0.4 / 8, rel=0.1)
    positions = vit.pos_embed[0, 1:]
    assert positions.norm(dim=1).std() < 1e-5  # sines and cosines of one angle have the length of one
    assert not vit.pos_embed[0, 0].any()
    near, far = positions[0] @ positions[1], positions[0] @ positions[63]
    assert near > far


def test_mimetic_is_for_models_of_the_recipes_own() -> None:
    with pytest.raises(ValidationError, match="from scratch"):
        Model(init="mimetic", name="vit_tiny_patch16_224")
    with pytest.raises(ValidationError, match="4 divides"):
        Model(init="mimetic", dim=66, heads=3)
