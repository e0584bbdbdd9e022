"""Accuracy against latency as it is drawn, and on the page."""

import json
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.factories import make_latency, make_run
from tokenprune import report
from tokenprune.claims import read_runs, studies
from tokenprune.drawing.style import style
from tokenprune.experiments import EXPERIMENTS, latency

METHODS = {"magnitude": {1.0: 0.6, 0.5: 0.58, 0.25: 0.4}, "random": {1.0: 0.6, 0.5: 0.5}}
TIMES = {"magnitude": {0.5: [4, 10], 0.25: [3, 6]}, "random": {0.5: [4.5, 9]}}
NAME = "method-latency"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in (0, 1):
        run = make_run(tmp_path / "runs", depth=2, seed=seed, methods=METHODS)
        make_latency(run, TIMES, unpruned=[5, 11 + 2 * seed])
    return tmp_path / "runs"


def test_a_panel_a_batch_size_with_every_point_and_the_front_as_steps(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Figure] = []
    monkeypatch.setattr(latency, "render", lambda figure: (seen.append(figure), ("", b""))[1])
    (experiment,) = (each for each in EXPERIMENTS if each.number == "I9")
    found = studies(read_runs(runs)[0])
    with style():
        (drawing,) = (drawn for draw in experiment.figures(found, []) if (drawn := draw()).name.startswith(NAME))
    first, second = seen[0].axes
    assert [ax.get_title(loc="left") for ax in (first, second)] == ["batch 1", "batch 8"]
    lines = [[tuple(point) for point in line.get_xydata()] for line in second.lines]
    same = (12 / 11 + 12 / 13) / 2  # unpruned: 11 and 13 ms, brought to their mean
    assert [(pytest.approx(6 * same), pytest.approx(40)), (pytest.approx(10 * same), pytest.approx(58))] in [
        sorted(line) for line in lines
    ]
    assert [(pytest.approx(12), pytest.approx(60))] in lines
    steps = [*zip((6 * same, 9 * same, 10 * same, 12, 12), (40, 50, 58, 60, 60), strict=True)]  # random is on the front
    assert [(pytest.approx(x), pytest.approx(y)) for x, y in steps] in lines
    spreads = [segment.tolist() for lines in second.collections for segment in lines.get_segments()]
    assert [[pytest.approx(120 / 13), pytest.approx(58)], [pytest.approx(120 / 11), pytest.approx(58)]] in spreads
    assert "Batch 8: magnitude at 0.25, random at 0.5, magnitude at 0.5, unpruned at 1." in drawing.alt


def test_the_page_has_figure_and_table_also_where_methods_are_not_judged(runs: Path, tmp_path: Path) -> None:
    report.write(runs, tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text()
    assert f'<figure id="{NAME}-' in text
    assert "Latency of methods at depth 2" in text
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    tables = json.loads((tmp_path / "out" / "report.json").read_text())["tables"]
    (rows,) = (table["rows"] for table in tables if table["title"].startswith("Latency"))
    assert [row[:2] for row in rows] == [["unpruned", 1], ["magnitude", 0.5], ["magnitude", 0.25], ["random", 0.5]]
    for path in runs.glob("*/measure/*/result.json"):
        path.unlink()
    report.write(runs, tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text()
    assert NAME not in text
    assert "Latency of methods" not in text
    assert not list((tmp_path / "out" / "figures").glob(f"{NAME}*"))
