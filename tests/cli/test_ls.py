"""`ls runs` and `report` say the same of a folder of damaged runs."""

import json
import os

import pytest
from factories import make_run
from run_command import run

CURVES = {"magnitude": {1.0: 0.6, 0.5: 0.58}, "random": {1.0: 0.6, 0.5: 0.5}}


def test_a_damaged_file_costs_only_what_it_holds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    for seed in range(6):
        folder = make_run(runs, seed=seed, methods=CURVES)
        if seed == 0:
            folder.environment.write_text("{")
        if seed == 1:
            folder.predictions.write_text("junk")
        if seed == 2:
            (folder.path / "status.json").write_text("{")
        if seed == 3:
            next(folder.curves.glob("magnitude*/result.json")).write_text("{")
        if seed == 4:
            tree = json.loads((folder.path / "result.json").read_text())
            (folder.path / "result.json").write_text(json.dumps({**tree, "seal": None, "files": {}}))
        if seed == 5:
            (folder.path / "status.json").unlink()
            (folder.path / "result.json").unlink()
    listed = run(capsys, "ls", "runs", "--json")
    rows = {row["run"][-2:]: row for row in json.loads(listed.out)}
    assert [rows[f"s{seed}"]["state"] for seed in range(6)] == ["finished"] * 5 + ["unknown"]
    assert [rows[f"s{seed}"]["pruned by"] for seed in range(5)] == ["magnitude, random"] * 3 + ["random"] + [
        "magnitude, random"
    ]
    assert len(listed.err.splitlines()) == 2
    said = run(capsys, "report").err
    for text in (
        "-s0/environment.json: changed after its result was written (sha256 differs): which images it saw",
        "-s1/predictions.npz: changed after its result was written (sha256 differs): its answers by image are not used",
        "this prune is not used",
        "-s5: not finished (no status): not used",
    ):
        assert said.count(text) == 1
    assert said.count("environment.json") == 1
    (unsealed,) = (line for line in said.splitlines() if "no seal" in line)
    assert unsealed.startswith("warning: runs: 1 of 14 results has no seal")
    assert unsealed.endswith("-s4")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_result_that_is_no_file_is_damaged(make, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = make_run(tmp_path / "runs")
    (folder.path / "result.json").unlink()
    make(folder.path / "result.json")
    listed = run(capsys, "ls", "runs", "--json")
    assert json.loads(listed.out)[0]["state"] == "damaged"
    for said in (listed.err, run(capsys, "report").err):
        assert "result.json: cannot be read" in said


def test_a_run_whose_result_is_damaged_is_damaged(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = make_run(tmp_path / "runs")
    (folder.path / "result.json").write_text("{")
    (row,) = json.loads(run(capsys, "ls", "runs", "--json").out)
    assert (row["state"], row["test accuracy"]) == ("damaged", None)
