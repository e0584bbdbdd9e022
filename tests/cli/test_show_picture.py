"""`tokenprune show`: one picture against the model's own forward pass, and what is drawn of it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from run_command import run
from safetensors.torch import load_file, save_file

from tokenprune.drawing.picture import borders, grouped
from tokenprune.models import build
from tokenprune.pruners.registry import untrained_pruners
from tokenprune.recipe import Model
from tokenprune.runs import all_runs

TRAIN = "train --recipe quickstart --quiet --set data.patterns.image_size=16 --set data.patterns.train_size=64"
SMALL = (
    "--set data.patterns.test_size=40 --set model.dim=16 --set model.heads=2 --set model.depth=2 --set train.epochs=1"
)


@pytest.fixture(autouse=True)
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> np.ndarray:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save("cat.png")
    assert run(capsys, *TRAIN.split(), *SMALL.split()).status == 0
    return pixels


def test_at_keep_1_it_says_what_the_model_says(capsys, picture) -> None:
    ended = run(
        capsys, "show", "--image", "cat.png", "--method", "random", "--method", "tome", "--keep", "1,0.5", "--json"
    )
    assert ended.status == 0
    found = json.loads(ended.out)
    assert [(each["method"], each["keep"], each["tokens"]) for each in found] == [
        ("random", 1.0, 16),
        ("random", 0.5, 8),
        ("tome", 1.0, 16),
        ("tome", 0.5, 8),
    ]
    (folder,) = all_runs(Path("runs"))
    vit = build(Model(depth=2, dim=16, heads=2, patch_size=4, mlp_ratio=2), 10, 16).eval()
    vit.load_state_dict(load_file(folder.weights))
    normalise = json.loads(folder.environment.read_text())["data"]["normalise"]
    mean, std = (torch.tensor(normalise[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        shares = vit(((torch.from_numpy(picture).permute(2, 0, 1) / 255 - mean) / std)[None].float()).softmax(1)[0]
    classes = folder.result().data.classes
    assert dict(found[0]["probability"]) == pytest.approx(dict(zip(classes, shares.tolist(), strict=True)), abs=1e-5)
    removed, merged = found[1]["owner"], found[3]["owner"]
    assert (removed.count(-1), set(removed)) == (8, {-1, *range(8)})
    assert set(merged) == set(range(8))
    assert Path("cat-tokens.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_and_a_drawing_of_the_wanted_kind(capsys) -> None:
    ended = run(capsys, "show", "--image", "cat.png", "--out", "cat.svg", "--keep", "1,0.5")
    assert ended.status == 0
    assert len(ended.out.splitlines()) == 2 + 4 + 1
    assert "<svg" in Path("cat.svg").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--image", "dog.png"], "dog.png: no such file"),
        (["--image", "runs"], "runs: a folder, not a picture"),
        (["--image", "broken.png"], "broken.png: no image that can be read"),
        (["--image", "cat.png", "--out", "cat.gif"], "--out cat.gif: one of .html, .png, .svg is drawn"),
        (["--image", "cat.png", "--method", "oracle"], "pruner 'oracle' cannot choose in a picture without a label"),
        (["--image", "cat.png", "--method", "cropr"], "pruner 'cropr' has parameters to learn"),
        (["--image", "cat.png", "--site", "before:7"], "beyond the model's depth 2"),
        (["--image", "cat.png", "--keep", "2"], "--keep"),
        (["--image", "cat.png", "--model", "vit_tiny_patch16_224"], "--model, --checkpoint: give both"),
        (["--image", "cat.png", "--checkpoint", "w.pt"], "--model, --checkpoint: give both"),
        (["--image", "cat.png", "--image-size", "32"], "--model, --checkpoint: give both"),
        (["--image", "cat.png", "--model", "vit_tiny_patch16_224", "--checkpoint", "w.pt"], "w.pt: cannot read"),
        (["--image", "cat.png", "--model", "vit_nano", "--checkpoint", "bare.safetensors"], "vit_nano"),
        (["--image", "cat.png", "--model", "resnet50", "--checkpoint", "bare.safetensors"], "not a plain Vision Tr"),
        (
            ["--image", "cat.png", "--model", "test_vit.nope", "--checkpoint", "bare.safetensors"],
            "--model: Invalid pre",
        ),
        (
            ["--image", "cat.png", "--model", "vit_tiny_patch16_224", "--checkpoint", "bare.safetensors"],
            "lacks blocks.0",
        ),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(capsys, words, says) -> None:
    Path("broken.png").write_bytes(b"no image")
    save_file({"patch_embed.proj.weight": torch.zeros(2, 3, 4, 4)}, "bare.safetensors")
    ended = run(capsys, "show", "--quiet", *words)
    assert ended.status in (1, 2)
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error:")]
    assert says in line


def test_a_timm_model_with_weights_of_ones_own_and_no_run(capsys, picture) -> None:
    """A checkpoint of 7 classes, and one without a classifier."""
    name = "test_vit"  # timm's smallest
    vit = timm.create_model(name, num_classes=7).eval()
    save_file(vit.state_dict(), "w.safetensors")
    words = ["show", "--image", "cat.png", "--model", name, "--checkpoint", "w.safetensors", "--keep", "1", "--json"]
    ended = run(capsys, *words, "--method", "l2")
    assert ended.status == 0
    (found,) = json.loads(ended.out)
    wanted = timm.data.create_transform(**timm.data.resolve_model_data_config(vit))(Image.open("cat.png"))
    with torch.no_grad():
        shares = vit(wanted[None]).softmax(1)[0].tolist()
    assert dict(found["probability"]) == pytest.approx(
        {f"class {i}": share for i, share in enumerate(shares)}, abs=1e-3
    )
    Path("names.txt").write_text("\n".join("abcdefg"))
    ended = run(capsys, *words, "--method", "l2", "--classes", "names.txt")
    assert {pair[0] for pair in json.loads(ended.out)[0]["probability"]} == set("abcdefg")
    Path("names.txt").write_text("a\nb")
    ended = run(capsys, *words, "--method", "l2", "--classes", "names.txt")
    assert "--classes: names.txt names 2 outputs, w.safetensors has 7" in ended.err
    save_file({key: value for key, value in vit.state_dict().items() if "head" not in key}, "w.safetensors")
    ended = run(capsys, *words[:-1])
    assert ended.status == 0
    assert "–" in ended.out


def test_all_methods_but_the_oracle_which_needs_a_label(capsys) -> None:
    ended = run(capsys, "show", "--image", "cat.png", "--method", "all", "--keep", "0.5", "--json", "--quiet")
    assert ended.status == 0
    methods = {each["method"] for each in json.loads(ended.out)}
    assert methods == {name for name in untrained_pruners() if name != "oracle"}


def test_a_page_of_a_picture_whose_name_is_not_utf8(capsys, picture) -> None:
    name = os.fsdecode(b"a\xff<b>.png")
    Image.fromarray(picture).save(name)
    ended = run(capsys, "show", "--image", name, "--out", "x.html", "--keep", "1,0.5")
    assert ended.status == 0
    assert "a?&lt;b&gt;.png" in Path("x.html").read_text(encoding="utf-8")


def test_borders_part_patches_of_different_tokens_and_groups_have_their_mean_colour() -> None:
    """Of a 2 x 2 grid the left column is one token, and the lower right patch is gone."""
    owner = np.array([0, 1, 0, -1])
    assert sorted(borders(owner)) == [((1, 0), (1, 1)), ((1, 1), (1, 2)), ((1, 1), (2, 1))]
    assert borders(np.array([0, 1, -1, 2])) == []
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:2, :2] = 100
    drawn = grouped(picture, owner)
    assert (drawn[:, :2] == 50).all()
    assert (drawn[:, 2:] == picture[:, 2:]).all()
