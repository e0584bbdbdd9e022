"""`tokenprune report`: where the data goes, and when the status is 3."""

import csv
import io
import json

import pytest
from factories import make_run
from run_command import run

BETTER, WORSE = {1.0: 0.8, 0.5: 0.78}, {1.0: 0.8, 0.5: 0.5}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def seeds(folder, magnitude, random):
    for seed in range(4):
        make_run(folder / "runs", seed=seed, accuracy=0.8, methods={"magnitude": magnitude, "random": random})


def test_tables_are_80_columns_wide_and_the_page_is_named_on_stderr(elsewhere, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    seeds(elsewhere, BETTER, WORSE)
    ended = run(capsys, "report")
    assert ended.status == 0
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "magnitude" in ended.out
    assert ended.err == "written: report/index.html\n"
    assert (elsewhere / "report" / "index.html").is_file()


def test_json_and_csv_are_all_of_standard_output(elsewhere, capsys):
    seeds(elsewhere, BETTER, WORSE)
    assert isinstance(json.loads(run(capsys, "report", "--json").out), dict)
    rows = list(csv.DictReader(io.StringIO(run(capsys, "report", "--csv").out)))
    assert {row["method"] for row in rows} == {"magnitude", "random"}
    assert run(capsys, "report", "--csv", "--json").status == 2


@pytest.mark.parametrize(("magnitude", "random", "status"), [(BETTER, WORSE, 0), (WORSE, BETTER, 3)])
def test_a_refuted_claim_is_status_3_only_if_asked(elsewhere, capsys, magnitude, random, status):
    seeds(elsewhere, magnitude, random)
    assert run(capsys, "report", "--strict").status == status
    assert run(capsys, "report").status == 0


def test_what_cannot_be_used_is_named_and_the_rest_reported(elsewhere, capsys):
    seeds(elsewhere, BETTER, WORSE)
    begun = make_run(elsewhere / "runs", seed=9, finished=False)
    ended = run(capsys, "report")
    assert ended.status == 0
    assert f"warning: runs/{begun.name}: not finished (interrupted)" in ended.err


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        ((), 1, "error: runs: no finished run to report on; `tokenprune train --recipe quickstart` makes one, "),
        (("--run", "none"), 2, "error: unknown run 'none': known: none (looked in runs)"),
    ],
)
def test_nothing_to_report_on_writes_nothing(elsewhere, capsys, arguments, status, line):
    ended = run(capsys, "report", *arguments)
    assert (ended.status, ended.out) == (status, "")
    assert ended.err.startswith(line)
    assert list(elsewhere.iterdir()) == []


def test_a_folder_that_cannot_be_written(elsewhere, capsys):
    seeds(elsewhere, BETTER, WORSE)
    (elsewhere / "file").write_text("")
    ended = run(capsys, "report", "--out", "file/report")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "error: file/report: cannot make this folder: Not a directory\n"
