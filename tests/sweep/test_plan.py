"""What is left of a sweep and what it costs: FLOPs by hand and as torch counts them, results that cannot be read."""

import json

import numpy as np
import pytest
import torch
from factories import make_run
from sweep_factories import TINY, write_sweep
from torch.utils.flop_counter import FlopCounterMode

from tokenprune import models, pipeline
from tokenprune.data import scene
from tokenprune.errors import TokenpruneError
from tokenprune.recipe import Evaluate, parse_recipe
from tokenprune.recipe.sweep import load_sweep
from tokenprune.runs.sweeps import SweepCell, SweepFile, Word
from tokenprune.sweep import begin, standing, survey, training_flops
from tokenprune.sweep.progress import CellRow
from tokenprune.sweep.run import _parts

PRUNED = "grid: {run.seed: [0]}\nprune:\n  - {methods: [magnitude, random], keep: [0.5], seeds: 1}\n"


def test_training_flops_by_hand():
    """Depth 1, dim 12, MLP 48, 16 patches of 48 numbers and a class token, 3 classes; 60 images, 2 epochs."""
    tokens, dim = 17, 12
    embedding, head = 2 * 16 * dim * 48, 2 * dim * 3
    projections, attention = 2 * 4 * tokens * dim**2, 2 * 2 * tokens**2 * dim
    mlp = 2 * 2 * tokens * dim * 48
    forward = embedding + head + projections + attention + mlp
    assert training_flops(parse_recipe(TINY, "tiny")) == 3 * forward * 60 * 2


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.depth=3", "model.registers=2", "model.qk_norm=true", "model.class_token=false"],
        ["model.name=deit_tiny_patch16_224", "data.patterns.image_size=32"],
    ],
)
def test_forward_flops_are_those_torch_counts(overrides):
    recipe = parse_recipe(TINY, "tiny", overrides)
    side = recipe.data.patterns.image_size
    with torch.device("meta"):
        vit = models.build(recipe.model, 3, side).eval()
        with FlopCounterMode(display=False) as counter:
            vit(torch.zeros(1, 3, side, side))
    assert training_flops(recipe) == 3 * counter.get_total_flops() * 60 * 2


def test_dropped_patches_are_embedded_and_no_more_in_the_epochs_they_are_dropped():
    """8 of 16 patches and the class token in the first of two epochs, by hand."""
    tokens, dim = 9, 12
    embedding, head = 2 * 16 * dim * 48, 2 * dim * 3
    few = embedding + head + 2 * 4 * tokens * dim**2 + 2 * 2 * tokens**2 * dim + 2 * 2 * tokens * dim * 48
    whole = training_flops(parse_recipe(TINY, "tiny")) / 2
    half = training_flops(parse_recipe(TINY, "tiny", ["train.patch_dropout=0.5", "train.patch_dropout_epochs=1"]))
    assert half == 3 * few * 60 + whole


def test_images_are_small_in_the_epochs_they_are_shrunk_in():
    """Two epochs of 8 x 8 images cost what training on such images costs; patch dropout may end at another epoch."""
    size = "train.image_size=8"
    small = training_flops(parse_recipe(TINY, "tiny", ["data.patterns.image_size=8"]))
    whole = training_flops(parse_recipe(TINY, "tiny"))
    assert training_flops(parse_recipe(TINY, "tiny", [size])) == small
    half = training_flops(parse_recipe(TINY, "tiny", [size, "train.image_size_epochs=0.5"]))
    assert half == pytest.approx(small / 4 + 3 * whole / 4)
    both = training_flops(parse_recipe(TINY, "tiny", [size, "train.image_size_epochs=1", "train.patch_dropout=0.5"]))
    dropped = [
        training_flops(parse_recipe(TINY, "tiny", ["train.patch_dropout=0.5", *more]))
        for more in ([], ["data.patterns.image_size=8"])
    ]
    assert both == pytest.approx(sum(dropped) / 2)


def test_a_pruner_in_training_saves_what_it_removes():
    def flops(*overrides):
        return training_flops(parse_recipe(TINY, "tiny", overrides))

    half = flops("pruner.name=random", "pruner.keep_ratio=0.5")
    assert half < flops("pruner.name=magnitude", "pruner.keep_ratio=0.5") < flops()  # scores cost something
    assert flops("pruner.name=random") == flops()


@pytest.mark.parametrize(
    ("overrides", "images"),
    [
        (["data.source=cifar10"], 50_000),
        (["data.source=svhn"], 73_257),
        (["data.source=cifar100", "data.train_size=2000"], 2000),
        (["data.source=cifar10", "data.scene=spurious"], 10_000),
    ],
)
def test_published_sizes_stand_for_images_that_are_not_here(overrides, images, tmp_path):
    once = training_flops(parse_recipe(TINY, "tiny", [*overrides, "data.train_size=1"]), tmp_path)
    assert training_flops(parse_recipe(TINY, "tiny", overrides), tmp_path) == images * once


def test_an_npz_is_measured_by_its_headers(tmp_path):
    path = tmp_path / "mine.npz"
    images, labels = np.zeros((30, 16, 16, 3), np.uint8), np.arange(30) % 3
    np.savez(path, train_images=images, train_labels=labels)
    like = training_flops(parse_recipe(TINY, "tiny", ["data.patterns.train_size=30"]))
    assert training_flops(parse_recipe(TINY, "tiny", [f"data.source={path}"])) == like
    assert training_flops(parse_recipe(TINY, "tiny", ["data.source=absent.npz"])) is None


def test_classes_left_out_are_not_trained_on(tmp_path):
    """85 of CIFAR-100's classes are left without the plants, 500 images each, and a head that is so much smaller."""
    whole, left = (
        training_flops(parse_recipe(TINY, "tiny", ["data.source=cifar100", *more]), tmp_path) / (3 * 2)
        for more in ([], ["data.exclude=[plants]"])
    )
    assert whole / 50_000 - left / 42_500 == 2 * 12 * len(scene.PLANTS)


def test_a_cell_is_finished_when_every_curve_is_there(tmp_path):
    (cell,) = load_sweep(write_sweep(tmp_path, PRUNED)).cells
    runs = tmp_path / "runs"
    assert standing(cell, runs).state == "waiting"
    run = pipeline.train_run(cell.loaded, runs_dir=runs)
    assert standing(cell, runs).state == "waiting"
    for methods in (("magnitude",), ("random",)):
        assert standing(cell, runs).state == "waiting"
        pipeline.prune_run(run, Evaluate(methods=methods, keep=(0.5,), seeds=1))
    assert standing(cell, runs).state == "finished"
    assert standing(cell, runs).accuracy == run.result().test_accuracy

    for path in (run.prunes()[0][0] / "result.json", run.path / "result.json"):
        older = json.loads(path.read_text()) | {"schema_version": 0}
        path.write_text(json.dumps(older))
        found = standing(cell, runs)
        assert found.state == "failed"
        assert found.message.startswith(f"{path}: results of schema 0, this program reads schema 1; ")


def test_a_folder_that_another_process_holds_is_left_to_it(tmp_path):
    sweep = load_sweep(write_sweep(tmp_path, "grid: {run.seed: [0, 1]}"))
    folder = make_run(tmp_path / "runs", finished=False)
    folder.path.rename(folder.path.with_name(sweep.cells[0].run))
    folder = type(folder)(folder.path.with_name(sweep.cells[0].run))
    folder.set_status("running", 1, 1)
    with folder.lock():
        assert [row.state for row in survey(sweep, tmp_path / "runs")] == ["elsewhere", "waiting"]
    assert [row.state for row in survey(sweep, tmp_path / "runs")] == ["waiting", "waiting"]


def test_cells_that_were_begun_ask_for_resume_before_anything_runs(tmp_path):
    sweep = load_sweep(write_sweep(tmp_path, "grid: {run.seed: [0, 1]}"))
    folder = tmp_path / "runs" / sweep.cells[1].run
    folder.mkdir(parents=True)
    (folder / "resume.pt").write_bytes(b"")
    with pytest.raises(TokenpruneError) as raised:
        begin(sweep, runs_dir=tmp_path / "runs")
    assert str(raised.value) == (
        f"{tmp_path / 'runs'}: 1 of 2 cells were begun and not finished ({folder.name}): --resume continues them"
    )
    assert not (tmp_path / "runs" / "sweeps").exists()
    assert len(begin(sweep, runs_dir=tmp_path / "runs", resume=True).waiting) == 2


def test_an_edited_sweep_says_what_is_new_and_what_no_longer_belongs(tmp_path):
    def edit(text):
        sweep = load_sweep(write_sweep(tmp_path, text))
        return [cell.run for cell in sweep.cells], begin(sweep, runs_dir=tmp_path / "runs")

    (first, second), begun = edit("grid: {run.seed: [0, 1]}")
    assert begun.edit is None
    assert edit("# reworded\ngrid: {run.seed: [0, 1]}")[1].edit is None
    (_, third), begun = edit("grid: {run.seed: [1, 2]}")
    assert (begun.edit.new, begun.edit.gone) == ((third,), (first,))
    assert begun.file.read().former == (first,)
    _, begun = edit("grid: {run.seed: [1, 2]}\nprune: [{keep: [0.5]}]")
    assert (begun.edit.new, begun.edit.gone) == ((), ())
    _, begun = edit("grid: {run.seed: [0, 1, 2]}")
    assert begun.file.read().former == ()
    assert [cell.run for cell in begun.file.read().cells] == [first, second, third]


def test_records_of_one_sweep_written_by_two_are_joined(tmp_path):
    file = SweepFile(tmp_path, "mine")
    file.begin("id", "text", [SweepCell(run=name, what={"run.seed": 0}) for name in ("a", "b", "c")])
    SweepFile(tmp_path, "mine").note({"a": Word("failed", "why")})
    file.note({"b": Word("finished"), "a": Word("submitted")}, only="waiting")
    assert [(cell.state, cell.message) for cell in file.read().cells] == [
        ("failed", "why"),
        ("finished", None),
        ("waiting", None),
    ]
    assert [path.name for path in file.folder.glob("[!.]*")] == ["mine.json"]


@pytest.mark.parametrize(
    ("content", "why"), [("{", "not valid JSON"), ('{"schema_version": 0}', "results of schema 0")]
)
def test_a_record_that_cannot_be_read_is_named_and_left(content, why, tmp_path):
    file = SweepFile(tmp_path, "mine")
    file.folder.mkdir()
    file.path.write_text(content)
    with pytest.raises(TokenpruneError, match=rf"mine\.json: {why}.*; move it away: the runs themselves are not touch"):
        file.begin("id", "text", [])
    assert file.path.read_text() == content


def test_tasks_of_a_cluster_get_even_shares(tmp_path):
    cells = load_sweep(write_sweep(tmp_path, "grid: {run.seed: [0, 1, 2, 3, 4]}")).cells
    rows = [CellRow(cell, "waiting", flops) for cell, flops in zip(cells, (1.0, 5.0, 2.0, 2.0, 1.0), strict=True)]
    parts = _parts(rows, 2)
    assert sorted(sum(row.flops for row in part) for part in parts) == [5.0, 6.0]
    assert len(_parts(rows, 99)) == 5
