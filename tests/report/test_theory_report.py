"""theory.html: the numbers of the laboratory's runs, every verdict, and a page of its own."""

import csv
import json
import re
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests import theory_factories as made
from tests.claims.test_theory_spatial import spatial
from tests.cli.run_command import run
from tests.factories import make_run
from tests.report.test_report import Page, rows
from tokenprune import report
from tokenprune.claims.published import ATTENTION, PHASE_VIT
from tokenprune.claims.theory.scaling import published_fit
from tokenprune.claims.theory.study import DEFAULT, label
from tokenprune.drawing.numbers import pretty
from tokenprune.errors import UsageError
from tokenprune.experiments.theory import series
from tokenprune.report.laboratory import collect

VALUES, SAMPLES = [4, 8, 12], [50, 100, 200, 400, 800]
GRID = {"values": VALUES, "samples": SAMPLES, "trials": 8}
ROUND = (0, 20, 40, 60)


def grid(axis: str = "alpha", **changed: object) -> dict:
    return {**GRID, "axis": axis, **changed}


def rising(trials: int = 4) -> list[list[float]]:
    return [[0.5 + 0.01 * trial, 0.6, 0.7, 0.8 + 0.01 * trial] for trial in range(trials)]


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every experiment; N50 = 25 alpha_*^-2, so an exponent of 2; two seeds of the default, two further settings."""
    folder = tmp_path_factory.mktemp("work") / "runs"
    quadratic = {"n50": lambda value: 25 * value, "name": "complexity"}
    for seed in (0, 1):
        made.save(folder, made.phase(**quadratic, seed=seed, grid=grid()))
    made.save(folder, made.phase(**quadratic, grid=grid(), train={"batch_size": 8}))
    made.save(folder, made.phase(**quadratic, grid=grid(), train={"step_size": 0.6}))
    made.save(folder, made.phase(lambda value: 2 * value**2, grid=grid(), model={"kind": "cnn"}, name="complexity"))
    noise = grid("noise", values=[0.0, 0.4, 0.8], trials=4)
    made.save(folder, made.phase(lambda tau: (0.1 - 0.05 * tau) ** -2, grid=noise, name="phase-noise"))
    made.save(folder, made.phase(lambda _: 200.0, grid=grid("confusion", values=[0, 0.1], trials=2), name="confusion"))
    made.save(folder, made.attention(rising(), ROUND))
    made.save(folder, made.attention(rising(), ROUND, train={"step_size": 0.3}))
    counts = {"none": [0, 1, 3], "random": [0, 1, 3], "irrelevant": [1, 3, 4], "noisy": [3, 2, 0]}
    made.save(folder, made.sparsify(counts, trials=4, samples=[100, 200, 400]))
    spec = {"values": [0.25, 0.5], "step_sizes": [0.3, 0.6], "trials": 3}
    made.save(folder, made.time(lambda eta, alpha: [round(10 / eta / alpha)] * 3, convergence=spec))
    made.save(folder, spatial(40, 300))
    return folder


@pytest.fixture(scope="module")
def written(runs_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[report.Report, Path]:
    out = tmp_path_factory.mktemp("out") / "report"
    return report.write(runs_dir, out), out


def test_a_laboratory_alone_makes_its_own_page_and_no_other(written: tuple[report.Report, Path]) -> None:
    found, out = written
    assert {path.name for path in out.iterdir()} == {
        ".lock",
        "claims.csv",
        "theory.html",
        "theory.csv",
        "report.json",
        "figures",
    }
    assert found.problems == ()
    page = Page((out / "theory.html").read_text())
    assert page.open == page.unbalanced == []
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.loads)
    names = {path.stem for path in (out / "figures").iterdir()}
    wanted = "phase-alpha phase-alpha-cnn phase-noise phase-confusion exponents attention removal"
    assert names == {f"theory-{name}" for name in [*wanted.split(), "removal-samples", "time", "spatial"]}
    assert names <= set(page.ids)
    for path in (out / "figures").glob("*.svg"):
        xml.etree.ElementTree.parse(path)


def test_csv_holds_the_pooled_counts_of_every_cell(runs_dir: Path, written: tuple[report.Report, Path]) -> None:
    chosen = [
        row
        for row in rows(written[1] / "theory.csv")
        if (row["recipe"], row["kind"], row["quantity"]) == ("complexity", "vit", "success rate")
        and row["differs"] == DEFAULT
    ]
    tables = []
    for path in runs_dir.glob("theory/complexity-*/result.json"):
        record = json.loads(path.read_text())
        if record["recipe"]["model"]["kind"] == "vit" and record["setting"] == chosen[0]["setting"]:
            tables.append(np.array(record["loss"]) < record["recipe"]["grid"]["success"])
    counts = np.concatenate(tables, axis=2).sum(2)
    assert len(tables) == 2
    assert len(chosen) == counts.size
    for row in chosen:
        assert int(row["successes"]) == counts[VALUES.index(int(float(row["x"]))), SAMPLES.index(int(row["n"]))]
        assert int(row["trials"]) == 16
        assert float(row["value"]) == int(row["successes"]) / 16


def test_fitted_boundaries_are_those_the_counts_were_drawn_from(written: tuple[report.Report, Path]) -> None:
    found = {
        (row["recipe"], row["kind"], row["differs"], float(row["x"])): float(row["value"])
        for row in rows(written[1] / "theory.csv")
        if row["quantity"] == "n50, joint fit" and row["value"]
    }
    for value in VALUES:
        assert found["complexity", "vit", DEFAULT, value] == pytest.approx(25 * value, rel=0.3)
        assert found["complexity", "cnn", DEFAULT, value] == pytest.approx(2 * value**2, rel=0.5)
    times = [row for row in rows(written[1] / "theory.csv") if row["experiment"] == "time"]
    for row in times:
        assert float(row["value"]) == round(10 / float(row["series"].removeprefix("eta ")) / float(row["x"]))


def test_json_holds_every_verdict_and_point(written: tuple[report.Report, Path]) -> None:
    found, out = written
    data = json.loads((out / "report.json").read_text())
    theory = data["theory"]
    assert [claim["claim"] for claim in data["claims"]] == [v.claim for v in found.laboratory.verdicts]
    assert len(theory["points"]) == len(rows(out / "theory.csv"))
    assert {record["run"] for record in theory["runs"]} == {folder.name for folder, _ in found.laboratory.runs}
    assert theory["published"]["law"]["estimate"] == pytest.approx(5.59, abs=0.02)
    effects = {(v.setting, v.claim): v.effect for v in found.laboratory.verdicts if v.variant is None}
    for record in theory["analyses"]:
        analysis = record["analysis"]
        if (record["setting"], "theory-alpha") in effects:
            assert analysis["law"]["estimate"] == effects[record["setting"], "theory-alpha"]
            assert "samples" not in analysis["law"]
        if record["experiment"] == "spatial":
            assert analysis["law"]["estimate"] == effects[record["setting"], "theory-spatial-transfer"]
    assert {record["experiment"] for record in theory["analyses"]} == {
        "phase",
        "attention",
        "sparsify",
        "time",
        "spatial",
    }


def test_a_setting_is_named_by_what_differs_and_the_default_is_first(written: tuple[report.Report, Path]) -> None:
    shown = written[0].laboratory.matrix
    labels: dict[str, list[str]] = {}
    for row in shown.rows:
        labels.setdefault(f"{row.claim.experiment} {row.where or ''}".strip(), []).append(row.data)
    # Half of 1.2 for phase diagrams and half of 0.6 for attention are one setting.
    assert labels["T1"] == [DEFAULT, "half the step size", "batch 8"]
    assert labels["T4"] == [DEFAULT, "half the step size"]
    said = {(row.claim.id, row.where, cell.judged.verdict) for row in shown.rows for cell in row.cells if cell}
    assert said == {(v.claim, v.variant, v.verdict) for v in written[0].laboratory.verdicts}
    assert all(len(row.cells) == 1 for row in shown.rows)


def test_how_models_are_judged_is_part_of_a_setting_but_the_grid_is_not() -> None:
    base = made.phase(lambda _: 200.0, grid=grid()).recipe
    assert label(base) == DEFAULT
    assert label(made.phase(lambda _: 200.0, grid=grid(success=1e-2)).recipe) == "success at 0.01"
    assert label(made.phase(lambda _: 200.0, grid=grid(), model={"kind": "cnn", "neurons": 200}).recipe) == "m = 200"
    assert label(made.attention(rising(), ROUND, curve={"test_samples": 400}).recipe) == "400 test samples"


def test_every_verdict_stands_in_the_page_with_its_colour(written: tuple[report.Report, Path]) -> None:
    found, out = written
    page = Page((out / "theory.html").read_text())
    for outcome in ("supported", "refuted", "undecided"):
        told = sum(verdict.verdict == outcome for verdict in found.laboratory.verdicts)
        assert page.classes.count(f"verdict {outcome}") == told
    assert "the interval is wholly above 0" in page.text or "too uncertain" in page.text


def test_the_published_diagram_stands_beside_one_on_its_grid(tmp_path: Path) -> None:
    own = {"axis": "alpha", "values": [*PHASE_VIT.values], "samples": [*PHASE_VIT.samples], "trials": 2}
    counts = [[min(2, count // 10) for count in column] for column in PHASE_VIT.successes]
    made.save(tmp_path / "runs", made.phase(counts=counts, grid=own))
    report.write(tmp_path / "runs", tmp_path / "out")
    row = [count[0] for count in PHASE_VIT.successes]  # N = 40
    text = (tmp_path / "out" / "theory.html").read_text()
    table = text[text.index("successes, published") :]
    cells = re.search(r'<th scope="row">40</th>((?:<td[^>]*>\d+</td>)+)', table)
    assert cells is not None
    assert [int(cell) for cell in re.findall(r'class="published">(\d+)<', cells[1])] == row
    assert "published (slides, exact)" in (tmp_path / "out" / "figures" / "theory-phase-alpha.svg").read_text()
    given = [point for point in rows(tmp_path / "out" / "theory.csv") if point["quantity"] == "success rate"]
    assert sum(float(point["published"]) for point in given) * 20 == pytest.approx(sum(map(sum, PHASE_VIT.successes)))


def test_both_kinds_of_runs_make_two_pages_that_lead_to_each_other(runs_dir: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "runs")
    made.save(tmp_path / "runs", made.attention(rising(), ROUND))
    found = report.write(tmp_path / "runs", tmp_path / "out")
    index, theory = (Page((tmp_path / "out" / name).read_text()) for name in ("index.html", "theory.html"))
    assert "theory.html" in index.loads
    assert "index.html" in theory.loads
    assert not any(name.startswith("theory-") for name in index.ids)
    assert "theory-attention" in theory.ids
    alone = report.write(tmp_path / "runs", tmp_path / "out", runs=[found.runs[0].folder.name])
    assert not alone.laboratory
    assert {path.name for path in (tmp_path / "out").iterdir()}.isdisjoint({"theory.html", "theory.csv"})
    assert not list((tmp_path / "out" / "figures").glob("theory-*"))
    assert "theory.html" not in Page((tmp_path / "out" / "index.html").read_text()).loads
    named = report.write(tmp_path / "runs", tmp_path / "out", runs=[found.laboratory.runs[0][0].name])
    assert named.runs == ()
    assert not (tmp_path / "out" / "index.html").exists()
    with pytest.raises(UsageError, match="did you mean 'attention-"):
        report.write(tmp_path / "runs", tmp_path / "out", runs=["attention-0"])


def test_where_nothing_succeeded_or_everything_diverged_the_page_says_so(tmp_path: Path) -> None:
    lost = made.phase(counts=[[0] * 5] * 3, grid=grid(trials=2), name="complexity")
    nothing = (((None, None),) * 5,) * 3
    made.save(tmp_path / "runs", lost.model_copy(update={"loss": nothing, "error": nothing}))
    made.save(tmp_path / "runs", made.attention([[None] * 4] * 2, ROUND))
    made.save(tmp_path / "runs", made.sparsify({"none": [0, 0], "random": [0, 0]}, trials=1, samples=[100, 200]))
    spec = {"values": [0.25, 0.5], "step_sizes": [0.3], "trials": 1}
    made.save(tmp_path / "runs", made.time(lambda *_: [None], convergence=spec))
    found = report.write(tmp_path / "runs", tmp_path / "out")
    text = Page((tmp_path / "out" / "theory.html").read_text()).text
    assert {verdict.verdict for verdict in found.laboratory.verdicts} == {"undecided"}
    assert "&gt; 800" in (tmp_path / "out" / "theory.html").read_text()
    assert "30 models diverged: counted as failures" in text
    points = rows(tmp_path / "out" / "theory.csv")
    chosen = [point["value"] for point in points if point["experiment"] == "attention"]
    assert chosen[: len(ROUND)] == [""] * len(ROUND)


def test_n50_is_told_in_training_time_beside_itself(written: tuple[report.Report, Path]) -> None:
    """Batch 8 and half the step size halve eta / batch; their N50 are drawn from one law, so their times halve."""
    points = [row for row in rows(written[1] / "theory.csv") if (row["recipe"], row["kind"]) == ("complexity", "vit")]
    for differs, factor in ((DEFAULT, 0.3), ("batch 8", 0.15), ("half the step size", 0.15)):
        known = {row["quantity"]: float(row["value"]) for row in points if row["differs"] == differs and row["value"]}
        assert known["n50 eta epochs / batch"] == pytest.approx(factor * known["n50"])
    text = Page((written[1] / "theory.html").read_text()).text
    assert "ViT, α*⁻²: successes and N50, batch 8" in text
    assert "In one pass N is iterations times batch" in text


def test_the_exponent_stands_with_its_lapse_its_grid_and_the_published_one(
    written: tuple[report.Report, Path],
) -> None:
    text = Page((written[1] / "theory.html").read_text()).text
    table = text[text.index("How N50 scales") :]
    assert all(f"(N to {n})" in table for n in (800, 400, 200))
    assert re.search(r"published diagram \(slides, exact\)\s*g of N50 ~ α\*⁻ᵍ\s*20\s*5.59", table)
    (verdict,) = (v for v in written[0].laboratory.verdicts if v.claim == "theory-vit-beats-cnn")
    assert pretty(verdict.beside) in text


def test_the_published_line_ends_where_its_n_do() -> None:
    """N50 of the fit would be 9 at alpha_* = 0.5; the published grid starts at 40."""
    assert published_fit().n50(4.0) == pytest.approx(9, abs=1)
    assert series.published_law(4.0) is None
    assert series.published_law(14.0) == pytest.approx(published_fit().n50(14.0))


def test_an_axis_that_no_claim_reads_is_named_on_the_page_and_in_the_terminal(
    written: tuple[report.Report, Path],
) -> None:
    said = "No claim reads confusion: figures and numbers only."
    found, out = written
    assert said in Page((out / "theory.html").read_text()).text
    console = Console(width=80)
    with console.capture() as shown:
        for table in report.table(found):
            console.print(table)
    assert said in shown.get()


def test_confusion_has_the_fitted_line_of_noise(tmp_path: Path) -> None:
    spec = grid("confusion", values=[0.0, 0.1, 0.2], trials=20)
    made.save(tmp_path / "runs", made.phase(lambda x: (0.09 - 0.2 * x) ** -2, grid=spec, name="phase-confusion"))
    report.write(tmp_path / "runs", tmp_path / "out")
    assert (tmp_path / "out" / "figures" / "theory-phase-confusion.svg").exists()
    found = {
        float(row["x"]): row["value"] for row in rows(tmp_path / "out" / "theory.csv") if "joint" in row["quantity"]
    }
    for x, n50 in found.items():
        assert float(n50) == pytest.approx((0.09 - 0.2 * x) ** -2, rel=0.15)
    text = Page((tmp_path / "out" / "theory.html").read_text()).text
    assert "slope of 1/√N50 over α#" in text
    assert "No claim reads phase-confusion" in text


def test_models_that_diverged_are_told_where_they_are_drawn(tmp_path: Path) -> None:
    curve = made.attention(rising(4), ROUND)
    loss = (*curve.loss[:3], (1.0, 1.0, None, None))
    made.save(tmp_path / "runs", curve.model_copy(update={"loss": loss}))
    made.save(tmp_path / "runs", made.sparsify({"none": [1, 3], "random": [2, 4]}, trials=4, samples=[100, 200]))
    spec = {"values": [0.25, 0.5, 0.75], "step_sizes": [0.3], "trials": 1}
    lost = made.time(lambda *_: [None], convergence=spec)
    made.save(tmp_path / "runs", lost.model_copy(update={"diverged": 2}))
    report.write(tmp_path / "runs", tmp_path / "out")
    text = Page((tmp_path / "out" / "theory.html").read_text()).text
    assert "1 model diverged: left out." in text
    assert "6 models diverged: counted as failures." in text
    assert "2 models diverged: counted as given up." in text
    points = rows(tmp_path / "out" / "theory.csv")
    first = next(point for point in points if point["quantity"] == "attention")
    assert (first["trials"], first["diverged"]) == ("3", "1")
    assert float(first["value"]) == pytest.approx(np.mean([0.5, 0.51, 0.52]))
    assert sum(int(point["diverged"] or 0) for point in points if point["quantity"] == "success rate") == 6


def test_what_is_not_reproduced_of_the_published_removal_is_said(tmp_path: Path) -> None:
    result = made.sparsify({"none": [1, 3], "noisy": [2, 4], "irrelevant": [2, 4]}, trials=4, samples=[100, 200])
    ends = {"noisy": (0.52, 0.57), "irrelevant": (0.11, 0.001)}
    loss = {
        method: tuple((first + (last - first) * removed / 20,) * 4 for removed in result.removed)
        for method, (first, last) in ends.items()
    }
    made.save(tmp_path / "runs", result.model_copy(update={"loss": loss}))
    made.save(
        tmp_path / "runs",
        made.sparsify({"none": [1, 3], "noisy": [2, 4]}, trials=4, samples=[100, 200], removed=[0, 5]),
    )
    report.write(tmp_path / "runs", tmp_path / "out")
    text = Page((tmp_path / "out" / "theory.html").read_text()).text
    assert "noisy 0.52 to 0.57 (0.105 to 0.031)" in text
    assert "Not reproduced: the fall of noisy; the loss before removal, 0.52 against 0.105." in text


def test_a_rate_that_is_not_identified_stands_without_a_number(tmp_path: Path) -> None:
    curves = [(0.56 + 0.2 / (1 + np.exp(-(np.arange(40) - 10 - w) / 2))).tolist() for w in (0, 1, 2)]
    made.save(tmp_path / "runs", made.attention(curves, range(0, 400, 10)))
    report.write(tmp_path / "runs", tmp_path / "out")
    text = Page((tmp_path / "out" / "theory.html").read_text()).text
    assert "The power of t is not identified." in text
    assert "p not identified; limit by 1/t 0.76" in text
    assert "Dotted: the limit that 1/t leads to on the second half, 0.76" in text


def test_damaged_results_are_named_and_the_rest_is_reported(tmp_path: Path) -> None:
    folder = made.save(tmp_path / "runs", made.attention(rising(), ROUND))
    made.save(tmp_path / "runs", made.attention(rising(), ROUND, train={"step_size": 0.6, "batch_size": 8}))
    (folder.path / "result.json").write_text("{")
    assert [study.label for study in collect(tmp_path / "runs").studies] == ["batch 8"]
    report.write(tmp_path / "runs", tmp_path / "out")
    page = Page((tmp_path / "out" / "theory.html").read_text())
    assert folder.name in page.text[page.text.index("Problems") :]


def test_terminal_table_fits_80_columns_and_strict_counts_the_laboratory(
    runs_dir: Path,
    written: tuple[report.Report, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console(width=80)
    with console.capture() as shown:
        for table in report.table(written[0]):
            console.print(table)
    lines = shown.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert all(verdict.experiment in shown.get() for verdict in written[0].laboratory.verdicts)

    falling = [[0.8, 0.7, 0.6, 0.5 + 0.01 * trial] for trial in range(4)]
    made.save(tmp_path / "runs", made.attention(falling, ROUND))
    monkeypatch.chdir(tmp_path)
    ended = run(capsys, "report", "--strict", "--csv")
    assert ended.status == 3
    assert ended.err.strip() == "written: report/theory.html"
    assert {row["experiment"] for row in csv.DictReader(ended.out.splitlines())} == {"attention"}


def test_symbols_are_raised_where_they_are_exponents_and_left_alone_elsewhere() -> None:
    assert pretty("N50 ~ alpha_*^-g, (Theta(1) - tau)^-2, N50^-1/2, eta^C") == "N50 ~ α*⁻ᵍ, (Θ(1) - τ)⁻², 1/√N50, η^C"
    assert pretty("beta, stage, 2^-3/4") == "beta, stage, 2^-3/4"


def test_settings_tell_what_is_chosen(written: tuple[report.Report, Path]) -> None:
    text = (written[1] / "theory.html").read_text()
    sources = re.findall(r'<th scope="row">(data.count|data.relevant)</th>.*?<td class="word">(chosen|)</td>', text)
    assert set(sources) == {("data.count", "chosen"), ("data.relevant", "")}


def test_what_is_not_reproduced_of_the_published_attention_is_said(tmp_path: Path) -> None:
    last = (int(ATTENTION.x[-1]), ATTENTION.y[-1])
    for name, off in (("far", 0.1), ("near", 0.01)):
        curve = [[0.5, last[1] - off], [0.5, last[1] - off + 0.001]]
        made.save(tmp_path / name, made.attention(curve, (0, last[0])))
        report.write(tmp_path / name, tmp_path / f"out-{name}")
        text = Page((tmp_path / f"out-{name}" / "theory.html").read_text()).text
        assert (f"Not reproduced: {last[1]:g} at iteration {last[0]} was published" in text) == (name == "far")
