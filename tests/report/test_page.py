"""The page of a report on every experiment: cells lead to what is behind them; what was published says so."""

import csv
import html
import io
import json
import re
from pathlib import Path

import pytest

from tests.factories import make_run, reseal
from tokenprune import report
from tokenprune.report.collect import collect
from tokenprune.report.commands import Commands
from tokenprune.runs import RunFolder

GROUPS = {"airplane, scenery": 0.6, "airplane, plants": 0.8, "bird, plants": 0.9, "bird, scenery": 0.7}
HOSTILE = "<b>'x\"&"


def train(runs_dir: Path, seed: int, *overrides: str, **facts: object) -> RunFolder:
    run = make_run(runs_dir, recipe=HOSTILE, seed=seed, examples=False, epochs=1, overrides=overrides, **facts)  # type: ignore[arg-type]
    environment = json.loads(run.environment.read_text())
    run.environment.write_text(json.dumps(environment | {"command": ["t", "sweep", "all", "--resume"]}))
    reseal(run)
    return run


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[report.Report, Path]:
    """Three seeds of every experiment's settings, at depth 1."""
    folder = tmp_path_factory.mktemp("work")
    runs = folder / "runs"
    curves = {"magnitude": {1.0: 0.6, 0.5: 0.58}, "random": {1.0: 0.6, 0.5: 0.5}}
    oracle = ("pruner.name=oracle", "pruner.keep_ratio=0.6")
    for seed in range(3):
        off = 0.004 * seed
        for size in (256, 1024):
            few = f"data.train_size={size}"
            more = 0.3 * (size > 256)
            methods = curves if size > 256 else None
            train(runs, seed, few, accuracy=0.3 + more + off, methods=methods)
            train(runs, seed, few, *oracle, accuracy=0.4 + more - off, kept_relevance=0.95)
        train(runs, seed, "data.scene=spurious", accuracy=0.7 + off, groups=GROUPS)
        train(runs, seed, "data.scene=spurious", *oracle, accuracy=0.8, kept_relevance=0.95, groups=GROUPS)
        train(runs, seed, "data.noise_tokens=0.5", accuracy=0.5 + off)
        train(runs, seed, "data.noise_tokens=0.5", *oracle, accuracy=0.6, kept_relevance=0.7)
        train(runs, seed, "data.train_size=1024", "start.source=cifar100", accuracy=0.7 + off)
    return report.write(runs, folder / "out"), folder / "out"


def test_every_experiment_has_its_figure_and_the_matrix_is_the_first(written: tuple[report.Report, Path]) -> None:
    figures = written[0].figures
    assert figures[0] == "claims-matrix"
    kinds = {re.split(r"-[0-9a-f]{8}", name)[0] for name in figures[1:]}
    assert kinds >= {"samples", "sparsified", "spurious", "starts", "noise", "accuracy", "attention"}
    text = (written[1] / "index.html").read_text()
    order = [text.index(f'<section id="I{number}"') for number in range(1, 8)]
    assert order == sorted(order)
    assert text.index('class="claims"') < order[0]


def test_conclusion_and_models_stand_above_the_matrix(written: tuple[report.Report, Path]) -> None:
    text = (written[1] / "index.html").read_text()
    above = text.partition('class="claims"')[0]
    assert above.count('<p class="conclusion">') == 3
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", above)
    cells = {images: re.findall(r"<td>(.*?)</td>", row) for images, row in rows}
    assert cells["spurious"][:3] == ["1", "3", "70.0 to 70.8"]
    shown = {cell.p for row in written[0].matrix.rows for cell in row.cells if cell and cell.p}
    assert set(map(html.unescape, re.findall(r"<small>p (.*?)</small>", text))) == shown != set()


def test_every_cell_leads_to_its_sentence_figure_runs_and_commands(written: tuple[report.Report, Path]) -> None:
    found, out = written
    text = (out / "index.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)
    cells = [cell for row in found.matrix.rows for cell in row.cells if cell]
    for cell in cells:
        part = text.partition(f'<div class="cell" id="{cell.anchor}">')[2].partition("\n</div>")[0]
        assert f'href="#{cell.anchor}"' in text
        if cell.judged.effect is not None:
            assert f"{100 * cell.judged.effect:+.1f} points".replace("+0.0", "0.0") in html.unescape(part)
            assert re.search(r'<a href="#(samples|sparsified|accuracy|attention|spurious|starts|noise)-', part)
        read = {name.partition("/")[0] for name in cell.judged.evidence}
        settings = {study.setting for study in found.studies if read.intersection(study.folders)}
        assert {f"setting-{name}" for name in settings} <= set(re.findall(r'href="#([^"]+)"', part))
    assert text.count("tokenprune sweep all\n") >= sum(bool(cell.judged.evidence) for cell in cells)


def test_no_published_number_stands_without_its_mark(written: tuple[report.Report, Path]) -> None:
    found, out = written
    text = html.unescape((out / "index.html").read_text())
    table = text.partition('<table class="claims">')[2].partition("</table>")[0]
    assert re.findall(r'<th scope="col" class="word">(\w+)', table)[-1] == "Paper"  # the verdicts stand first
    said = re.findall(r'<span class="said">(.*?)<small>(.*?)</small></span>', table)
    claims = {row.claim.id: row.claim for row in found.matrix.rows}
    marks = [each.mark for claim in claims.values() for each in claim.published]
    assert sorted(mark.removeprefix("published: ").split(",")[0] for _, mark in said) == sorted(
        mark.split(",")[0] for mark in marks
    )
    assert "N ≥ Ω(α*⁻²)" in dict(said)
    for number in ("0.874", "0.935"):
        for place in re.finditer(re.escape(number), table):
            assert "slides" in table[place.start() : place.start() + 200]


def test_names_are_escaped_everywhere(written: tuple[report.Report, Path]) -> None:
    text = (written[1] / "index.html").read_text()
    assert HOSTILE not in text
    assert "<b>&" not in text
    assert html.escape(HOSTILE, quote=True).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in text


def test_files_hold_trends(written: tuple[report.Report, Path]) -> None:
    found, out = written
    rows = list(csv.DictReader(io.StringIO((out / "claims.csv").read_text())))
    data = json.loads((out / "report.json").read_text())
    assert [row["experiment"] for row in rows] == [verdict.experiment for verdict in found.verdicts]
    assert {row["title"] for row in rows} == {"composite", "spurious", "composite, noise tokens 0.5"}
    assert {"published", "trend_slope", "trend_low", "trend_high", "trend_p"} <= set(rows[0])
    assert [trend["claim"] for trend in data["trends"]] == [trend.claim for trend in found.trends]


def test_commands_of_seeds_are_one_loop_and_a_sweep_stands_before_its_runs(tmp_path: Path) -> None:
    for seed in range(3):
        run = make_run(tmp_path / "runs", seed=seed, methods={"magnitude": {1.0: 0.6, 0.5: 0.5}}, examples=False)
        words = ["tokenprune", "train", "--recipe", "shallow", "--seed", str(seed), "--data-dir", "mine"]
        if seed == 2:
            words = ["tokenprune", "sweep", "depth", "--resume", "--data-dir", "mine"]
        environment = json.loads(run.environment.read_text())
        run.environment.write_text(json.dumps(environment | {"command": words}))
        reseal(run)
    found = collect(tmp_path / "runs")
    base = found.runs[0].folder.name.removesuffix("0")
    evidence = [
        name
        for run in found.runs
        for name in (run.folder.name, *(f"{run.folder.name}/prune/{path.name}" for path, _ in run.prunes))
    ]
    lines = Commands(found).of(evidence).splitlines()
    assert lines[:2] == ["tokenprune sweep depth --data-dir mine", "# the sweep, or run by run:"]
    assert lines[2] == "for seed in 0 1; do tokenprune train --recipe shallow --seed $seed --data-dir mine; done"
    assert lines[3].startswith("tokenprune train --recipe ")
    assert "--seed 2" in lines[3]
    assert all("--data-dir mine" in line for line in lines[2:])
    assert all(f"--runs-dir {tmp_path / 'runs'}" in line for line in lines[3:])
    assert lines[4].startswith(f"for seed in 0 1 2; do tokenprune prune --run {base}$seed --method magnitude ")
    assert len(lines) == 5
