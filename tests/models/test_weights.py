"""Checkpoints as trainers write them: what timm's reader takes; one that cannot be used says so in one line."""

import argparse
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from model_zoo import images, make
from safetensors.torch import save_file
from timm.models import VisionTransformer, load_checkpoint
from torch import Tensor

from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.models import build, load_weights
from tokenprune.recipe import Model

SMALL = {"depth": 2, "dim": 16, "heads": 2, "patch_size": 4}


def model(seed: int) -> VisionTransformer:
    torch.manual_seed(seed)
    return make("plain", seed)


def named(seed: int, prefix: str = "") -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in model(seed).state_dict().items()}


def same(vit: torch.nn.Module, seed: int) -> bool:
    return all(torch.equal(value, named(seed)[name]) for name, value in vit.state_dict().items())


RAW, AVERAGE = 1, 2
FILES = {
    "itself": lambda: named(RAW),
    "averaged": lambda: {"epoch": 3, "state_dict": named(RAW), "state_dict_ema": named(AVERAGE)},
    "averaged, DeiT": lambda: {"model": named(RAW), "model_ema": named(AVERAGE), "optimizer": {"state": {}}},
    "no average": lambda: {"state_dict": named(RAW), "state_dict_ema": None, "args": argparse.Namespace(lr=0.1)},
    "two": lambda: {"state_dict": named(AVERAGE), "model": named(RAW)},
    "data parallel": lambda: named(RAW, "module."),
    "compiled": lambda: {"state_dict": named(RAW, "module._orig_mod.")},
}


@pytest.mark.parametrize("kind", FILES)
def test_it_takes_what_timm_takes(tmp_path: Path, kind: str) -> None:
    torch.save(FILES[kind](), tmp_path / "w.pt")
    ours, theirs = make("plain"), make("plain")
    load_weights(ours, tmp_path / "w.pt")
    load_checkpoint(theirs, str(tmp_path / "w.pt"), weights_only=True)
    assert not same(ours, 0)
    assert torch.equal(ours(images()), theirs(images()))


@pytest.mark.parametrize(
    ("content", "key", "seed", "said"),
    [
        (FILES["averaged"], None, AVERAGE, "w.pt: read state_dict_ema; not read: epoch, state_dict"),
        (FILES["averaged"], "state_dict", RAW, "w.pt: read state_dict; not read: epoch, state_dict_ema"),
        (lambda: {"model_state_dict": named(RAW), "epoch": 1}, None, RAW, "read model_state_dict; not read: epoch"),
        (lambda: {"teacher": named(RAW), "student": named(AVERAGE)}, "student", AVERAGE, "read student; not read: tea"),
        (lambda: {"state_dict": named(RAW, "model.")}, None, RAW, "read state_dict; 'model.' taken off its names"),
        (
            lambda: named(RAW, "backbone.") | {"loss.scale": torch.ones(1), "n": 3},
            None,
            RAW,
            "w.pt: read; 'backbone.' taken off its names; not read: n, loss.scale",
        ),
    ],
)  # fmt: skip
def test_what_was_read_and_what_was_not_is_said(tmp_path: Path, content, key: str | None, seed: int, said: str) -> None:
    torch.save(content(), tmp_path / "w.pt")
    vit = make("plain")
    assert said in str(load_weights(vit, tmp_path / "w.pt", key))
    assert same(vit, seed)


@pytest.mark.parametrize(
    ("content", "key", "kind", "says"),
    [
        (lambda: {"a": named(1), "b": named(2)}, None, TokenpruneError, "weights under a, b; model.checkpoint_key"),
        (lambda: {"a": named(1), "epoch": 2}, "b", UsageError, "under 'b' in .*w.pt; there are a$"),
        (lambda: named(1), "model", UsageError, "under 'model' in .*w.pt; it has cls_token, pos_embed, "),
        (lambda: {"epoch": 3, "lr": 0.1}, None, TokenpruneError, "found epoch, lr$"),
        (lambda: {"model": {"conv1.weight": torch.ones(3)}}, None, TokenpruneError, "found conv1.weight$"),
        (lambda: named(1, "a.") | named(2, "b."), None, TokenpruneError, "names begin with a., b."),
        (lambda: named(1) | {"norm.bias": torch.ones(16, dtype=torch.complex64)}, None, TokenpruneError,
         "norm.bias holds complex64, strided; weights are dense floating-point numbers"),
        (lambda: named(1) | {"norm.bias": torch.ones(16, device="meta")}, None, TokenpruneError, "holds no value"),
        (lambda: named(1) | {"norm.bias": torch.ones(16).to_sparse()}, None, TokenpruneError, "sparse_coo"),
    ],
)  # fmt: skip
def test_no_weights_that_can_be_read(tmp_path: Path, content, key: str | None, kind, says: str) -> None:
    torch.save(content(), tmp_path / "w.pt")
    vit = model(0)
    with pytest.raises(kind, match=says) as raised:
        load_weights(vit, tmp_path / "w.pt", key)
    assert "\n" not in str(raised.value)
    assert same(vit, 0)


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
    read = load_weights(other, write(source, tmp_path / f"w{suffix}"))
    assert (read.key, read.initialised, read.unread) == ("model" if suffix == ".pth" else None, (), ())
    assert torch.equal(source(images()), other(images()))


def test_a_classifier_for_other_classes_is_skipped_and_named(tmp_path: Path) -> None:
    for name, skipped in (
        ("plain", ("head.bias", "head.weight")),
        ("distilled", ("head.bias", "head.weight", "head_dist.bias", "head_dist.weight")),
    ):
        source, other = make(name, seed=0), make(name, seed=1)
        before = other.head.weight.clone()
        source.reset_classifier(9)
        assert load_weights(other, write(source, tmp_path / "w.pt")).initialised == skipped
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
        ({"blocks__9__norm1__weight": torch.ones(16)}, "has blocks.9.norm1.weight, which the model has not"),
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


@pytest.mark.parametrize("kind", ["zip.pt", "pickle.pt", "w.safetensors"])
def test_bytes_changed_anywhere_are_refused_in_a_line_or_harmless(tmp_path: Path, kind: str) -> None:
    path, state, refused = tmp_path / kind, {"state_dict": named(1), "epoch": 1}, []
    if path.suffix == ".safetensors":
        save_file(named(1), path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip.pt")
    whole, vit = path.read_bytes(), model(0)
    for position in range(0, 2000, 83):
        for changed in (bytes([whole[position] ^ 0x21]), b"", b"\xff\xff"):
            path.write_bytes(whole[:position] + changed + whole[position + 1 :])
            try:
                load_weights(vit, path)
            except TokenpruneError as error:
                refused.append(str(error))
    assert len(refused) > 40
    assert not [said for said in refused if "\n" in said]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pt")
    with pytest.raises(TokenpruneError, match="not a regular file"):
        load_weights(make("plain"), tmp_path / "w.pt")


#: As transformers 4 saves them, by kind: prefix, norms, MLP, LayerScale.
HUGGINGFACE = {
    "vit": ("vit.", ("layernorm_before", "layernorm_after"), ("intermediate.dense", "output.dense"), None),
    "deit": ("deit.", ("layernorm_before", "layernorm_after"), ("intermediate.dense", "output.dense"), None),
    "dinov2": ("dinov2.", ("norm1", "norm2"), ("mlp.fc1", "mlp.fc2"), ("layer_scale1.lambda1", "layer_scale2.lambda1")),
}


def huggingface(kind: str, vit: VisionTransformer) -> dict[str, Tensor]:
    """A model's weights under those names, written out by hand."""
    prefix, norms, mlp, scales = HUGGINGFACE[kind]
    state, found = vit.state_dict(), {}

    def put(name: str, layer: str) -> None:
        found.update({f"{name}.{part}": state[f"{layer}.{part}"] for part in ("weight", "bias")})

    found[f"{prefix}embeddings.cls_token"] = state["cls_token"]
    found[f"{prefix}embeddings.position_embeddings"] = state["pos_embed"]
    put(f"{prefix}embeddings.patch_embeddings.projection", "patch_embed.proj")
    put(f"{prefix}layernorm", "norm")
    put("cls_classifier" if kind == "deit" else "classifier", "head")
    if kind == "deit":
        found[f"{prefix}embeddings.distillation_token"] = state["dist_token"]
        put("distillation_classifier", "head_dist")
    if kind == "dinov2":
        found[f"{prefix}embeddings.mask_token"] = torch.zeros(1, 16)
        found["classifier.weight"] = torch.zeros(5, 32)  # of the class token and the mean of the patches
    for i in range(len(vit.blocks)):
        block = f"{prefix}encoder.layer.{i}"
        for part, rows in (("query", slice(0, 16)), ("key", slice(16, 32)), ("value", slice(32, 48))):
            for of in ("weight", "bias"):
                name = f"{block}.attention.attention.{part}.{of}"
                found[name] = state[f"blocks.{i}.attn.qkv.{of}"][rows]
        put(f"{block}.attention.output.dense", f"blocks.{i}.attn.proj")
        for ours, theirs in zip(("norm1", "norm2"), norms, strict=True):
            put(f"{block}.{theirs}", f"blocks.{i}.{ours}")
        for ours, theirs in zip(("mlp.fc1", "mlp.fc2"), mlp, strict=True):
            put(f"{block}.{theirs}", f"blocks.{i}.{ours}")
        for ours, theirs in zip(("ls1", "ls2"), scales or (), strict=False):
            found[f"{block}.{theirs}"] = state[f"blocks.{i}.{ours}.gamma"]
    return found


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("kind", "name"), [("vit", "plain"), ("deit", "distilled"), ("dinov2", "LayerScale")])
def test_names_of_huggingface_are_timms(tmp_path: Path, kind: str, name: str, nested: bool) -> None:
    theirs, ours = make(name, 1), make(name, 2)
    state = huggingface(kind, theirs)
    torch.save({"state_dict": state} if nested else state, tmp_path / "w.pt")
    read = load_weights(ours, tmp_path / "w.pt")
    assert torch.equal(ours.forward_features(images()), theirs.forward_features(images()))
    assert read.converted
    assert "names of HuggingFace's transformers taken for timm's" in str(read)
    assert read.initialised == (("head.bias", "head.weight") if kind == "dinov2" else ())
    if kind != "dinov2":
        assert torch.equal(ours(images()), theirs(images()))
    lost = next(key for key in state if key.endswith("layer.1.attention.output.dense.weight"))
    del state[lost]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(TokenpruneError, match=r"lacks blocks\.1\.attn\.proj\.weight"):
        load_weights(ours, tmp_path / "w.pt")


def test_transformers_own_models_answer_alike(tmp_path: Path) -> None:
    """The same pictures through transformers' modules and, from their saved weights, through timm's."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}
    config = transformers.ViTConfig(**sizes, intermediate_size=64, num_labels=5, layer_norm_eps=1e-6)
    theirs, ours = transformers.ViTForImageClassification(config).eval(), make("plain")
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    load_weights(ours, tmp_path / "w.pt")
    torch.testing.assert_close(ours(images()), theirs(images()).logits)


def test_names_of_dinov2_as_it_was_published(tmp_path: Path) -> None:
    """Registers have no position; timm keeps the class token's with the token (its own converter)."""
    torch.manual_seed(0)
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0}
    plain = VisionTransformer(**sizes, init_values=1.0)
    torch.save({**plain.state_dict(), "mask_token": torch.zeros(1, 16)}, tmp_path / "w.pt")
    ours = VisionTransformer(**sizes, init_values=1.0)
    read = load_weights(ours, tmp_path / "w.pt")
    assert torch.equal(ours(images()), plain(images()))
    assert read.unread == ("mask_token",)

    theirs = VisionTransformer(**sizes, init_values=1.0, reg_tokens=4, no_embed_class=True)
    theirs.cls_token.data.normal_()  # beside which rounding is small
    state = theirs.state_dict()
    position = torch.randn(1, 1, 16)
    state |= {
        "register_tokens": state.pop("reg_token"),
        "mask_token": torch.zeros(1, 16),
        "cls_token": state["cls_token"] - position,
        "pos_embed": torch.cat([position, state["pos_embed"]], dim=1),
    }
    torch.save(state, tmp_path / "w.pt")
    ours = VisionTransformer(**sizes, init_values=1.0, reg_tokens=4, no_embed_class=True)
    load_weights(ours, tmp_path / "w.pt")
    torch.testing.assert_close(ours(images()), theirs(images()))


def test_what_belongs_to_no_vision_transformer_is_said_and_not_read(tmp_path: Path) -> None:
    save_file(named(1) | {"aux_head.weight": torch.ones(3), "dist_loss.w": torch.ones(2)}, tmp_path / "w.safetensors")
    vit = make("plain")
    read = load_weights(vit, tmp_path / "w.safetensors")
    assert same(vit, 1)
    assert sorted(read.unread) == ["aux_head.weight", "dist_loss.w"]
    assert "not read: " in str(read)
    save_file(named(1) | {"head_dist.weight": torch.ones(5, 16)}, tmp_path / "w.safetensors")
    with pytest.raises(TokenpruneError, match=r"has head_dist\.weight, which the model has not"):
        load_weights(make("plain"), tmp_path / "w.safetensors")
