"""Training that starts from pretraining: the same weights as by hand, once for all that share it, whatever stops it."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tokenprune import pipeline, training
from tokenprune.errors import TokenpruneError
from tokenprune.recipe import Evaluate, Loaded, parse_recipe, pretraining_of, run_of
from tokenprune.runs import Epoch, RunFolder

TINY = """
data: {source: patterns, patterns: {image_size: 16, classes: 3, count: 6, train_size: 60, test_size: 40, noise: 0.2}}
model: {depth: 2, dim: 12, heads: 3}
start: {source: FIVE, epochs: 2}
train: {epochs: 2, batch_size: 20, precision: fp32, learning_rate: 1e-2, augment: {crop: 0, flip: false}}
run: {device: cpu, threads: 1}
"""


@pytest.fixture(scope="module")
def five(tmp_path_factory) -> Path:
    """Images of five classes, where those of the run itself have three."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("images") / "five.npz"
    images = {f"{part}_images": rng.integers(0, 256, (40, 16, 16, 3), np.uint8) for part in ("train", "test")}
    np.savez(path, train_labels=np.arange(40) % 5, test_labels=np.arange(40) % 5, **images)
    return path


def tiny(five: Path, *overrides: str) -> Loaded:
    return Loaded(parse_recipe(TINY.replace("FIVE", str(five)), "tiny", overrides), "tiny", TINY, overrides)


def first_of(loaded: Loaded, runs_dir: Path) -> RunFolder:
    first = pretraining_of(loaded)
    assert first is not None
    return RunFolder(runs_dir / run_of(first))


@pytest.fixture
def begun(monkeypatch) -> list[tuple[int, dict[str, Tensor]]]:
    """(classes, weights) with which each training begins."""
    found: list[tuple[int, dict[str, Tensor]]] = []
    train = training.train

    def noted(job: Any, *rest: Any, **options: Any) -> Any:
        state = job.model.vit.state_dict()
        found.append((job.model.vit.num_classes, {name: value.clone() for name, value in state.items()}))
        return train(job, *rest, **options)

    monkeypatch.setattr(training, "train", noted)
    return found


def test_a_run_begins_with_the_weights_of_its_pretraining_and_a_head_of_its_own(five, begun, tmp_path):
    loaded = tiny(five)
    run = pipeline.train_run(loaded, runs_dir=tmp_path)
    pipeline.train_run(tiny(five, "start.source=null"), runs_dir=tmp_path)
    (pretrained, _), (classes, weights), (_, scratch) = begun
    assert (pretrained, classes) == (5, 3)
    first = first_of(loaded, tmp_path)
    for name, value in load_file(first.weights).items():
        assert torch.equal(weights[name], scratch[name] if name.startswith("head.") else value)
    assert not torch.equal(weights["blocks.1.mlp.fc1.weight"], scratch["blocks.1.mlp.fc1.weight"])

    assert (run.result().start, run.result().pretraining) == ("five", False)
    assert (first.result().start, first.result().pretraining) == (None, True)
    told = json.loads(run.environment.read_text())["start"]
    found = {"run": first.name, "weights_sha256": first.result().weights_sha256, "images": first.images()}
    assert told == found


def test_it_ends_as_if_pretrained_by_hand(five, tmp_path):
    loaded = tiny(five)
    run = pipeline.train_run(loaded, runs_dir=tmp_path / "a")
    text = first_of(loaded, tmp_path / "a").recipe.read_text()
    first = pipeline.train_run(Loaded(parse_recipe(text, "first"), "first", text), runs_dir=tmp_path / "b")
    assert first.weights.read_bytes() == first_of(loaded, tmp_path / "a").weights.read_bytes()
    by_hand = tiny(five, "start.source=null", f"model.checkpoint={first.weights}")
    assert pipeline.train_run(by_hand, runs_dir=tmp_path / "b").weights.read_bytes() == run.weights.read_bytes()


def test_runs_that_share_a_pretraining_train_it_once_and_force_leaves_it(five, begun, tmp_path):
    loaded = tiny(five)
    pipeline.train_run(loaded, runs_dir=tmp_path)
    first = first_of(loaded, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    pipeline.train_run(tiny(five, "pruner.name=random", "pruner.keep_ratio=0.5"), runs_dir=tmp_path)
    pipeline.train_run(loaded, runs_dir=tmp_path, force=True)
    assert [classes for classes, _ in begun] == [5, 3, 3, 3]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    pipeline.train_run(tiny(five, "run.seed=1"), runs_dir=tmp_path)
    assert [classes for classes, _ in begun[4:]] == [5, 3]  # each seed has its own
    fixed = [tiny(five, "start.seed=0", f"run.seed={seed}") for seed in (2, 3)]
    assert {first_of(loaded, tmp_path).name for loaded in fixed} == {first.name}


def test_from_scratch_leaves_no_trace_of_a_start(five, tmp_path):
    resolved = [
        pipeline.train_run(tiny(five, "start.source=null", *more), runs_dir=tmp_path / name).resolved.read_text()
        for name, more in (("a", []), ("b", ["start.epochs=7", "start.noise=0.5"]))
    ]
    assert resolved[0] == resolved[1]


class Stops(training.Reporter):
    """Asks to stop after an epoch, as Ctrl-C does."""

    def epoch(self, record: Epoch) -> None:
        if record.epoch == 1:
            raise KeyboardInterrupt


def test_stopped_in_its_pretraining_it_goes_on_from_there(five, begun, tmp_path):
    loaded = tiny(five)
    with pytest.raises(KeyboardInterrupt):
        pipeline.train_run(loaded, runs_dir=tmp_path / "a", reporter=Stops())
    first = first_of(loaded, tmp_path / "a")
    assert first.status().state == "interrupted"
    assert first.resume.is_file()
    assert [path.name for path in (tmp_path / "a").iterdir()] == [first.name]
    resumed = pipeline.train_run(loaded, runs_dir=tmp_path / "a", resume=True)
    straight = pipeline.train_run(loaded, runs_dir=tmp_path / "b")
    assert first.weights.read_bytes() == first_of(loaded, tmp_path / "b").weights.read_bytes()
    assert resumed.weights.read_bytes() == straight.weights.read_bytes()


def test_a_pretraining_that_fails_is_named(five, tmp_path):
    loaded = tiny(five, "train.learning_rate=1e30", "train.clip_norm=null")
    first = first_of(loaded, tmp_path)
    with pytest.raises(TokenpruneError) as raised:
        pipeline.train_run(loaded, runs_dir=tmp_path)
    told = f"{first.name}, the pretraining that this run starts from: the loss is not finite at step "
    assert str(raised.value).startswith(told)
    assert [path.name for path in tmp_path.iterdir()] == [first.name]  # and the run itself was never begun


def test_weights_to_start_from_that_were_changed_are_refused(five, tmp_path):
    loaded = tiny(five)
    pipeline.train_run(loaded, runs_dir=tmp_path)
    first = first_of(loaded, tmp_path)
    content = bytearray(first.weights.read_bytes())
    content[-1] ^= 1
    first.weights.write_bytes(content)
    with pytest.raises(TokenpruneError, match=rf"{first.name}/weights\.safetensors: damaged: .*train this run again"):
        pipeline.train_run(loaded, runs_dir=tmp_path, force=True)


def test_looking_and_pruning_pretrain_nothing(five, begun, tmp_path):
    loaded = tiny(five)
    assert pipeline.dry_run(loaded).train_count == 60
    assert begun == []
    run = pipeline.train_run(loaded, runs_dir=tmp_path)
    first_of(loaded, tmp_path).path.rename(tmp_path / "elsewhere")
    ((_, curve),) = pipeline.prune_run(run, Evaluate(methods=("magnitude",), keep=(1.0, 0.5)))
    assert curve.points[0].correct == run.result().test_correct
    assert len(begun) == 2


class Tells(training.Reporter):
    """Hands on the epochs and messages of a training in another process."""

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    def epoch(self, record: Epoch) -> None:
        self.pipe.send(record.epoch)

    def message(self, text: str) -> None:
        self.pipe.send(text)


def _elsewhere(loaded: Loaded, runs_dir: Path, pipe: Any) -> None:
    pipeline.train_run(loaded, runs_dir=runs_dir, reporter=Tells(pipe))
    pipe.send(None)


def test_of_two_processes_that_need_it_one_trains_it_and_the_other_waits(five, tmp_path):
    one, other = tiny(five), tiny(five, "pruner.name=random", "pruner.keep_ratio=0.5")
    first = first_of(one, tmp_path)
    assert first.name == first_of(other, tmp_path).name
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=_elsewhere, args=(other, tmp_path, theirs), daemon=True)

    class Goes(training.Reporter):
        """In the pretraining: starts the other process, and goes on when that one waits."""

        def epoch(self, record: Epoch) -> None:
            if process.pid is None:
                process.start()
                assert "is trained first" in ours.recv()
                assert ours.recv() == f"{first.path}: another process is training it; waiting"

    pipeline.train_run(one, runs_dir=tmp_path, reporter=Goes())
    said = list(iter(ours.recv, None))
    process.join()
    head = "weights.safetensors: read; initialised anew, as it has none for these classes: head.bias, head.weight"
    assert said == [f"starting from {first.path}", head, 0, 1, 2]  # the epochs of its own training alone
    told = json.loads(RunFolder(tmp_path / run_of(other)).environment.read_text())["start"]
    assert told["weights_sha256"] == first.result().weights_sha256
