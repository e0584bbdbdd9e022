"""Building from a recipe equals timm's own constructor; a checkpoint that cannot be used says so in one line."""

import os
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import timm
import torch
from model_zoo import images, make
from safetensors.torch import save_file
from timm.models import VisionTransformer

from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.models import build, load_weights
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
        ("vit_tiny_patch16_225", "did you mean 'vit_tiny_patch16_224'"),
        ("resnet18", "not a plain Vision Transformer"),
        ("eva02_tiny_patch14_224", "not a plain Vision Transformer"),
        ("hf-hub:timm/vit_tiny_patch16_224", "no model"),  # would be downloaded
        ("vit_tiny_patch16_224.nonsense", "nonsense"),
        ("vit_small_patch14_dinov2", "patches of 14 pixels do not tile images of 32 x 32"),
    ],
)
def test_a_name_that_cannot_be_built_is_a_usage_error(name: str, says: str) -> None:
    with torch.device("meta"), pytest.raises(UsageError, match=says):
        build(Model(name=name), 10, 32)


def write(vit: torch.nn.Module, path: Path, **changes: torch.Tensor | None) -> Path:
    tensors = {key: value.clone() for key, value in vit.state_dict().items()}
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"model": tensors} if path.suffix == ".pth" else tensors, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_come_back(tmp_path: Path, suffix: str) -> None:
    source, other = make("registers", seed=0), make("registers", seed=1)
    assert load_weights(other, write(source, tmp_path / f"w{suffix}")) == ()
    assert torch.equal(source(images()), other(images()))


def test_a_classifier_for_other_classes_is_skipped_and_named(tmp_path: Path) -> None:
    for name, skipped in (
        ("plain", ("head.bias", "head.weight")),
        ("distilled", ("head.bias", "head.weight", "head_dist.bias", "head_dist.weight")),
    ):
        source, other = make(name, seed=0), make(name, seed=1)
        before = other.head.weight.clone()
        source.reset_classifier(9)
        assert load_weights(other, write(source, tmp_path / "w.pt")) == skipped
        assert torch.equal(other.head.weight, before)
        assert torch.equal(other.blocks[0].mlp.fc1.weight, source.blocks[0].mlp.fc1.weight)


@pytest.mark.parametrize("registers", [0, 2])
def test_position_embeddings_of_another_grid_are_resampled_as_timm_does(tmp_path: Path, registers: int) -> None:
    source, other = (build(Model(**SMALL, registers=registers), 5, side).eval() for side in (16, 32))
    path = write(source, tmp_path / "w.safetensors")
    load_weights(other, path)
    source.set_input_size((32, 32))
    assert torch.equal(source(images(side=32)), other(images(side=32)))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    """In the middle of the largest tensor of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda item: item.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + 200 + largest.file_size // 2] ^= 4
    path.write_bytes(content)


class Code:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("file", "spoil", "says"),
    [
        ("w.safetensors", truncate, "truncated or no safetensors"),
        ("w.pt", truncate, "truncated or no torch checkpoint"),
        ("w.pt", flip_a_bit, "checksum of .* is wrong"),
        ("w.safetensors", lambda path: path.write_bytes(b""), "truncated or no safetensors"),
        ("w.pt", lambda path: path.write_bytes(b""), "truncated or no torch checkpoint"),
        ("w.pt", lambda path: path.write_text("hello"), "w.pt: "),
        ("w.pt", lambda path: torch.save(Code(), path), "nothing in it was executed"),
        ("w.pt", lambda path: path.write_bytes(pickle.dumps(Code(), protocol=2)), "nothing in it was executed"),
        ("w.pt", lambda path: path.write_bytes(pickle.dumps(Code())), "nothing in it was executed"),
        ("w.pt", lambda path: torch.save([1, 2], path), "expected a state_dict"),
        ("w.pt", lambda path: path.unlink(), "No such file"),
        ("w.safetensors", lambda path: path.unlink(), "No such file"),
    ],
)  # fmt: skip
def test_a_spoiled_checkpoint_is_one_clear_error(tmp_path: Path, monkeypatch, file: str, spoil, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    vit = make("plain")
    before = {key: value.clone() for key, value in vit.state_dict().items()}
    path = write(make("plain", seed=1), tmp_path / file)
    spoil(path)
    with warnings.catch_warnings(record=True) as warned, pytest.raises(TokenpruneError, match=says) as raised:
        load_weights(vit, path)
    assert not warned  # one line is said, the error
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "executed").exists()
    assert all(torch.equal(value, before[key]) for key, value in vit.state_dict().items())


@pytest.mark.parametrize("file", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"norm__weight": None}, "lacks norm.weight"),
        ({"blocks__9__norm1__weight": torch.ones(16)}, "has unexpected blocks.9.norm1.weight"),
        ({"norm__weight": torch.ones(17)}, r"norm.weight has shape \[17\], the model's has \[16\]"),
        ({"pos_embed": torch.ones(1, 8, 16)}, r"pos_embed has shape \[1, 8, 16\]"),
        ({"head__weight": torch.ones(5, 3)}, r"head.weight has shape \[5, 3\]"),
        ({"norm__bias": torch.full((16,), torch.nan)}, "norm.bias holds NaN"),
    ],
)
def test_another_models_checkpoint_is_one_clear_error(tmp_path: Path, file: str, changes: dict, says: str) -> None:
    path = write(make("plain"), tmp_path / file, **changes)
    with pytest.raises(TokenpruneError, match=says) as raised:
        load_weights(make("plain"), path)
    assert str(path) in str(raised.value)


def test_timm_is_never_asked_to_download(monkeypatch) -> None:
    asked = {}
    monkeypatch.setattr(timm, "create_model", lambda name, **keys: asked.update(keys) or make("plain"))
    build(Model(name="vit_tiny_patch16_224.augreg_in21k"), 10, 32)
    assert asked["pretrained"] is False
