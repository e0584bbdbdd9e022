"""Records are believed only as far as they agree: what was changed is named and left out, and the rest goes on."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import make_run, rewrite

from tokenprune.claims import judge, read_runs, studies
from tokenprune.errors import TokenpruneError
from tokenprune.experiments import CLAIMS
from tokenprune.runs import RunFolder
from tokenprune.runs.results import _wilson, right
from tokenprune.statistics import wilson

CURVES = {"magnitude": {1.0: 0.6, 0.5: 0.58}, "random": {1.0: 0.6, 0.5: 0.5}}
Change = Callable[[dict[str, Any]], None]


def runs(folder: Path) -> list[RunFolder]:
    return [make_run(folder, seed=seed, accuracy=0.6 + seed / 100, methods=CURVES) for seed in range(3)]


def curve(run: RunFolder) -> Path:
    return next(run.path.glob("prune/magnitude-*/result.json"))


def put(*keys: str | int, value: object) -> Change:
    def change(tree: Any) -> None:
        for key in keys[:-1]:
            tree = tree[key]
        tree[keys[-1]] = value

    return change


OF_TRAINING = [
    put("model", "depth", value=3),
    put("seed", value=7),
    put("setting", value="00000000"),
    put("epochs", value=9),
    put("test_correct", value=1),
    put("test_accuracy", value=0.9),
    put("pruner", value="oracle"),
    put("keep_ratio", value=0.0),
    put("data", "source", value="cifar100"),
    put("data", "test_count", value=5),
    put("model", "depth", value=0),
    put("seconds", value=-1),
]
OF_A_CURVE = [
    put("site", value="before:1"),
    put("method", value="oracle"),
    put("run", value="another"),
    put("batch_size", value=0),
    put("count", value=0),
    put("points", 1, "lost", value=999),
    put("points", 1, "gained", value=3),
    put("points", 1, "low", value=0.0),
    put("points", 1, "accuracy", value=0.7),
    put("points", 1, "difference", value=0.5),
    put("points", 1, "difference_high", value=-0.9),
    put("points", 1, "relevant_recall", value=2.0),
    put("points", 1, "keep_ratio", value=0.7),
    put("points", 1, "flops", value=0),
    put("points", value=[]),
]


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed anew", "never sealed"])
@pytest.mark.parametrize("change", OF_TRAINING)
def test_a_training_that_contradicts_itself_or_its_folder(tmp_path: Path, change: Change, sealed: bool) -> None:
    first, *others = runs(tmp_path)
    rewrite(first.path / "result.json", change, sealed=sealed)
    found, problems = read_runs(tmp_path)
    assert [run.folder.name for run in found] == [run.name for run in others]
    assert [line for line in problems if first.name in line]


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed anew", "never sealed"])
@pytest.mark.parametrize("change", OF_A_CURVE)
def test_a_curve_that_contradicts_itself_or_its_folder(tmp_path: Path, change: Change, sealed: bool) -> None:
    first, *_ = runs(tmp_path)
    path = curve(first)
    rewrite(path, change, sealed=sealed)
    found, problems = read_runs(tmp_path)
    assert [len(run.prunes) for run in found] == [1, 2, 2]
    assert [line for line in problems if str(path.parent) in line]


@pytest.mark.parametrize(
    "change", [put("test_loss", value=0.1), put("seconds", value=1.0), put("device", value="x"), put("epochs", value=2)]
)
def test_whatever_is_changed_breaks_the_seal(tmp_path: Path, change: Change) -> None:
    path = make_run(tmp_path).path / "result.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))
    assert "its seal is broken" in read_runs(tmp_path)[1][0]


def test_epochs_that_are_gone_are_named_and_decide_nothing_in_silence(tmp_path: Path) -> None:
    first, *_ = runs(tmp_path)
    (first.path / "metrics.jsonl").write_text("")
    found, problems = read_runs(tmp_path)
    assert problems == [
        f"{first.path}/metrics.jsonl: damaged: 0 epochs instead of 4: the epochs of {first.name} are not used"
    ]
    (verdict,) = [verdict for verdict in judge(studies(found), CLAIMS) if verdict.claim == "attention-concentrates"]
    assert (verdict.verdict, verdict.n) == ("undecided", 2)


def test_an_epoch_that_was_changed_is_found(tmp_path: Path) -> None:
    first, *_ = runs(tmp_path)
    metrics = first.path / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("0.66", "0.16"))
    found, problems = read_runs(tmp_path)
    assert found[0].epochs == []
    assert "metrics.jsonl: changed after its result was written" in problems[0]


def test_predictions_are_those_that_were_counted(tmp_path: Path) -> None:
    first, second, _ = runs(tmp_path)
    first.predictions.write_bytes(b"junk")
    rewrite(second.path / "result.json", lambda tree: None, sealed=False)
    with np.load(second.predictions) as arrays:
        np.savez(second.predictions, labels=arrays["labels"], predictions=arrays["predictions"][::-1])
    _, problems = read_runs(tmp_path)
    changed = f"{first.predictions}: changed after its result was written (sha256 differs)"
    assert f"{changed}: its answers by image are not used" in problems
    miscounted = f"{second.predictions}: damaged: not the predictions that result.json counts"
    assert f"{miscounted}: its answers by image are not used" in problems


def test_a_result_without_a_status_is_used(tmp_path: Path) -> None:
    first, *_ = runs(tmp_path)
    (first.path / "status.json").unlink()
    found, problems = read_runs(tmp_path)
    assert (len(found), problems) == (3, [])


def test_older_results_are_read_and_said_to_be_unsealed_once(tmp_path: Path) -> None:
    for run in runs(tmp_path):
        for path in run.path.rglob("result.json"):
            rewrite(path, lambda tree: None, sealed=False)
    found, problems = read_runs(tmp_path)
    assert len(found) == 3
    assert problems == [f"{tmp_path}: 9 of 9 results have no seal, so whether they were changed is unknown"]


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"seed": ' + b"9" * 5000 + b"}", b"\xff\xfe", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"[]", b""],
)
@pytest.mark.parametrize("name", ["result.json", "status.json", "metrics.jsonl", "environment.json"])
def test_a_damaged_file_stops_nobody_else(tmp_path: Path, name: str, content: bytes, capsys) -> None:
    from tokenprune.cli.ls import _runs

    first, *_ = runs(tmp_path)
    (first.path / name).write_bytes(content)
    found, problems = read_runs(tmp_path)
    assert len(found) == (2 if name == "result.json" else 3)
    assert name == "status.json" or problems
    assert all(len(line) < 1000 for line in problems)
    rows = _runs(tmp_path)
    assert [row["state"] for row in rows[1:]] == ["finished", "finished"]


def test_a_folder_or_a_pipe_in_place_of_a_file(tmp_path: Path) -> None:
    import os

    first, second, _ = runs(tmp_path)
    for path in (first.path / "metrics.jsonl", first.predictions, second.resolved):
        path.unlink()
    (first.path / "metrics.jsonl").mkdir()
    os.mkfifo(first.predictions)
    os.mkfifo(second.resolved)
    found, problems = read_runs(tmp_path)
    assert len(found) == 3
    assert len(problems) == 3


def test_predictions_that_would_fill_the_memory_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("tokenprune.files.ARRAYS_BYTES", 1000)
    run = make_run(tmp_path, methods=CURVES, count=2000)
    ((path, result), *_) = run.prunes()
    with pytest.raises(TokenpruneError, match=r"predictions\.npz: damaged"):
        right(path, result)


def test_a_run_whose_recipe_was_changed_is_not_pruned(tmp_path):
    run = make_run(tmp_path)
    run.check_recipe()
    run.resolved.write_text(run.resolved.read_text() + "\n")
    with pytest.raises(TokenpruneError, match=r"resolved\.yaml: changed after its result was written.* --force`"):
        run.check_recipe()


def give_curves_of(other: RunFolder, run: RunFolder) -> None:
    """The run's curves are those of another, under its own name."""
    for path, _ in run.prunes():
        shutil.rmtree(path)
    for path, _ in other.prunes():
        shutil.copytree(path, run.curves / path.name)
        rewrite(run.curves / path.name / "result.json", lambda tree: tree.update(run=run.name))


def test_a_curve_of_another_model_is_named_by_its_unpruned_accuracy(tmp_path):
    run, other = (make_run(tmp_path, seed=seed, accuracy=0.5 + 0.2 * seed, methods=CURVES) for seed in range(2))
    give_curves_of(other, run)
    found, problems = read_runs(tmp_path)
    assert [len(each.prunes) for each in found] == [0, 2]
    assert sum("right without pruning, where the run has" in line for line in problems) == 2


HOSTILE = {
    "cycle": ("resolved.yaml", lambda text: text + "\nmore: &a {b: *a}\n"),
    "bomb": ("resolved.yaml", lambda text: "a: &a [1, 1]\nb: &b [*a, *a]\n" + text),
    "deep": ("resolved.yaml", lambda text: "{a: " * 3000),
    "half a character": ("result.json", lambda text: text.replace('"name": "', '"name": "\\ud800', 1)),
    "blocks": (
        "metrics.jsonl",
        lambda text: text.replace('"attention_on_relevant":[', '"attention_on_relevant":[0.5,'),
    ),
    "environment": ("environment.json", lambda text: '{"data": {}, "start": {"images": [1]}}'),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_records_are_named_and_the_rest_goes_on(tmp_path, kind):
    one, two = runs(tmp_path)[:2]
    name, change = HOSTILE[kind]
    path = one.path / name
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    if name != "result.json":
        rewrite(one.path / "result.json", lambda tree: None, sealed=False)
    found, problems = read_runs(tmp_path)
    assert two.name in {each.folder.name for each in found}
    assert any(str(one.path) in line for line in problems)
    judge(studies(found), CLAIMS)


def test_a_folder_whose_name_is_no_text_is_named(tmp_path):
    run = runs(tmp_path)[0]
    os.rename(run.path, os.fsencode(tmp_path) + b"/q\xff")
    found, problems = read_runs(tmp_path)
    assert len(found) == 2
    assert any("'q\\udcff': a name that is not UTF-8: not used" in line for line in problems)


@pytest.mark.parametrize("count", [1, 7, 1000, 50_000])
def test_an_interval_is_held_against_the_equation_whose_roots_it_is(count: int) -> None:
    for correct in {0, 1, count // 3, count}:
        low, high = wilson(correct, count)
        assert _wilson(low, high, correct, count)
        middle = (low + high) / 2
        for changed in ((middle, high), (low, middle), (high, low), (low, (high + 1e-5) % 1)):
            assert not _wilson(*changed, correct, count)


def test_a_model_trained_with_a_pruner_may_be_another_without(tmp_path):
    """Its test accuracy is with the pruner, so the unpruned one is no sign of damage."""
    run = make_run(tmp_path, accuracy=0.9, overrides=("pruner.name=random", "pruner.keep_ratio=0.5"), methods=CURVES)
    other = make_run(tmp_path / "other", accuracy=0.5, methods=CURVES)
    give_curves_of(other, run)
    found, problems = read_runs(tmp_path)
    assert (len(found[0].prunes), problems) == (len(CURVES), [])
