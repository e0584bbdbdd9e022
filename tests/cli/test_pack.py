"""A packed file is the folder of runs that it was made of."""

import functools
import gzip
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from factories import make_run, reseal, rewrite
from run_command import run as command
from theory_factories import phase, save

from tokenprune.claims import judge, read_runs, studies
from tokenprune.errors import TokenpruneError
from tokenprune.experiments import CLAIMS
from tokenprune.pack import pack, unpack
from tokenprune.runs import RunFolder, all_runs, find_run
from tokenprune.runs.results import right
from tokenprune.theory.folder import theory_runs

compressed = functools.partial(gzip.compress, mtime=0)
CURVES = {"magnitude": {1.0: 0.6, 0.5: 0.58}, "random": {1.0: 0.6, 0.5: 0.5}}


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    for seed in range(3):
        make_run(folder, seed=seed, accuracy=0.6 + seed / 100, methods=CURVES, count=100, epochs=2)
    return folder


def test_report_explain_and_ls_say_the_same_of_both(runs_dir, tmp_path, capsys):
    packed = tmp_path / "there" / "runs.jsonl.gz"
    assert command(capsys, "pack", runs_dir, packed).out.startswith(f"{packed}: 3 runs packed, ")
    kept = tmp_path / "kept"
    shutil.move(runs_dir, kept)
    said = {}
    for folder in (kept, packed):
        verbs = (["report", "--csv", "--out", tmp_path / "out"], ["explain", "magnitude-beats-random"], ["ls", "runs"])
        said[folder] = [command(capsys, *verb, "--runs-dir", folder).out for verb in verbs]
        said[folder][2] = said[folder][2].replace("  -  ", "  2  ")
    assert said[packed] == [text.replace(str(kept), str(packed)) for text in said[kept]]
    assert read_runs(packed)[1] == []
    of_both = [
        [verdict.model_dump(exclude={"todo"}) for verdict in judge(studies(read_runs(at)[0]), CLAIMS)]
        for at in (kept, packed)
    ]
    assert of_both[0] == of_both[1]


def test_which_images_were_right_travels_as_bits_that_are_counted(runs_dir, tmp_path):
    packed = tmp_path / "runs.jsonl.gz"
    pack(runs_dir, packed)
    for there, here in zip(all_runs(runs_dir), all_runs(packed), strict=True):
        for (at, result), (other, same) in zip(there.prunes(), here.prunes(), strict=True):
            assert np.array_equal(right(at, result), right(other, same))
            with np.load(at / "predictions.npz") as arrays:
                assert np.array_equal(arrays["predictions"] == arrays["labels"], right(other, same))
        assert right(here.path, here.result()).shape == (1, 100)
    text = gzip.decompress(packed.read_bytes()).decode()
    at = text.index('"bits": ["', text.index('"prune/')) + 10
    packed.write_bytes(gzip.compress((text[:at] + ("B" if text[at] != "B" else "C") + text[at + 1 :]).encode()))
    assert any("not the predictions that result.json counts" in problem for problem in read_runs(packed)[1])


def test_runs_are_added_and_those_made_again_replaced(runs_dir, tmp_path):
    packed = tmp_path / "runs.jsonl.gz"
    pack(runs_dir, packed)
    first = packed.read_bytes()
    pack(runs_dir, packed)
    assert packed.read_bytes() == first
    more = tmp_path / "more"
    make_run(more, seed=7, accuracy=0.7, count=100, epochs=2)
    make_run(more, seed=0, accuracy=0.5, count=100, epochs=2)
    save(more, phase(lambda axis: 100))
    names, problems = pack(more, packed)
    assert (len(names), problems) == (3, [])
    assert [run.result().seed for run in all_runs(packed)] == [0, 1, 2, 7]
    assert all_runs(packed)[0].result().test_accuracy == 0.5
    assert [run.theory_result() for run in theory_runs(packed)] == [run.theory_result() for run in theory_runs(more)]
    lines = [json.loads(line) for line in gzip.decompress(packed.read_bytes()).splitlines()]
    assert sum("run" not in line for line in lines) == 1  # one environment for all
    assert {type(line["files"]["result.json"]) for line in lines if "run" in line} == {dict}


def test_what_is_unfinished_or_damaged_is_named_and_left_out(runs_dir, tmp_path):
    one, two, three = all_runs(runs_dir)
    (one.path / "result.json").unlink()
    (two.path / "result.json").write_text("{")
    ((curve, _), _) = three.prunes()
    (curve / "result.json").write_text("{")
    names, problems = pack(runs_dir, tmp_path / "runs.jsonl.gz")
    assert names == [three.name]
    assert len(problems) == 3
    assert all(line.endswith(": not packed") for line in problems)
    assert len(all_runs(tmp_path / "runs.jsonl.gz")[0].prunes()) == 1


def test_unpacked_runs_are_finished_ones(runs_dir, tmp_path, capsys):
    packed, back = tmp_path / "runs.jsonl.gz", tmp_path / "back"
    pack(runs_dir, packed)
    assert unpack(packed, back) == [run.name for run in all_runs(runs_dir)]
    assert unpack(packed, back) == []
    for there, here in zip(all_runs(runs_dir), all_runs(back), strict=True):
        assert there.result() == here.result()
        assert there.epochs() == here.epochs()
        assert here.finished
    assert read_runs(back)[1] == []
    pack(back, tmp_path / "again.jsonl.gz")
    assert (tmp_path / "again.jsonl.gz").read_bytes() == packed.read_bytes()


def test_a_run_in_it_is_found_by_its_path_and_cannot_be_pruned(runs_dir, tmp_path, capsys):
    packed = tmp_path / "runs.jsonl.gz"
    pack(runs_dir, packed)
    name = all_runs(packed)[0].name
    assert find_run(packed, name).result() == find_run(tmp_path, str(packed / name)).result()
    ended = command(capsys, "prune", "--run", name, "--runs-dir", packed, "--method", "oracle")
    assert ended.status == 1
    assert ended.err.endswith(f"{name}: packed runs are only read; `tokenprune pack {packed} FOLDER` unpacks them\n")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        compressed(b"{"),
        compressed(b"[" * 100_000),
        compressed(b'{"run": "../x", "files": {}}'),
        compressed(b'{"run": "x", "files": {"/etc/y": "z"}}'),
        compressed(b'{"run": "x", "environment": 3, "files": {}}'),
        compressed(b"1\n"),
        compressed(b'{"run": "x", "files": {}}')[:-9],
        compressed(b"\xff\xfe"),
    ],
    ids=range(10),
)
def test_a_damaged_one_is_named(content, tmp_path, capsys):
    packed = tmp_path / "runs.jsonl.gz"
    packed.write_bytes(content)
    for verb in (["report", "--out", tmp_path / "out"], ["explain", "attention-concentrates"], ["ls", "runs"]):
        ended = command(capsys, *verb, "--runs-dir", packed)
        assert (ended.status, ended.err) == (1, f"error: {packed}: cannot be read: damaged, or no packed runs\n")
    with pytest.raises(TokenpruneError, match="damaged, or no packed runs"):
        unpack(packed, tmp_path / "runs")


def test_one_of_both_is_a_packed_file_and_runs_there_are(tmp_path, capsys):
    assert command(capsys, "pack", tmp_path, tmp_path / "out").status == 2
    assert command(capsys, "pack", tmp_path / "none", tmp_path / "x.jsonl.gz").err.endswith("no finished run to pack\n")
    assert RunFolder(tmp_path / "x.jsonl.gz").started is False


def test_commands_of_packed_runs_take_their_recipes_from_there(runs_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (all_runs(runs_dir)[2].path / "result.json").unlink()
    pack(runs_dir, tmp_path / "kept.jsonl.gz")
    shutil.rmtree(runs_dir)
    said = command(capsys, "explain", "magnitude-beats-random", "--runs-dir", "kept.jsonl.gz").out
    (line, *_) = [line.strip() for line in said.splitlines() if line.strip().startswith("tokenprune train")]
    assert "--runs-dir" not in line
    words = shlex.split(line)
    assert command(capsys, "validate", words[words.index("--recipe") + 1]).status == 0


def test_what_would_decide_a_claim_of_packed_runs_begins_with_their_training(runs_dir, tmp_path, capsys):
    """Weights are not packed, and the folder that the runs were made in is another's."""
    for run in all_runs(runs_dir):
        make_run(runs_dir, seed=7, methods={"oracle": {1.0: 0.6, 0.5: 0.5}}, recall={1.0: 1, 0.5: 0.5})
        environment = json.loads(run.environment.read_text())
        words = ["tokenprune", "train", "--recipe", "shallow", "--runs-dir", "mine", "--seed", run.name[-1]]
        run.environment.write_text(json.dumps(environment | {"command": words}))
        reseal(run)
    packed = tmp_path / "runs.jsonl.gz"
    pack(runs_dir, packed)
    said = command(capsys, "explain", "removing-irrelevant-costs-little", "--runs-dir", packed).out
    lines = [line.strip() for line in said.splitlines() if line.strip().startswith("tokenprune ")]
    verbs = [shlex.split(line)[1] for line in lines]
    assert verbs[:2] == ["train", "prune"]
    assert verbs.count("train") == verbs.count("prune")
    command(capsys, "report", "--runs-dir", packed, "--out", tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "--recipe shallow --seed" in page
    assert "--runs-dir mine" not in page


def test_results_from_before_seals_are_sealed(runs_dir, tmp_path, capsys):
    """What happens to them before cannot be known, and is said; what happens after is found."""
    for run in all_runs(runs_dir):
        rewrite(run.path / "result.json", lambda tree: tree.update(files={}), sealed=False)
    packed, folder = tmp_path / "runs.jsonl.gz", tmp_path / "unpacked"
    said = command(capsys, "pack", runs_dir, packed).err
    assert "had no seal: sealed in" in said
    assert "no seal" not in command(capsys, "ls", "runs", "--runs-dir", packed).err
    command(capsys, "pack", packed, folder)
    run, *_ = all_runs(folder)
    assert not run.changed(run.result())
    run.environment.write_text(run.environment.read_text().replace("2", "3"))
    assert list(run.changed(run.result())) == ["environment.json"]
    (run.path / "result.json").write_text((run.path / "result.json").read_text().replace('"seconds": ', '"seconds": 1'))
    with pytest.raises(TokenpruneError, match="its seal is broken"):
        run.result()
