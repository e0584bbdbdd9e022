"""How verdicts are told apart: by site, in the terminal and on the page; what was never compared makes no row."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from tests.factories import make_prune, make_run
from tokenprune import report
from tokenprune.claims.accuracy import Condition
from tokenprune.report.collect import collect
from tokenprune.report.series import Group

CURVE = {1.0: 0.6, 0.5: 0.5}
COMPARED = {"magnitude": CURVE, "random": {1.0: 0.6, 0.5: 0.3}, "oracle": {1.0: 0.6, 0.5: 0.55}}


def terminal(runs_dir: Path) -> list[str]:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    for part in report.table(collect(runs_dir)):
        console.print(part)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def claim_lines(lines: list[str]) -> list[list[str]]:
    first = next(i for i, line in enumerate(lines) if line.startswith("Claims, "))
    return [line.split() for line in lines[first + 3 :] if re.search(r"supported|refuted|undecided ", line)]


@pytest.fixture
def two_sites(tmp_path: Path) -> Path:
    """All methods before block 0; after block 1 all but the oracle; before block 1 magnitude alone."""
    for seed in range(3):
        run = make_run(tmp_path / "runs", depth=2, seed=seed, methods=COMPARED, examples=False)
        for method in ("magnitude", "random"):
            make_prune(run, method, COMPARED[method], site="after:1", identity="11111111", examples=False)
        make_prune(run, "magnitude", CURVE, site="before:1", identity="22222222", examples=False)
    return tmp_path / "runs"


def test_every_row_names_its_claim_and_its_site(two_sites: Path) -> None:
    lines = terminal(two_sites)
    assert max(map(len, lines)) <= 80
    assert {tuple(line[:3]) for line in claim_lines(lines)} == {
        ("magnitude-beats-random", "2", "before:0"),
        ("magnitude-beats-random", "2", "after:1"),
        ("magnitude-keeps-relevant", "2", "before:0"),
        ("magnitude-keeps-relevant", "2", "after:1"),
        ("magnitude-keeps-relevant", "2", "before:1"),
        ("oracle-at-least-magnitude", "2", "before:0"),
        ("removing-irrelevant-is-free", "2", "before:0"),  # a single one, in a family of two sites
        ("attention-concentrates", "2", "–"),
    }


def test_a_comparison_of_one_method_is_a_footnote_and_stays_in_the_data(two_sites: Path, tmp_path: Path) -> None:
    report.write(two_sites, tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    shown = re.search(r'<table class="claims">.*?</table>', page, re.DOTALL)[0]  # type: ignore[index]
    assert shown.count('class="verdict') == 8
    sites = re.findall(r"<small>site ([^<]*)</small>", shown)
    assert sites == ["after:1", "before:0", "after:1", "before:0", "before:1", "before:0", "before:0"]
    note = "magnitude-beats-random at before:1; oracle-at-least-magnitude at after:1 and before:1"
    assert note in page
    assert note in " ".join(" ".join(terminal(two_sites)).split())
    claims = json.loads((tmp_path / "out" / "report.json").read_text())["claims"]
    lone = {(claim["claim"], claim["site"]) for claim in claims if not claim["evidence"]}
    assert lone == {
        ("magnitude-beats-random", "before:1"),
        ("oracle-at-least-magnitude", "before:1"),
        ("oracle-at-least-magnitude", "after:1"),
    }


def test_where_nothing_was_compared_one_row_says_how(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", methods={"magnitude": CURVE}, examples=False)
    make_prune(run, "magnitude", CURVE, site="after:0", identity="11111111", examples=False)
    rows = [line for line in claim_lines(terminal(tmp_path / "runs")) if line[0] == "magnitude-beats-random"]
    assert [row[2:4] for row in rows] == [["after:0", "undecided"]]
    report.write(tmp_path / "runs", tmp_path / "out")
    assert "--method magnitude --method random --site after:0" in (tmp_path / "out" / "index.html").read_text()


def test_a_single_site_stands_in_the_title(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", methods=COMPARED, examples=False)
    lines = terminal(tmp_path / "runs")
    assert f"Claims, shallow, family {run.result().family}, site before:0" in [line.rstrip() for line in lines]
    assert not any("before:0" in line for line in claim_lines(lines))


def test_undecided_is_explained_under_the_table(two_sites: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "single", methods=COMPARED, examples=False)
    assert "undecided: fewer than 3 seeds" in "\n".join(terminal(tmp_path / "single"))


@pytest.mark.parametrize(("epochs", "said"), [(1, ", 1 epoch of fine-tuning"), (2, ", 2 epochs of fine-tuning")])
def test_one_epoch_is_not_epochs(epochs: int, said: str) -> None:
    assert str(Condition("before:0", None, epochs, 1000)).endswith(said)
    assert f"{said} at each ratio" in Group("f", "before:0", "", epochs, "fp32", "cpu").describe()
