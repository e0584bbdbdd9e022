"""A model trained elsewhere as a run: scored as torch scores it, given a classifier, pruned; what cannot be adopted."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from run_command import run

from tokenprune import data
from tokenprune.pipeline.head import logistic
from tokenprune.recipe import Data
from tokenprune.runs import RunFolder, all_runs

NAME, MEAN, STD = "vit_tiny_patch16_224", 0.5, 0.5  # as timm's table says for this model
MODEL = ["--model", NAME]


@pytest.fixture(autouse=True)
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Four tokens an image; the class is its colour."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 90), ("test", 24)):
        labels = np.arange(count) % 3
        pixels = rng.integers(0, 120, (count, 32, 32, 3))
        pixels[np.arange(count), :, :, labels] += 100
        arrays |= {f"{part}_images": pixels.astype(np.uint8), f"{part}_labels": labels}
    np.savez("mine.npz", classes=np.array(["red", "green", "blue"]), **arrays)
    return arrays


def checkpoint(classes: int) -> torch.nn.Module:
    torch.manual_seed(classes)
    vit = timm.create_model(NAME, img_size=32, num_classes=classes)
    torch.save({"state_dict": {f"module.{name}": value for name, value in vit.state_dict().items()}}, "model.pt")
    return vit.eval()


def only_run() -> RunFolder:
    (found,) = all_runs(Path("runs"))
    return found


def adopt(capsys, *more: str):
    return run(capsys, "adopt", *MODEL, "--checkpoint", "model.pt", "--images", "mine.npz", *more)


def test_a_checkpoint_is_a_run_that_prune_and_report_take(capsys, images) -> None:
    vit = checkpoint(3)
    ended = adopt(capsys, "--set", "train.precision=fp32", "--json")
    assert ended.status == 0
    result = only_run().result()
    pixels = (torch.from_numpy(images["test_images"]).permute(0, 3, 1, 2) / 255 - MEAN) / STD
    labels = torch.from_numpy(images["test_labels"])
    with torch.no_grad():
        logits = vit(pixels)
    assert result.test_correct == (logits.argmax(1) == labels).sum()
    assert result.test_loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert (result.epochs, result.model.name, json.loads(ended.out)["run"]) == (0, NAME, only_run().name)
    assert only_run().name.startswith(f"{NAME}-")

    assert run(capsys, "prune", "--method", "tome", "--keep", "1,0.5", "--site", "before:4", "--quiet").status == 0
    ((_, curve),) = only_run().prunes()
    assert curve.points[0].accuracy == result.test_accuracy
    assert run(capsys, "report").status == 0

    again = adopt(capsys, "--set", "train.precision=fp32")
    assert (again.status, "is finished" in again.err) == (0, True)


def test_a_backbone_gets_a_linear_classifier(capsys, images) -> None:
    checkpoint(0)
    refused = adopt(capsys)
    assert refused.status == 2
    assert refused.err.splitlines()[-1].startswith("error: model.pt: its classifier is not one of the 3 classes")
    ended = adopt(capsys, "--head", "linear")
    assert ended.status == 0
    assert "linear classifier on the features of 90 training images, penalty " in ended.err
    assert only_run().result().test_accuracy > 0.9
    frozen = dict(timm.create_model(NAME, img_size=32, num_classes=0).named_parameters())
    assert frozen  # all but the classifier is the checkpoint's
    saved = torch.load("model.pt", weights_only=True)["state_dict"]
    from safetensors.torch import load_file

    weights = load_file(only_run().weights)
    assert {name for name in weights if f"module.{name}" not in saved} == {"head.weight", "head.bias"}
    assert all(torch.equal(weights[name.removeprefix("module.")], value) for name, value in saved.items())


def test_neighbours_need_no_training_and_are_there_again_when_tokens_leave(capsys, images) -> None:
    """Against the 20 nearest by cosine, image by image."""
    vit = checkpoint(0)
    assert adopt(capsys, "--head", "knn", "--set", "train.precision=fp32").status == 0
    features = []
    for part in ("train", "test"):
        pixels = (torch.from_numpy(images[f"{part}_images"]).permute(0, 3, 1, 2) / 255 - MEAN) / STD
        with torch.no_grad():
            features.append(F.normalize(vit(pixels), dim=1).double().numpy())
    right = 0
    for feature, label in zip(features[1], images["test_labels"], strict=True):
        cosine = features[0] @ feature
        votes = np.zeros(3)
        for i in np.argsort(-cosine)[:20]:
            votes[images["train_labels"][i]] += np.exp(cosine[i] / 0.07)
        right += int(votes.argmax() == label)
    assert only_run().result().test_correct == right
    assert run(capsys, "prune", "--method", "tome", "--keep", "1,0.5", "--site", "before:4", "--quiet").status == 0
    ((_, curve),) = only_run().prunes()
    assert curve.points[0].correct == right
    assert curve.points[1].flops < curve.points[0].flops


def test_a_folder_of_images_is_brought_to_the_models_size_as_timm_does_it(capsys) -> None:
    checkpoint(0)
    rng = np.random.default_rng(1)
    for name, level in (("dark", 40), ("light", 200)):
        for i in range(12):
            Path("pets", name).mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(level - 40, level + 40, (50, 40 + i, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(Path("pets", name, f"{i}.png"))
    Path("pets/dark/3.png").write_bytes(b"broken")
    words = ["--checkpoint", "model.pt", "--images", "pets", "--head", "linear", "--image-size", "32"]
    ended = run(capsys, "adopt", *MODEL, *words)
    assert ended.status == 0
    assert "warning: 1 image file cannot be read and left out: dark/3.png" in ended.err
    recipe = only_run().resolved.read_text()
    assert all(line in recipe for line in ("source: pets/", "image_size: 32", "crop: 0.9", "interpolation: bicubic"))
    assert only_run().result().test_accuracy == 1
    assert run(capsys, "prune", "--method", "tome", "--keep", "0.5", "--site", "before:4", "--quiet").status == 0


def pets(count: int = 12) -> None:
    """Photographs of three classes, a damaged one among them."""
    rng = np.random.default_rng(1)
    for channel, name in enumerate(("green", "blue", "red")):
        Path("pets", name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 120, (50, 40 + i, 3))
            pixels[:, :, (channel + 1) % 3] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(Path("pets", name, f"{i}.png"))
    Path("pets/red/3.png").write_bytes(b"broken")


@pytest.mark.parametrize("words", [["--head", "linear"], ["--head", "knn"], ["--set", "train.epochs=1"], []])
def test_a_folder_larger_than_memory_is_adopted_and_pruned_the_same(
    capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    """To the last bit of weights and predictions; the second command finds the pixels decoded."""
    checkpoint(3)
    pets()
    found = []
    for runs, most in (("held", 2**40), ("mapped", 0)):
        monkeypatch.setattr("tokenprune.data.folders.MOST_BYTES", most)
        where = ["--runs-dir", runs, "--data-dir", str(tmp_path / "data")]
        of = ["--checkpoint", "model.pt", "--images", "pets", "--image-size", "32", *words]
        adopted = run(capsys, "adopt", *MODEL, *of, *where)
        assert adopted.status == 0, adopted.err
        assert ("decoding 36 images, once, into" in adopted.err) == (runs == "mapped")
        sites = ["--method", "tome", "--method", "magnitude", "--keep", "1,0.5", "--site", "before:4"]
        pruned = run(capsys, "prune", *sites, *where)
        assert (pruned.status, "decoding" in pruned.err) == (0, False)
        (folder,) = all_runs(Path(runs))
        arrays = [path.read_bytes() for path in sorted(Path(runs).rglob("*.npz"))]
        points = [(point.keep_ratio, point.correct) for _, curve in folder.prunes() for point in curve.points]
        found.append((folder.name, folder.weights.read_bytes(), arrays, points))
    assert found[0] == found[1]
    assert (tmp_path / "data" / "decoded").is_dir()


@pytest.mark.parametrize("kind", ["lines", "list", "object", "synsets"])
def test_a_checkpoint_of_more_classes_is_scored_by_the_names_of_those_there_are(capsys, kind: str) -> None:
    """Of 7 outputs in another order, those of the folder's three classes are at 5, 0 and 3."""
    vit = checkpoint(7)
    pets()
    names = ["blue", "cyan", "pink", "red", "grey", "green", "gold"]
    numbers = [f"n{i:08}" for i in range(7)]
    content = {
        "lines": "\n".join(names) + "\n\n",
        "list": json.dumps(names),
        "object": json.dumps({str(i): [numbers[i], name] for i, name in reversed(list(enumerate(names)))}),
        "synsets": "\n".join(f"{number} {name}" for number, name in zip(numbers, names, strict=True)),
    }
    Path("classes").write_text(content[kind])
    of = ["--checkpoint", "model.pt", "--images", "pets", "--image-size", "32", "--set", "train.precision=fp32"]
    ended = run(capsys, "adopt", *MODEL, *of, "--classes", "classes")
    assert ended.status == 0, ended.err
    assert "classes: no training images of 4 of its 7 classes" in ended.err.splitlines()
    found = only_run()
    saved = np.load(found.predictions)
    images = data.load(Data(source="pets", image_size=32, crop=0.9)).test
    assert saved["labels"].tolist() == [[0, 5, 3][label] for label in images.labels]
    with torch.no_grad():
        logits = vit((images.images / 255 - MEAN) / STD)
    assert saved["predictions"].tolist() == logits.argmax(1).tolist()
    assert found.result().test_loss == pytest.approx(
        F.cross_entropy(logits, torch.from_numpy(saved["labels"]).long()).item(), rel=1e-5
    )
    shown = found.result().data.classes
    assert [shown[i] for i in (0, 3, 5)] == ["blue", "red", "green"]
    assert run(capsys, "prune", "--method", "tome", "--keep", "1,0.5", "--site", "before:4", "--quiet").status == 0
    ((_, curve),) = found.prunes()
    assert curve.points[0].accuracy == found.result().test_accuracy
    assert run(capsys, "report").status == 0

    Path("classes").write_text("\n".join(reversed(names)))
    refused = run(capsys, "prune", "--method", "random", "--keep", "0.5", "--site", "before:4", "--quiet")
    assert (refused.status, "trained on other images: classes had sha256" in refused.err) == (1, True)


@pytest.mark.parametrize(
    ("content", "words", "says"),
    [
        ("red\nblue", [], "no class 'green', of which there are images"),
        ("red\ngren\nblue", [], "no class 'green', of which there are images: did you mean gren?"),
        ("red\ngreen\nblue\ngold", [], "model.pt: its classifier has 3 outputs, and classes (data.classes) names 4"),
        ("red\ngreen\nblue\nred", [], "class 'red' is the name of outputs 0 and 3"),
        ('[["red", "blue"], "green", "gold"]', [], "'blue' and 'red' name one output"),
        ("red\n\ngreen\nblue", [], "classes: output 1 (counted from 0) has no name"),
        ('{"0": "red", "2": "blue"}', [], "classes: expected names by number, from 0 to 1, each once"),
        ('["red", 3, "blue"]', [], "classes: output 1: found 3, expected a name or several"),
        ('["red", "blue"', [], "classes: no JSON: "),
        ("red", [], "classes: found 1 names, expected those of 2 to 65,536 classes"),
        (b"\xff\xfe", [], "classes: no text of names"),
        (None, [], "classes: cannot read the classes: No such file"),
        ("red\ngreen\nblue", ["--head", "knn"], "data.classes: names the checkpoint's outputs; model.head knn has its"),
        ("red\ngreen\nblue", ["--set", "data.scene=spurious"], "classes: scene spurious has two of its own"),
    ],
)
def test_classes_that_do_not_fit_are_said_in_a_line(capsys, content, words, says) -> None:
    checkpoint(3)
    pets(5)
    if content is not None:
        Path("classes").write_bytes(content if isinstance(content, bytes) else content.encode())
    of = ["--checkpoint", "model.pt", "--images", "pets", "--image-size", "32", "--classes", "classes", "--quiet"]
    ended = run(capsys, "adopt", *MODEL, *of, *words)
    errors = [line for line in ended.err.splitlines() if line.startswith("error:")]
    assert (ended.status in (1, 2), len(errors)) == (True, 1)
    assert says in errors[0]


def test_logistic_regression_is_at_its_optimum() -> None:
    """The gradient of the penalised loss is 0 there, by finite differences in float64; and the loss is convex."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (60,), generator=generator)
    weight, bias = logistic(x, labels, 4, penalty=0.01)

    def loss(weight: torch.Tensor, bias: torch.Tensor) -> float:
        return (F.cross_entropy(x @ weight.T + bias, labels) + 0.005 * weight.square().sum()).item()

    for part, changed in ((weight, lambda step: (weight + step, bias)), (bias, lambda step: (weight, bias + step))):
        for i in range(part.numel()):
            step = torch.zeros_like(part).flatten()
            step[i] = 1e-4
            up, down = changed(step.view_as(part)), changed(-step.view_as(part))
            assert abs(loss(*up) - loss(*down)) / 2e-4 < 1e-5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--head", "tree"], "model.head: found 'tree', must be 'checkpoint', 'linear' or 'knn'"),
        (["--model", "resnet18"], "timm's 'resnet18' is not a plain Vision Transformer"),
        (["--checkpoint", "nothing.pt"], "nothing.pt: cannot read the checkpoint"),
        (["--images", "nothing.npz"], "nothing.npz: no such file"),
        (["--images", "cifr10"], "unknown data set 'cifr10': did you mean cifar10?"),
        (["--model", "vit_small_patch16_224"], "model.pt: "),
        (
            ["--set", "pruner.name=tome", "--set", "pruner.keep_ratio=0.5"],
            "pruner.name=tome: with train.epochs 0 none is trained",
        ),
        (["--set", "train.epochs=2", "--head", "linear"], "model.head: linear is for train.epochs 0"),
        (["--set", "data.train_size=3", "--head", "linear"], "linear takes some training images of every class"),
    ],
)
def test_what_cannot_be_adopted_is_said_in_a_line(capsys, words, says) -> None:
    checkpoint(3)
    ended = adopt(capsys, "--quiet", *words)
    assert ended.status in (1, 2)
    errors = [line for line in ended.err.splitlines() if line.startswith("error:")]
    assert any(says in line for line in errors), ended.err
    assert "Traceback" not in ended.err


def test_training_no_epoch_needs_weights(capsys) -> None:
    ended = run(capsys, "train", "--recipe", "quickstart", "--set", "train.epochs=0")
    assert (ended.status, "model.checkpoint has no weights to score" in ended.err) == (2, True)
