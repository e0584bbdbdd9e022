"""The bytes of images are part of what a run is: wherever it is gone on with, pruned, pooled or reported."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from factories import make_run, reseal
from PIL import Image
from rich.console import Console

from tokenprune import pipeline, report, training
from tokenprune.claims import judge, read_runs, studies
from tokenprune.errors import TokenpruneError
from tokenprune.experiments import CLAIMS
from tokenprune.recipe import Evaluate, Loaded, parse_recipe
from tokenprune.report.collect import collect
from tokenprune.runs import RunFolder

CURVES = {"magnitude": {1.0: 0.6, 0.5: 0.58}, "random": {1.0: 0.6, 0.5: 0.5}}


def save_images(path: Path, seed: int, train: int = 40) -> None:
    rng = np.random.default_rng(seed)
    np.savez(
        path,
        train_images=rng.integers(0, 256, (train, 32, 32, 3), dtype=np.uint8),
        train_labels=np.arange(train) % 2,
        test_images=rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8),
        test_labels=np.arange(20) % 2,
    )


def save_photographs(folder: Path, level: int) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 40), (level, level, 0)).save(folder / name)


def recipe(data: str, *overrides: str) -> Loaded:
    text = f"data: {{{data}}}\nmodel: {{dim: 12, patch_size: 8}}\ntrain: {{epochs: 2, batch_size: 20, precision: fp32}}"
    return Loaded(parse_recipe(text, "mine", overrides), "mine", text, overrides)


def prune(run: RunFolder, **where) -> None:
    pipeline.prune_run(run, Evaluate(methods=("magnitude",), keep=(1.0, 0.5)), force=True, **where)


class StopsAfterOneEpoch(training.Reporter):
    def epoch(self, record) -> None:
        if record.epoch == 1:
            raise KeyboardInterrupt


def test_a_file_of_images(tmp_path: Path) -> None:
    images = tmp_path / "mine.npz"
    save_images(images, 0)
    run = pipeline.train_run(recipe(f"source: {images}"), runs_dir=tmp_path / "runs")
    save_images(images, 1)
    with pytest.raises(TokenpruneError, match="trained on other images: source had sha256"):
        prune(run)


def test_photographs_of_a_background_folder(tmp_path: Path) -> None:
    images, behind = tmp_path / "mine.npz", tmp_path / "behind"
    save_images(images, 0)
    save_photographs(behind, 10)
    mine = recipe(f"source: {images}, scene: composite, background: {behind}, foreground_size: 16")
    run = pipeline.train_run(mine, runs_dir=tmp_path / "runs")
    prune(run)
    save_photographs(behind, 200)
    with pytest.raises(TokenpruneError, match="trained on other images: background had sha256") as refused:
        prune(run)
    assert "\n" not in str(refused.value)


def test_a_resumed_run_goes_on_with_its_own_images(tmp_path: Path) -> None:
    save_images(tmp_path / "cifar10.npz", 0)
    mine, where = recipe("source: cifar10"), {"runs_dir": tmp_path / "runs", "data_dir": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        pipeline.train_run(mine, **where, reporter=StopsAfterOneEpoch())
    (folder,) = (tmp_path / "runs").iterdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    save_images(tmp_path / "cifar10.npz", 1, train=24)
    with pytest.raises(TokenpruneError, match="trained on other images: source had sha256"):
        pipeline.train_run(mine, **where, resume=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    save_images(tmp_path / "cifar10.npz", 0)
    assert pipeline.train_run(mine, **where, resume=True).finished


@pytest.mark.parametrize("resume", [False, True])
def test_a_finished_run_is_not_taken_for_one_of_other_images(tmp_path: Path, resume: bool) -> None:
    images, behind = tmp_path / "cifar10.npz", tmp_path / "behind"
    save_images(images, 0)
    save_photographs(behind, 10)
    mine = recipe(f"source: cifar10, scene: composite, background: {behind}, foreground_size: 16")
    where = {"runs_dir": tmp_path / "runs", "data_dir": tmp_path}
    run = pipeline.train_run(mine, **where)
    assert pipeline.train_run(mine, **where, resume=resume).path == run.path
    save_photographs(behind, 200)
    with pytest.raises(TokenpruneError, match="trained on other images: background had sha256"):
        pipeline.train_run(mine, **where, resume=resume)
    save_photographs(behind, 10)
    save_images(images, 1)
    with pytest.raises(TokenpruneError, match="trained on other images: source had sha256"):
        pipeline.train_run(mine, **where, resume=resume)
    images.unlink()
    said = Keeps()
    pipeline.train_run(mine, **where, resume=resume, reporter=said)
    assert any("its images were not compared" in line for line in said.lines)


class Keeps(training.Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def test_a_finished_pretraining_on_other_images_is_no_start(tmp_path: Path) -> None:
    save_images(tmp_path / "cifar10.npz", 0)
    text = "start: {source: cifar10, noise: 0.1, epochs: 1}\ndata: {source: cifar10}"
    text += "\nmodel: {dim: 12, patch_size: 8}\ntrain: {epochs: 1, batch_size: 20, precision: fp32}\nrun: {seed: 0}"
    where = {"runs_dir": tmp_path / "runs", "data_dir": tmp_path}
    one = Loaded(parse_recipe(text, "mine"), "mine", text, ())
    pipeline.train_run(one, **where)
    save_images(tmp_path / "cifar10.npz", 1)
    pruned = ("pruner.name=random", "pruner.keep_ratio=0.5")
    two = Loaded(parse_recipe(text, "mine", pruned), "mine", text, pruned)
    with pytest.raises(TokenpruneError, match="trained on other images: source had sha256"):
        pipeline.train_run(two, **where)


def see(run: RunFolder, **hashes: str) -> None:
    """Let a run's environment say what it saw."""
    record = json.loads(run.environment.read_text())
    record["data"] |= {"sha256": hashes["source"], "background": {"sha256": hashes.get("background", "b" * 64)}}
    if "start" in hashes:
        record["start"] = {"images": {"source": hashes["start"]}}
    run.environment.write_text(json.dumps(record))
    reseal(run)


@pytest.mark.parametrize("what", ["source", "background"])
def test_seeds_that_saw_different_images_are_not_pooled(tmp_path: Path, what: str) -> None:
    for seed in range(4):
        run = make_run(tmp_path, seed=seed, methods=CURVES)
        see(run, **({"source": "a" * 64} | {what: ("c" if seed == 3 else "a") * 64}))
    runs, problems = read_runs(tmp_path)
    assert len(runs) == 4
    (problem,) = problems
    assert "different images under one name" in problem
    assert "3 runs aaaaaaaa, 1 run cccccccc" in problem
    found = [v for v in judge(studies(runs), CLAIMS) if v.claim == "magnitude-beats-random"]
    assert sorted(v.n for v in found) == [1, 3]
    assert len({run.result.family for run in runs}) == 2


def test_tables_name_the_images_of_runs_that_saw_others(tmp_path: Path) -> None:
    for seed in range(2):
        see(make_run(tmp_path, seed=seed, methods=CURVES), source="ac"[seed] * 64)
    console = Console(width=80, record=True, file=io.StringIO())
    for table in report.table(collect(tmp_path)):
        console.print(table)
    text = " ".join(console.export_text().split())
    for mark in ("aaaaaaaa", "cccccccc"):
        assert f", images {mark} Test accuracy in % at each keep ratio" in text
        assert f"-s{'ac'.index(mark[0])}, images {mark}" in text


def test_arms_that_saw_different_images_are_not_compared(tmp_path: Path) -> None:
    def verdict(folder: Path, pruned: str) -> str | None:
        for seed in range(3):
            see(make_run(folder, seed=seed, accuracy=0.5 + seed / 100), source="a" * 64)
            overrides = ["pruner.name=oracle", "pruner.keep_ratio=0.6"]
            run = make_run(folder, seed=seed, accuracy=0.6 + seed / 90, overrides=overrides, kept_relevance=0.9)
            see(run, source=pruned * 64)
        found = {v.claim: v.verdict for v in judge(studies(read_runs(folder)[0]), CLAIMS)}
        return found.get("sparsified-training-helps")

    assert verdict(tmp_path / "same", "a") == "supported"
    assert verdict(tmp_path / "other", "b") in (None, "undecided")


def test_starts_that_saw_different_images_are_not_pooled(tmp_path: Path) -> None:
    for seed in range(2):
        run = make_run(tmp_path, seed=seed, overrides=["start.source=cifar100"])
        see(run, source="a" * 64, start=str(seed) * 64)
    runs, _ = read_runs(tmp_path)
    assert len({run.result.setting for run in runs}) == 2


def test_older_environments_tell_nothing_and_are_pooled(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path, seed=seed)
    runs, problems = read_runs(tmp_path)
    assert ({run.result.setting for run in runs}, problems) == ({runs[0].folder.result().setting}, [])
