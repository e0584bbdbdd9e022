"""A run folder: its lock, its records, its damages."""

import subprocess
import sys

import pytest
from factories import make_run, rewrite

from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.runs import RunFolder, all_runs, find_run, latest_finished

HOLD = """
import sys
from pathlib import Path
from tokenprune.runs import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_in_use_by_another_process_is_refused_at_once_and_free_after(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TokenpruneError, match="another process is working in this run folder"), folder.lock():
            pass
        holder.stdin.close()
        holder.wait()
    with folder.lock():
        pass


def test_running_is_said_only_of_a_run_that_some_process_works_in(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.lock():
        folder.set_status("running", 3, 300)
        assert folder.status().state == "running"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        assert folder.status().state == "running"
        holder.kill()
        holder.wait()
    status = folder.status()
    assert (status.state, status.epoch, status.step) == ("interrupted", 3, 300)
    with folder.lock():
        pass


def test_a_lock_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TokenpruneError, match="cannot make this folder"), RunFolder(tmp_path / "file" / "run").lock():
        pass


def test_what_was_written_is_what_is_read(tmp_path):
    run = make_run(tmp_path, epochs=2, methods={"magnitude": {1.0: 0.6, 0.5: 0.5}})
    again = RunFolder(run.path)
    assert [epoch.epoch for epoch in again.epochs()] == [0, 1, 2]
    assert again.status().state == "finished"
    ((path, pruned),) = again.prunes()
    assert path.parent == run.path / "prune"
    assert [point.keep_ratio for point in pruned.points] == [1.0, 0.5]


def test_a_prune_without_a_result_is_not_there(tmp_path):
    run = make_run(tmp_path)
    half = run.prune_folder("magnitude", "0123")
    half.mkdir(parents=True)
    (half / "predictions.npz").write_bytes(b"half")
    assert run.prunes() == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "not valid JSON: the file is damaged"),
        (lambda text: text.replace('"epochs"', '"epochz"'), "not a TrainResult record: epochs: Field required"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 0'), "results of schema 0, this program"),
        (lambda text: "[]", "not a TrainResult record"),
    ],
)
def test_a_damaged_or_older_result_is_refused_by_name(tmp_path, damage, message):
    path = make_run(tmp_path).path / "result.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(TokenpruneError, match=message) as caught:
        RunFolder(path.parent).result()
    assert str(path) in str(caught.value)


def test_weights_are_those_that_training_wrote(tmp_path):
    run = make_run(tmp_path)
    run.weights.write_bytes(b"weights")
    rewrite(run.path / "result.json", lambda tree: tree.update(weights_sha256="9f1d7b8d4c2a"))
    with pytest.raises(TokenpruneError, match="damaged: its bytes are not those that training wrote"):
        run.check_weights()
    run.weights.unlink()
    with pytest.raises(
        TokenpruneError, match=rf"missing; train this run again with `tokenprune train --recipe {run.recipe} .*--force`"
    ):
        run.check_weights()


def test_an_unfinished_run_has_no_result(tmp_path):
    run = make_run(tmp_path, finished=False)
    with pytest.raises(TokenpruneError, match=r"this run is not finished; `tokenprune train .* --resume` continues it"):
        run.result()


def test_finding_runs(tmp_path):
    first, second = make_run(tmp_path, seed=0), make_run(tmp_path, seed=1)
    make_run(tmp_path, seed=2, finished=False)
    (tmp_path / "not-a-run").mkdir()
    assert [run.name[-2:] for run in all_runs(tmp_path)] == ["s0", "s1", "s2"]
    assert (latest_finished(tmp_path)[0].name, latest_finished(tmp_path)[1]) == (second.name, [])
    assert find_run(tmp_path, first.name).path == first.path
    assert find_run(tmp_path / "elsewhere", str(first.path)).path == first.path
    with pytest.raises(UsageError, match=f"unknown run 'shalow-71': did you mean '{first.name[:8]}"):
        find_run(tmp_path, "shalow-71")


def test_no_finished_run(tmp_path):
    make_run(tmp_path, finished=False)
    with pytest.raises(TokenpruneError, match="no finished run here; `tokenprune train --recipe quickstart` makes one"):
        latest_finished(tmp_path)
