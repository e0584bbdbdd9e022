"""Stages end to end on small pattern images: what a run folder holds, what is refused, what is never lost."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tokenprune import pipeline, pruners, training
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.recipe import Evaluate, Loaded, load_recipe, parse_recipe
from tokenprune.runs import RunFolder

TINY = """
data: {source: patterns, patterns: {image_size: 16, classes: 3, count: 6, train_size: 120, test_size: 60, noise: 0.2}}
model: {depth: 2, dim: 12, heads: 3}
train: {epochs: 2, batch_size: 20, precision: fp32, augment: {crop: 0, flip: false}}
evaluate: {batch_size: 20, examples: 3}
"""


def tiny(*overrides: str) -> Loaded:
    return Loaded(parse_recipe(TINY, "tiny", overrides), "tiny", TINY, overrides)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    return pipeline.train_run(tiny(), runs_dir=tmp_path_factory.mktemp("runs"))


ASKED = {"methods": ("magnitude", "random"), "keep": (1.0, 0.5), "seeds": 2, "batch_size": 20, "examples": 3}


def prune(run: RunFolder, options=None, force=False, data_dir=None, **changes):
    return pipeline.prune_run(run, Evaluate(**ASKED | changes), options=options, force=force, data_dir=data_dir)


def test_classes_without_training_images_are_named() -> None:
    (note,) = pipeline.dry_run(tiny("data.train_size=2")).notes
    assert note.startswith("warning: no training images of ")
    assert pipeline.dry_run(tiny()).notes == ()


def test_a_finished_run_holds_everything(run) -> None:
    names = {path.name for path in run.path.iterdir()} - {"prune", ".lock"}
    assert names == {
        "recipe.yaml",
        "resolved.yaml",
        "environment.json",
        "status.json",
        "metrics.jsonl",
        "weights.safetensors",
        "result.json",
        "predictions.npz",
    }
    assert run.status().state == "finished"
    assert run.result().model.class_pooled
    assert [epoch.epoch for epoch in run.epochs()] == [0, 1, 2]
    with np.load(run.predictions) as arrays:
        right = (arrays["labels"] == arrays["predictions"]).mean()
    assert run.result().test_accuracy == right == run.epochs()[-1].test_accuracy
    assert json.loads(run.environment.read_text())["packages"]["torch"] == torch.__version__.partition("+")[0]


def test_weights_are_plain_timm_weights(run) -> None:
    from timm.models import VisionTransformer

    vit = VisionTransformer(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3, num_classes=3)
    vit.load_state_dict(load_file(run.weights))


def test_unpruned_point_is_the_trained_model(run) -> None:
    for _, result in prune(run):
        assert result.points[0].correct == run.result().test_correct
        assert result.baseline_correct == run.result().test_correct


def test_curves_that_exist_are_read_not_redone(run) -> None:
    (folder, _), *_ = prune(run)
    before = (folder / "result.json").stat().st_mtime_ns
    assert prune(run)[0][0] == folder
    assert (folder / "result.json").stat().st_mtime_ns == before
    assert prune(run, keep=(1.0, 0.25))[0][0] != folder


@pytest.fixture
def trainings(monkeypatch) -> list[tuple[str, float]]:
    """(pruner, keep ratio) of every training that is begun; the third is interrupted."""
    begun: list[tuple[str, float]] = []
    train = training.train

    def counted(job, *rest, **options):
        begun.append((job.recipe.pruner.name, job.recipe.pruner.keep_ratio))
        if len(begun) == 3:
            raise KeyboardInterrupt
        return train(job, *rest, **options)

    monkeypatch.setattr(training, "train", counted)
    return begun


def test_finetuned_points_are_compared_with_as_much_training_without_pruning(tmp_path) -> None:
    run = pipeline.train_run(tiny("train.learning_rate=0.02"), runs_dir=tmp_path)
    ((folder, result),) = prune(run, methods=("magnitude",), keep=(1.0, 0.99, 0.5), finetune_epochs=3)
    with np.load(run.predictions) as arrays, np.load(folder / "predictions.npz") as curve:
        assert (curve["baseline"] != arrays["predictions"]).any()  # the run as it was is not what it is compared with
        assert (curve["predictions"][0] == curve["baseline"]).all()
        for point, row in zip(result.points, curve["predictions"], strict=True):
            before, after = curve["baseline"] == curve["labels"], row == curve["labels"]
            assert (point.lost, point.gained) == ((before & ~after).sum(), (after & ~before).sum())
    assert [point.keep_ratio for point in result.points] == [1.0, 0.99, 0.5]
    assert [(point.difference, point.mcnemar_p) for point in result.points[:2]] == [(0, 1), (0, 1)]
    assert result.finetune_epochs == 3
    plain = prune(run, methods=("magnitude",), keep=(1.0, 0.99, 0.5))[0][1]
    assert [point.flops for point in result.points] == [point.flops for point in plain.points]
    ((_, alone),) = prune(run, methods=("magnitude",), keep=(0.5,), finetune_epochs=3)
    assert alone.baseline_correct == result.points[0].correct  # the control is made even where it is not asked for


def test_interrupted_finetuning_goes_on_where_it_stopped(tmp_path, trainings) -> None:
    run = pipeline.train_run(tiny("train.epochs=1"), runs_dir=tmp_path)
    trainings.clear()
    asked = {"methods": ("magnitude", "random"), "keep": (1.0, 0.5), "finetune_epochs": 1}
    with pytest.raises(KeyboardInterrupt):
        prune(run, **asked)
    assert [result.method for _, result in run.prunes()] == ["magnitude"]
    both = prune(run, **asked)
    assert trainings == [("none", 1.0), ("magnitude", 0.5), ("random", 0.5), ("random", 0.5)]  # one control for all
    again = prune(run, **asked, force=True)
    assert trainings[4:] == [("none", 1.0), ("magnitude", 0.5), ("random", 0.5)]
    for (_, before), (_, after) in zip(both, again, strict=True):
        assert [point.correct for point in before.points] == [point.correct for point in after.points]


def test_every_shipped_method_prunes_at_every_moment(run) -> None:
    for site in ("input", "before:1", "after:0", "before:0,1"):
        for _, result in prune(run, methods=("magnitude", "random", "oracle"), site=site):
            assert result.site == site
            half_half = 0.25 if site == "before:0,1" else 0.5
            assert result.points[-1].realised[-1] == pytest.approx(half_half)


def test_options_reach_the_pruner_and_tell_curves_apart(run, monkeypatch) -> None:
    monkeypatch.setattr(pruners.registry, "_classes", dict(pruners.registry._classes))

    @pruners.register("nearest")
    class Nearest(pruners.ScorePruner):
        def __init__(self, place: int = 0) -> None:
            super().__init__()
            self.place = place

        def score(self, state, signals):
            return -(state.position - self.place).abs().float()

    def kept(**options) -> tuple[Path, list[int]]:
        ((folder, result),) = prune(run, methods=["nearest"], keep=[0.25], options=options)
        assert result.options == options
        with np.load(folder / "examples.npz") as examples:
            return folder, (examples["owner"][0, 0, -1] >= 0).nonzero()[0].tolist()

    (plain, first), (other, last) = kept(), kept(place=15)
    assert plain != other
    assert (first, last) == ([0, 1, 2, 3], [12, 13, 14, 15])
    with pytest.raises(UsageError, match=r"unknown option of pruner 'nearest' 'colour': known: place"):
        prune(run, methods=["nearest"], options={"colour": "red"}, data_dir=Path("nowhere"))


def test_a_timm_model_is_known_once_it_is_built(tmp_path) -> None:
    named = tiny("model.name=test_vit", "pruner.name=random", "pruner.keep_ratio=0.5", "pruner.site=after:5")
    with pytest.raises(UsageError, match=r"nothing reads patch tokens, .* use before:5"):
        pipeline.train_run(named, runs_dir=tmp_path)


def test_a_finished_run_is_left_alone_unless_forced(tmp_path) -> None:
    loaded = tiny("train.epochs=1")
    run = pipeline.train_run(loaded, runs_dir=tmp_path)
    prune(run)
    before = run.weights.stat().st_mtime_ns
    pipeline.train_run(loaded, runs_dir=tmp_path)
    assert run.weights.stat().st_mtime_ns == before
    weights = run.weights.read_bytes()
    said: list[str] = []
    reporter = training.Reporter()
    reporter.message = said.append  # type: ignore[method-assign]
    pipeline.train_run(loaded, runs_dir=tmp_path, force=True, reporter=reporter)
    assert f"{run.path}: its 2 curves will be deleted once it is trained again" in said
    assert run.weights.stat().st_mtime_ns != before
    assert run.weights.read_bytes() == weights  # the same recipe and seed
    assert run.prunes() == []  # they were measured on weights that are gone


def test_flipped_bit_in_the_weights(tmp_path) -> None:
    run = pipeline.train_run(tiny("train.epochs=1"), runs_dir=tmp_path)
    content = bytearray(run.weights.read_bytes())
    content[-1] ^= 1
    run.weights.write_bytes(content)
    with pytest.raises(TokenpruneError, match=r"weights\.safetensors: damaged"):
        prune(run)


def test_divergence_is_recorded(tmp_path) -> None:
    with pytest.raises(TokenpruneError, match="not finite at step"):
        pipeline.train_run(tiny("train.learning_rate=1e30", "train.clip_norm=null"), runs_dir=tmp_path)
    (folder,) = tmp_path.glob("*-s0")
    run = RunFolder(folder)
    assert run.status().state == "failed"
    assert (run.status().epoch, run.status().step) == (0, 6)  # seen when the first epoch ended
    assert "(epoch 1); no checkpoint was saved yet; try a lower train.learning_rate" in run.status().message
    assert not run.finished


def test_killed_without_warning_then_resumed(tmp_path) -> None:
    """SIGKILL leaves no time to save: the run goes on from the last epoch's checkpoint and ends the same."""
    overrides = ["train.epochs=40", "data.patterns.test_size=20", "run.threads=1"]
    words = [word for override in overrides for word in ("--set", override)]
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(TINY)
    killed = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tokenprune",
            "train",
            "--recipe",
            str(recipe),
            "--runs-dir",
            str(tmp_path / "a"),
            *words,
        ],
        stderr=subprocess.DEVNULL,
    )
    while not list((tmp_path / "a").glob("*/resume.pt")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    loaded = load_recipe(recipe, overrides)
    with pytest.raises(TokenpruneError, match="--resume continues"):
        pipeline.train_run(loaded, runs_dir=tmp_path / "a")
    resumed = pipeline.train_run(loaded, runs_dir=tmp_path / "a", resume=True)
    straight = pipeline.train_run(loaded, runs_dir=tmp_path / "b")
    assert Path(resumed.weights).read_bytes() == straight.weights.read_bytes()
    assert len(resumed.epochs()) == 41


def test_tensorboard(tmp_path) -> None:
    run = pipeline.train_run(tiny("train.epochs=1", "run.tensorboard=true"), runs_dir=tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert events.Scalars("test_accuracy")[-1].value == pytest.approx(run.result().test_accuracy)


def test_training_with_compile_gives_the_same_loss(tmp_path) -> None:
    plain = pipeline.train_run(
        tiny("train.epochs=1", "model.depth=1", "pruner.name=magnitude", "pruner.keep_ratio=0.5"),
        runs_dir=tmp_path / "a",
    )
    compiled = pipeline.train_run(
        tiny("train.epochs=1", "model.depth=1", "pruner.name=magnitude", "pruner.keep_ratio=0.5", "run.compile=true"),
        runs_dir=tmp_path / "b",
    )
    assert compiled.epochs()[-1].train_loss == pytest.approx(plain.epochs()[-1].train_loss, rel=1e-4)


def test_without_a_seed_of_their_own_images_are_drawn_by_the_runs() -> None:
    """Replicates of one setting then have images of their own: those that an equal data.seed draws."""
    from tokenprune import data
    from tokenprune.recipe import parse_recipe

    text = "data: {source: patterns, seed: null, patterns: {image_size: 16, train_size: 40, test_size: 20}}"
    runs = [parse_recipe(text, "r.yaml", [f"run.seed={seed}"]) for seed in (0, 1)]
    assert runs[0].setting() == runs[1].setting()
    assert runs[0].setting() != parse_recipe(text.replace("null", "0"), "r.yaml").setting()
    first, second = (data.load(run.images).train.images for run in runs)
    fixed = data.load(parse_recipe(text.replace("null", "1"), "r.yaml").images).train.images
    assert not torch.equal(first, second)
    assert torch.equal(second, fixed)
