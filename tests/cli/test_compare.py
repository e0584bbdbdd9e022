"""`tokenprune compare`: what it prints, writes and refuses."""

import csv
import json
from pathlib import Path

import pytest

from tests.cli.run_command import run
from tests.factories import make_latency, make_run
from tokenprune.runs import all_runs

CURVE = {1.0: 0.6, 0.5: 0.55, 0.25: 0.5}
METHODS = {"magnitude": CURVE, "random": {1.0: 0.6, 0.5: 0.5, 0.25: 0.3}, "evit": CURVE, "downsample": CURVE}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for depth in (1, 2):
        for seed in (0, 1):
            make_run(tmp_path / "runs", depth=depth, seed=seed, accuracy=0.6, methods=METHODS)
    return tmp_path / "runs"


def test_it_prints_a_table_within_80_columns_and_writes_what_it_says(runs: Path, tmp_path: Path, capsys) -> None:
    ended = run(capsys, "compare", "--runs-dir", runs, "--out", tmp_path / "out")
    assert ended.status == 0
    assert max(map(len, ended.out.splitlines())) <= 80
    assert all(ended.out.count(name) == 2 for name in ("magnitude", "evit"))  # a row a depth
    written = {Path(name.strip()).name for name in ended.err.removeprefix("written: ").split(",")}
    assert written == {path.name for path in (tmp_path / "out").glob("[!.]*")}
    assert {"methods.csv", "methods.json"} <= written
    assert any(name.endswith(".png") for name in written)


def test_without_latencies_its_last_line_says_what_adds_them(runs: Path, tmp_path: Path, capsys) -> None:
    ended = run(capsys, "compare", "--runs-dir", runs, "--out", tmp_path / "out")
    assert "`tokenprune measure latency`" in ended.out.splitlines()[-1]
    assert not list((tmp_path / "out").glob("*latency*"))
    assert json.loads((tmp_path / "out" / "methods.json").read_text()).keys() == {"methods"}


TIMES = {"magnitude": {0.5: [4, 10, 1234], 0.25: [3, 6, 900]}, "evit": {0.5: [5, 12, 1300]}}


def test_latencies_have_a_table_a_figure_and_rows(runs: Path, tmp_path: Path, capsys) -> None:
    """Two of the four runs were timed, those of depth 2."""
    timed = [folder for folder in all_runs(runs) if folder.result().model.depth == 2]
    for folder in timed:
        make_latency(folder, TIMES, unpruned=[4.5, 11, 1500], batches=[1, 8, 256], processor="A CPU " * 12)
    ended = run(capsys, "compare", "--runs-dir", runs, "--out", tmp_path / "out")
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "measure latency" not in ended.out
    front = ended.out.partition("Accuracy against latency at depth 2, site before:0")[2].split("\n\n")[0]
    rows = [line.split() for line in front.splitlines()]
    assert ["1", "magnitude", "0.25", "50.0", "3", "3.3", "1.50x"] in rows
    assert ["magnitude", "0.5", "55.0", "1,234", "1,357", "1.22x"] in rows
    assert not [row for row in rows if "evit" in row]  # slower than magnitude, and no better
    table = list(csv.DictReader((tmp_path / "out" / "method-latency.csv").read_text().splitlines()))
    assert len(table) == 12  # four points at three batch sizes
    assert json.loads((tmp_path / "out" / "methods.json").read_text())["latency"][0].keys() == table[0].keys()
    found = next(row for row in table if (row["name"], row["keep"], row["batch"]) == ("evit", "0.5", "8"))
    assert [found[key] for key in ("median_ms", "measurements", "front", "accuracy")] == ["12.0", "2", "False", "0.55"]
    names = {path.name for path in (tmp_path / "out").glob("*latency*")}
    assert len(names) == 3  # with the figure of depth 2 as PNG and SVG
    for folder in timed:
        next(folder.measurements.glob("*/result.json")).write_text("{")
    ended = run(capsys, "compare", "--runs-dir", runs, "--out", tmp_path / "out")
    assert ended.status == 0
    assert ended.err.count("this measurement is not used") == 2
    assert not list((tmp_path / "out").glob("*latency*"))  # an earlier comparison's files go


def test_latencies_are_read_from_packed_runs(runs: Path, tmp_path: Path, capsys) -> None:
    make_latency(next(iter(all_runs(runs))), TIMES, unpruned=[4.5, 11, 1500], batches=[1, 8, 256])
    assert run(capsys, "pack", runs, tmp_path / "runs.jsonl.gz").status == 0
    ended = run(capsys, "compare", "--runs-dir", tmp_path / "runs.jsonl.gz", "--out", tmp_path / "out")
    assert "Accuracy against latency at depth 1" in ended.out


def test_json_and_csv_have_the_same_rows(runs: Path, tmp_path: Path, capsys) -> None:
    words = ["compare", "--runs-dir", runs, "--out", tmp_path / "out"]
    rows = json.loads(run(capsys, *words, "--json").out)
    table = list(csv.DictReader(run(capsys, *words, "--csv").out.splitlines()))
    assert [(str(row["depth"]), row["method"]) for row in rows] == [(row["depth"], row["method"]) for row in table]
    assert len(rows) == 8
    assert run(capsys, *words, "--csv", "--json").status == 2


def test_methods_and_runs_choose(runs: Path, tmp_path: Path, capsys) -> None:
    words = ["compare", "--runs-dir", runs, "--out", tmp_path / "out", "--json"]
    rows = json.loads(run(capsys, *words, "--method", "magnitude", "--method", "random").out)
    assert {row["method"] for row in rows} == {"magnitude", "random", "downsample"}  # the floors stand beside
    name = next(path.name for path in runs.iterdir())
    assert len(json.loads(run(capsys, *words, "--run", name).out)) == 4


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["--method", "nosuch"], 2, "unknown measured method 'nosuch'"),
        (["--site", "before:7"], 2, "unknown measured site 'before:7'"),
        (["--run", "nosuch"], 2, "unknown run 'nosuch'"),
    ],
)
def test_what_it_cannot_compare_is_one_line(
    words: list[str], status: int, line: str, runs: Path, tmp_path: Path, capsys
) -> None:
    ended = run(capsys, "compare", "--runs-dir", runs, "--out", tmp_path / "out", *words)
    assert ended.status == status
    assert line in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_runs_it_says_what_makes_them(tmp_path: Path, capsys) -> None:
    ended = run(capsys, "compare", "--runs-dir", tmp_path)
    assert ended.status == 1
    assert "no finished run to compare methods on" in ended.err
    make_run(tmp_path / "runs", methods={"random": CURVE})
    ended = run(capsys, "compare", "--runs-dir", tmp_path / "runs")
    assert ended.status == 1
    assert "`tokenprune prune --method all` measures all that need no training" in ended.err
