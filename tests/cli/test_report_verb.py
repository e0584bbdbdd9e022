"""`tokenprune report`: where the data goes, and when the status is 3."""

import csv
import io
import json

import pytest
from factories import make_prune, make_run
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


@pytest.fixture
def five_sites(elsewhere):
    """Three seeds, both methods with the same curves at each of five sites."""
    sites = ("before:0", "after:0", "before:1", "after:1", "input")
    for seed in range(3):
        made = make_run(elsewhere / "runs", depth=3, seed=seed, accuracy=0.8, examples=False)
        for site in sites:
            for method, loss in {"magnitude": 0.1, "random": 0.11 + 0.01 * seed}.items():
                make_prune(made, method, {0.5: 0.8 - loss}, site=site, examples=False)
    return elsewhere


def test_the_warning_of_too_many_figures_names_an_option_that_draws_the_rest(five_sites, capsys, monkeypatch):
    monkeypatch.setattr("tokenprune.report.build._MOST", 12)  # three of each site
    ended = run(capsys, "report")
    assert "figures: only 12 of 15 figures of I3 are drawn" in ended.err
    assert "--site, --method and --run of `tokenprune report` choose what is drawn" in ended.err
    drawn = {path.name for path in (five_sites / "report" / "figures").glob("accuracy-*.svg")}
    ended = run(capsys, "report", "--site", "input", "--site", "before:1")
    assert "warning" not in ended.err
    chosen = {path.name for path in (five_sites / "report" / "figures").glob("accuracy-*.svg")}
    assert (len(drawn), len(chosen), len(drawn & chosen)) == (4, 2, 1)
    assert "before:0" not in ended.out


def test_sites_and_methods_choose_what_is_shown_and_not_how_it_is_judged(five_sites, capsys):
    every = json.loads(run(capsys, "report", "--json").out)
    chosen = json.loads(run(capsys, "report", "--json", "--site", "input").out)
    assert {point["site"] for point in chosen["points"]} == {"input"}
    assert chosen["claims"] == [claim for claim in every["claims"] if claim["site"] in (None, "input")]
    (judged,) = (claim for claim in chosen["claims"] if claim["claim"] == "magnitude-beats-random")
    assert judged["p_adjusted"] == pytest.approx(5 * judged["p"])
    chosen = json.loads(run(capsys, "report", "--json", "--method", "random").out)
    assert {point["method"] for point in chosen["points"]} == {"random"}
    assert {claim["claim"] for claim in chosen["claims"]} == {"attention-concentrates"}
    assert json.loads(run(capsys, "report", "--json", "--method", "all").out) == every


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--site", "after:2"), "error: unknown measured site 'after:2': did you mean 'after:"),
        (("--site", "afer:0"), "error: site 'afer:0': expected input, before:BLOCKS or after:BLOCKS"),
        (("--method", "randon"), "error: unknown measured method 'randon': did you mean 'random'?"),
    ],
)
def test_what_was_never_measured_cannot_be_chosen(five_sites, capsys, arguments, line):
    ended = run(capsys, "report", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(line)
    assert not (five_sites / "report").exists()


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
