"""Building from a recipe equals timm's own constructor."""

import pytest
import timm
import torch
from model_zoo import images, make
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
