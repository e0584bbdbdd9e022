"""A model that was trained elsewhere has its own accuracy here where images are normalised as it knows them."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import VisionTransformer

from tokenprune import pipeline, training
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.recipe import Evaluate, Loaded, RecipeError, parse_recipe
from tokenprune.runs import RunFolder

HALF = ([0.5] * 3, [0.5] * 3)
TEXT = """
data: {source: SOURCE, normalise: [0.5, .5]}
model: {depth: 2, dim: 12, heads: 2, patch_size: 8, checkpoint: WEIGHTS}
train: {epochs: 1, batch_size: 20, precision: fp32, learning_rate: 1e-12, final_learning_rate: 0}
run: {device: cpu, threads: 1}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, Path]:
    """Weights of another trainer, whose mean and sd were .5, and dark images that it all recognises."""
    folder = tmp_path_factory.mktemp("elsewhere")
    torch.manual_seed(0)
    vit = VisionTransformer(img_size=16, patch_size=8, num_classes=3, embed_dim=12, depth=2, num_heads=2).eval()
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    images = np.random.default_rng(0).integers(0, 90, (400, 16, 16, 3), dtype=np.uint8)
    with torch.no_grad():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        pixels = (pixels - 0.5) / 0.5
        vit.head.bias.sub_(vit(pixels).mean(dim=0))  # so that no class is all of them
        labels = vit(pixels).argmax(dim=1).numpy()
    arrays = {
        f"{part}_{what}": each for part in ("train", "test") for what, each in (("images", images), ("labels", labels))
    }
    np.savez(folder / "dark.npz", **arrays)
    save_file(vit.state_dict(), folder / "w.safetensors")
    return {"SOURCE": folder / "dark.npz", "WEIGHTS": folder / "w.safetensors"}


class Heard(training.Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def train(trained: dict[str, Path], runs_dir: Path, *overrides: str) -> tuple[RunFolder, list[str]]:
    text, heard = TEXT, Heard()
    for word, path in trained.items():
        text = text.replace(word, str(path))
    loaded = Loaded(parse_recipe(text, "mine", overrides), "mine", text, overrides)
    run = pipeline.train_run(loaded, runs_dir=runs_dir, reporter=heard)
    return run, [line for line in heard.lines if line.startswith("warning: ")]


WHOLE = Evaluate(methods=("magnitude",), keep=(1.0,))


def said(run: RunFolder) -> dict:
    return json.loads(run.environment.read_text())["data"]["normalise"]


def test_its_own_accuracy(trained, tmp_path):
    run, warnings = train(trained, tmp_path)
    assert [epoch.test_accuracy for epoch in run.epochs()] == [1.0, 1.0]
    assert (said(run), warnings) == ({"by": "recipe", "mean": HALF[0], "std": HALF[1]}, [])
    ((_, curve),) = pipeline.prune_run(run, WHOLE)
    assert curve.baseline_accuracy == 1.0

    by_dataset, _ = train(trained, tmp_path, "data.normalise=dataset")
    assert by_dataset.epochs()[0].test_accuracy < 0.9
    assert said(by_dataset)["mean"] == pytest.approx([44.5 / 255] * 3, abs=1e-3)


def test_weights_that_say_what_they_were_trained_with(trained, tmp_path):
    """timm's folders say it in config.json, its trainer in the file, a run of ours in its environment."""
    here = tmp_path / "hub" / "model.safetensors"
    here.parent.mkdir()
    state = load_file(trained["WEIGHTS"])
    save_file(state, here)
    (here.parent / "config.json").write_text(
        json.dumps({"pretrained_cfg": dict(zip(("mean", "std"), HALF, strict=True))})
    )
    args = argparse.Namespace(mean=HALF[0], std=HALF[1])
    torch.save({"state_dict": state, "args": args}, tmp_path / "w.pth.tar")
    run, _ = train(trained, tmp_path / "a")
    for weights in (here, tmp_path / "w.pth.tar", run.weights):
        there = trained | {"WEIGHTS": weights}
        runs_dir = tmp_path / f"from {weights.name}"
        assert train(there, runs_dir)[1] == []
        _, (warning,) = train(there, runs_dir, "data.normalise=dataset")
        assert warning.startswith(
            f"warning: {weights}: trained on images normalised with mean 0.5, 0.5, 0.5 and sd 0.5"
        )
        assert "here with mean 0.17" in warning
        assert "\n" not in warning
    assert train(trained, tmp_path / "b", "data.normalise=dataset")[1] == []  # bare weights say nothing


def test_runs_each_by_its_own_images_are_alike_and_older_runs_were_so(trained, tmp_path):
    run, _ = train(trained, tmp_path, "data.normalise=dataset")
    there = trained | {"WEIGHTS": run.weights}
    assert train(there, tmp_path, "data.normalise=dataset", "data.train_size=40")[1] == []
    record = json.loads(run.environment.read_text())
    del record["data"]["normalise"]
    run.environment.write_text(json.dumps(record))
    assert train(there, tmp_path, "data.normalise=dataset", "data.train_size=60")[1] == []
    assert "the statistics of its own images" in train(there, tmp_path)[1][0]


def test_a_timm_model_is_normalised_as_timm_says(trained, tmp_path, monkeypatch):
    name = ["model.name=deit_tiny_patch16_224", "model.checkpoint=null", "data.train_size=20", "data.test_size=8"]
    run, _ = train(trained, tmp_path, *name, "data.normalise=model")
    assert said(run) == {"by": "model", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    table = timm.get_pretrained_cfg("deit_tiny_patch16_224")
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda *_, **__: replace(table, mean=(0.5,) * 3))
    with pytest.raises(TokenpruneError, match=r"normalised with mean 0\.485, .* the installed timm has other"):
        pipeline.prune_run(run, WHOLE)
    with pytest.raises(RecipeError, match=r"data\.normalise=model: model is for a timm model by name"):
        parse_recipe("{}", "r.yaml", ["data.normalise=model"])


def test_the_environment_says_what_was_read_of_a_checkpoint(trained, tmp_path):
    state = load_file(trained["WEIGHTS"])
    head = {name: state.pop(name) for name in ("head.weight", "head.bias")}
    torch.save({"state_dict": head, "average": state, "epoch": 1}, tmp_path / "w.pt")
    run, _ = train(trained | {"WEIGHTS": tmp_path / "w.pt"}, tmp_path / "runs", "model.checkpoint_key=average")
    found = json.loads(run.environment.read_text())["weights"]
    assert (found["file"], found["key"], found["unread"]) == ("w.pt", "average", ["state_dict", "epoch"])
    assert found["initialised"] == ["head.bias", "head.weight"]
    with pytest.raises(UsageError, match="no weights of a Vision Transformer under 'ema'"):
        train(trained | {"WEIGHTS": tmp_path / "w.pt"}, tmp_path / "runs", "model.checkpoint_key=ema")


@pytest.mark.parametrize(
    "value",
    ["timm", "0.5", "[0.5]", "[0.5, 0]", "[127.5, 127.5]", "[[0.5, 0.5], 0.5]", "[true, 1]", "{mean: 1}", "null", "[]"],
)
def test_what_is_no_normalisation_is_one_line(value):
    with pytest.raises(RecipeError) as refused:
        parse_recipe("{}", "r.yaml", [f"data.normalise={value}"])
    assert str(refused.value).startswith(f"--set data.normalise={value}: found ")
    assert "must be dataset, model, or [mean, sd] of pixels in [0, 1], such as [0.5, 0.5]" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_it_is_part_of_what_a_run_is_and_runs_without_it_stay_what_they_were():
    def setting(*overrides: str) -> str:
        return parse_recipe("{}", "r.yaml", overrides).setting()

    assert setting() == setting("data.normalise=dataset")
    assert "normalise" not in parse_recipe("{}", "r.yaml").science()["data"]
    assert setting("data.normalise=[0.5, 0.5]") == setting("data.normalise=[[0.5,0.5,0.5], 0.5]") != setting()
    start = parse_recipe("{}", "r.yaml", ["start.source=patterns", "data.normalise=[0.5, 0.5]"]).pretraining()
    assert start is not None
    assert start.data.normalise == ((0.5,) * 3, (0.5,) * 3)
