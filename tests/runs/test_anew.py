"""A finished run that is made again is the old one or the new one, whole, whenever the work is killed."""

import shutil
from pathlib import Path

import pytest
from factories import make_run
from killed import every_kill

from tokenprune.claims import read_runs
from tokenprune.files import sha256
from tokenprune.runs import RunFolder, all_runs, atomic

CURVE = {"magnitude": {1.0: 0.5, 0.5: 0.4}}


def whole(path: Path) -> float:
    """The accuracy of a run, of which every part is checked to be of the same."""
    run = RunFolder(path)
    result = run.result()
    assert (run.check_weights().read_bytes() == b"new") == (result.test_accuracy == 0.75)
    assert run.status().state == "finished"
    assert run.epochs()[-1].test_accuracy == result.test_accuracy
    assert str(result.test_accuracy) in run.recipe.read_text()
    assert [pruned.baseline_accuracy for _, pruned in run.prunes()] == [0.5] * (result.test_accuracy == 0.5)
    return result.test_accuracy


def test_a_run_made_again_is_the_old_or_the_new_whenever_it_is_killed(tmp_path):
    old = make_run(tmp_path / "old", accuracy=0.5, methods=CURVE)
    new = make_run(tmp_path / "new", accuracy=0.75, epochs=3)
    new.weights.write_bytes(b"new")
    new.set_result(new.result().model_copy(update={"weights_sha256": sha256(new.weights)}))
    for run in (old, new):
        run.set_recipe(str(run.result().test_accuracy), [])
    path, seen = tmp_path / "runs" / old.name, []

    def begin() -> None:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(old.path, path)
        (path / "tensorboard").mkdir()
        (path / "tensorboard" / "events").write_text("old")

    def work() -> None:
        run = RunFolder(path)
        with run.lock():
            again = run.unfinished
            atomic.make_folder(again.path / "tensorboard")
            for file in ("recipe.yaml", "status.json", "metrics.jsonl", "weights.safetensors", "result.json"):
                content = (new.path / file).read_bytes()
                atomic.write(again.path / file, lambda handle, content=content: handle.write(content))
            run.settle()

    for _ in every_kill(begin, work):
        seen.append(whole(path))
        assert [run.name for run in all_runs(path.parent)] == [old.name]
        if seen[-1] == 0.5:
            work()
        with RunFolder(path).lock():
            assert whole(path) == 0.75
        assert not list(path.rglob("*.part"))
        assert not list((path / "anew").glob("*"))
        assert not (path / "tensorboard" / "events").exists()
    assert (seen[0], seen[-1]) == (0.5, 0.75)
    assert seen == sorted(seen)


def test_a_run_killed_after_its_result_was_written_is_finished(tmp_path):
    run = make_run(tmp_path)
    with run.lock():
        run.set_status("running", 3, 300)
    assert RunFolder(run.path).status().state == "finished"


@pytest.mark.parametrize(
    ("resume", "force", "begun", "due", "said"),
    [
        (False, False, False, False, "is finished already; --force makes it again"),
        (True, False, False, False, "is finished already; --force makes it again"),
        (False, False, True, False, "--force makes it again, which was begun: --resume continues that"),
        (True, False, True, True, ""),
        (False, True, True, True, ""),
    ],
)
def test_what_a_finished_run_has_to_be_asked_for(tmp_path, resume, force, begun, due, said):
    run, words = make_run(tmp_path), []
    if begun:
        atomic.make_folder(run.unfinished.path)
        run.unfinished.resume.write_text("")
    assert run.due(resume=resume, force=force, say=words.append) == due
    assert said in "".join(words)


def again(run: RunFolder, result: bytes) -> Path:
    """A run made again, of which only the result is left to be moved up; its result as given."""
    anew = run.path / "anew"
    anew.mkdir()
    (anew / "result.json").write_bytes(result)
    return anew


def test_a_damaged_result_made_again_goes_and_the_old_stands(tmp_path):
    run = make_run(tmp_path)
    before = run.result()
    anew = again(run, b"{")
    assert RunFolder(run.path).result() == before
    with RunFolder(run.path).lock():
        pass
    assert not anew.exists()
    assert RunFolder(run.path).result() == before


def test_what_was_killed_before_there_was_anything_to_go_on_with_is_cleared(tmp_path):
    run = make_run(tmp_path)
    atomic.make_folder(run.path / "anew")
    (run.path / "anew" / "recipe.yaml").write_text("")
    with run.lock():
        pass
    assert not (run.path / "anew").exists()


def test_a_run_that_is_being_settled_is_not_called_changed(tmp_path):
    old, new = make_run(tmp_path / "a", accuracy=0.5), make_run(tmp_path / "b", accuracy=0.75)
    shutil.copytree(new.path, old.path / "anew")
    (old.path / "anew" / "metrics.jsonl").replace(old.path / "metrics.jsonl")
    ((found,), problems) = read_runs(tmp_path / "a")
    assert (found.result.test_accuracy, len(found.epochs) > 0) == (0.75, True)
    assert problems == []


def test_curves_that_lie_elsewhere_are_forgotten_as_a_link(tmp_path):
    run = make_run(tmp_path / "runs", methods=CURVE)
    run.curves.rename(tmp_path / "elsewhere")
    run.curves.symlink_to(tmp_path / "elsewhere")
    shutil.copytree(make_run(tmp_path / "new", accuracy=0.75).path, run.path / "anew")
    with run.lock():
        assert not run.curves.exists()
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
