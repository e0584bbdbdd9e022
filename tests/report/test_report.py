"""What `report` writes: the numbers of the runs, every verdict, and a page that needs nothing but itself."""

import csv
import html.parser
import io
import json
import re
import resource
import shutil
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.factories import make_prune, make_run, rewrite, without_speeds
from tokenprune import report, statistics
from tokenprune.drawing.numbers import Interval, over_seeds
from tokenprune.drawing.picture import greyed
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.experiments.series import curves, measured
from tokenprune.report import build
from tokenprune.report.collect import collect

RATIOS = (1.0, 0.7, 0.3)


def curve(top: float, loss: float) -> dict[float, float]:
    return {ratio: round(top - loss * (1 - ratio), 3) for ratio in RATIOS}


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Depth 1: three seeds where magnitude clearly loses to random. Depth 6: one seed, which decides nothing."""
    folder = tmp_path_factory.mktemp("work") / "runs"
    for depth, seeds in ((1, 3), (6, 1)):
        for seed in range(seeds):
            top = 0.6 + 0.02 * depth + 0.005 * seed
            methods = {
                "magnitude": curve(top, 0.4),
                "random": curve(top, 0.1),
                "oracle": curve(top, 0.05 + 0.01 * seed),
            }
            make_run(folder, depth=depth, seed=seed, accuracy=top, methods=methods)
    return folder


@pytest.fixture(scope="module")
def written(runs_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[report.Report, Path]:
    out = tmp_path_factory.mktemp("out") / "report"
    return report.write(runs_dir, out), out


class Page(html.parser.HTMLParser):
    """Text, loads and unbalanced tags of a page."""

    VOID = ("meta", "link", "br", "img", "hr", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.classes: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action") and value:
                self.loads.append(value)
            if name == "id" and value:
                self.ids.append(value)
            if name == "class" and value:
                self.classes.append(value)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_points_csv_holds_the_numbers_of_every_prune(runs_dir: Path, written: tuple[report.Report, Path]) -> None:
    points = rows(written[1] / "points.csv")
    expected = {}
    for path in runs_dir.glob("*/prune/*/result.json"):
        for point in json.loads(path.read_text())["points"]:
            expected[path.parts[-4], path.parts[-2], point["keep_ratio"], point["seed"]] = point
    assert len(points) == len(expected)
    for row in points:
        draw = int(row["draw"]) if row["draw"] else None
        point = expected[row["run"], row["prune"], float(row["keep_ratio"]), draw]
        for key in ("accuracy", "low", "high", "difference", "mcnemar_p", "flops", "speedup", "kept_relevance"):
            assert float(row[key]) == point[key]
        assert (int(row["lost"]), int(row["gained"])) == (point["lost"], point["gained"])
        assert [float(part) for part in row["realised"].split(";")] == point["realised"]


def test_report_json_is_as_json_and_holds_all_runs_and_verdicts(written: tuple[report.Report, Path]) -> None:
    found, out = written
    data = json.loads((out / "report.json").read_text())
    assert data == json.loads(json.dumps(report.as_json(found)))
    assert data["schema_version"] == 1
    assert {run["run"]: run["test_accuracy"] for run in data["runs"]} == {
        run.folder.name: run.result.test_accuracy for run in found.runs
    }
    assert len(data["claims"]) == len(found.verdicts) == len(rows(out / "claims.csv"))
    assert [environment["device"] for environment in data["environments"]] == ["cpu"]
    assert sum(len(environment["runs"]) for environment in data["environments"]) == len(rows(out / "runs.csv")) == 4


def test_seeds_are_the_replicates_of_a_band_and_one_seed_has_its_own_interval(
    written: tuple[report.Report, Path],
) -> None:
    shallow, deep = curves(measured(written[0].runs))[0].panels
    mark = next(line for line in shallow.lines if line.name == "random").marks[-1]
    mean, low, high = statistics.mean_interval([0.62 - 0.07, 0.625 - 0.07, 0.63 - 0.07])
    assert (mark.seeds, mark.draws) == (3, 3)
    assert (mark.accuracy.value, mark.accuracy.low, mark.accuracy.high) == pytest.approx((mean, low, high))
    single = next(line for line in deep.lines if line.name == "magnitude").marks[-1]
    assert (single.accuracy.low, single.accuracy.high) == pytest.approx(statistics.wilson(440, 1000))


def test_an_interval_over_seeds_stays_within_what_is_possible() -> None:
    assert over_seeds([0.1, 0.3]) == Interval(pytest.approx(0.2), 0.0, 1.0)
    assert over_seeds([-0.1, 0.1], least=-1.0) == Interval(0.0, -1.0, 1.0)
    assert over_seeds([0.5], (0.4, 0.6)) == Interval(0.5, 0.4, 0.6)


def test_page_loads_nothing_and_its_tags_balance(written: tuple[report.Report, Path]) -> None:
    text = (written[1] / "index.html").read_text()
    page = Page(text)
    assert page.open == page.unbalanced == []
    assert [load for load in page.loads if not load.startswith(("#", "data:image/png"))] == []
    assert not re.search(r"<script[^>]*src=|@import|url\((?!#)", text)
    assert len(set(page.ids)) == len(page.ids)
    references = {load[1:] for load in page.loads if load.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert references <= set(page.ids)


def test_page_shows_every_claim_with_its_verdict(written: tuple[report.Report, Path]) -> None:
    found, out = written
    text = (out / "index.html").read_text()
    page = Page(text)
    verdicts = [verdict.verdict for verdict in found.verdicts]
    assert {"refuted", "undecided", "supported"} <= set(verdicts)
    for kind in ("refuted", "undecided", "supported"):
        assert page.classes.count(f"verdict {kind}") == verdicts.count(kind)
    for verdict in found.verdicts:
        assert verdict.statement in page.text
        if verdict.verdict == "undecided" and verdict.todo:
            assert verdict.todo in page.text


def test_figures_are_whole_and_name_their_methods(written: tuple[report.Report, Path]) -> None:
    figures = written[1] / "figures"
    names = sorted(path.stem for path in figures.glob("*.svg"))
    assert names == sorted(path.stem for path in figures.glob("*.png"))
    kinds = ["accuracy", "attention", "claims-matrix", "compute", "kept-relevance", "mosaic", "mosaic"]
    assert [re.split(r"-[0-9a-f]{8}", name)[0] for name in names] == kinds
    for name in names:
        content = (figures / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert content.endswith(b"IEND\xaeB`\x82")
        svg = xml.etree.ElementTree.parse(figures / f"{name}.svg")
        words = {element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")}
        expected = {"attention": {"first block", "last"}, "claims": {"depth 1", "depth 6", "attention-concentrates"}}
        assert expected.get(name.partition("-")[0], {"magnitude", "oracle", "random"}) <= words


def test_the_same_runs_give_the_same_bytes(runs_dir: Path, written: tuple[report.Report, Path], tmp_path: Path) -> None:
    report.write(runs_dir, tmp_path)
    first = {path.relative_to(written[1]): path.read_bytes() for path in written[1].rglob("*") if path.is_file()}
    second = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert first == second


def test_figures_of_an_earlier_report_go_and_a_users_own_stay(runs_dir: Path, tmp_path: Path) -> None:
    report.write(runs_dir, tmp_path)
    figures = tmp_path / "figures"
    deep = {path.name for path in figures.glob("mosaic-*-depth-6.*")}
    assert len(deep) == 2
    own = {"accuracy-mine.svg", "accuracy-mine.png", "notes.txt"}
    for name in own:
        (figures / name).write_text("mine")
    shallow = [run.folder.name for run in collect(runs_dir).runs if run.result.model.depth == 1]
    before = {path.name for path in figures.iterdir()}
    found = report.write(runs_dir, tmp_path, runs=shallow)
    after = {path.name for path in figures.iterdir()}
    assert before - after == deep
    assert after - own == {f"{name}.{kind}" for name in found.figures for kind in ("svg", "png")}


def test_an_earlier_report_stays_whole_where_a_new_one_cannot_be_written(runs_dir: Path, tmp_path: Path) -> None:
    shallow = [run.folder.name for run in collect(runs_dir).runs if run.result.model.depth == 1]
    report.write(runs_dir, tmp_path, runs=shallow)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before[tmp_path / "index.html"]), limit[1]))
    try:
        with pytest.raises(TokenpruneError, match=r"index\.html: could not be saved: File too large"):
            report.write(runs_dir, tmp_path)  # its page is larger, its other files are not
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["../outside", "a/../../../outside", 7])
def test_a_report_json_of_others_removes_nothing_elsewhere(tmp_path: Path, name: object) -> None:
    make_run(tmp_path / "runs")
    (tmp_path / "out" / "figures").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "out"):
        (folder / "outside.png").write_text("mine")
    (tmp_path / "out" / "report.json").write_text(json.dumps({"figures": [name]}))
    report.write(tmp_path / "runs", tmp_path / "out")
    assert (tmp_path / "outside.png").exists()
    assert (tmp_path / "out" / "outside.png").exists()


@pytest.mark.parametrize(("most", "said"), [(4, ["figures: only 4 of 5 figures of I3 are drawn"]), (5, [])])
def test_figures_that_are_not_drawn_are_named(
    runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, said: list[str]
) -> None:
    monkeypatch.setattr(build, "_MOST", most)
    found = report.write(runs_dir, tmp_path)
    assert [problem.partition(";")[0] for problem in found.problems] == said
    assert sum(name.startswith("mosaic-") for name in found.figures) == most - 3


def test_terminal_table_fits_80_columns_and_says_it_all(written: tuple[report.Report, Path]) -> None:
    found = written[0]
    console = Console(file=io.StringIO(), width=200, color_system=None)
    for part in report.table(found):
        console.print(part)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for run in found.runs:
        assert run.folder.name in text
    for verdict in found.verdicts:
        assert re.search(rf"{verdict.claim}\b", text)
    for word in ("refuted", "undecided", "magnitude", "44.0", "62.00"):
        assert word in text


def test_mosaic_greys_exactly_the_pruned_patches() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    kept = generator.random(64) < 0.5
    shown = greyed(image, kept)
    for patch in range(64):
        row, column = 4 * (patch // 8), 4 * (patch % 8)
        before, after = image[row : row + 4, column : column + 4], shown[row : row + 4, column : column + 4]
        if kept[patch]:
            assert np.array_equal(after, before)
        else:
            assert (after == after[:, :, :1]).all()
            assert after.max() - after.min() < 35
    with pytest.raises(ValueError, match="do not tile"):
        greyed(image, kept[:60])


def test_names_are_escaped(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", recipe="<b>&", methods={"magnitude": {1.0: 0.6, 0.5: 0.5}})
    report.write(tmp_path / "runs", tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text()
    page = Page(text)
    assert "<b>&" in page.text
    assert page.unbalanced == []
    assert "<b>&" not in text
    for path in (tmp_path / "out" / "figures").glob("*.svg"):
        xml.etree.ElementTree.parse(path)


def test_missing_numbers_are_dashes_and_null_never_zero(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", attention=None, relevant_share=None, methods={"magnitude": {1.0: 0.6, 0.5: 0.5}})
    path = next(run.path.glob("prune/*/result.json"))
    rewrite(path, without_speeds)
    found = report.write(tmp_path / "runs", tmp_path / "out")
    assert [row["speedup"] for row in rows(tmp_path / "out" / "points.csv")] == ["", ""]
    assert [point["kept_relevance"] for point in report.as_json(found)["points"]] == [None, None]
    cells = re.findall(r"<td>([^<]*)</td>", (tmp_path / "out" / "index.html").read_text())
    assert cells.count("–") == 2 * 3  # relevance, measured speed-up, images/s at two ratios
    names = {path.name.partition("-")[0] for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert names == {"accuracy", "claims", "compute", "mosaic"}


def test_runs_without_prunes_make_a_report_that_says_so(tmp_path: Path) -> None:
    make_run(tmp_path / "runs")
    found = report.write(tmp_path / "runs", tmp_path / "out")
    assert measured(found.runs) == []
    assert "tokenprune prune" in Page((tmp_path / "out" / "index.html").read_text()).text
    names = {path.name.partition("-")[0] for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert names == {"attention", "claims"}
    assert (tmp_path / "out" / "points.csv").read_text() == ""


def test_damaged_things_are_named_and_left_out(runs_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(runs_dir, tmp_path / "runs")
    whole, cut, torn, *_ = sorted((tmp_path / "runs").iterdir())
    (cut / "result.json").write_text('{"name": ')
    next(torn.glob("prune/magnitude-*/result.json")).unlink()
    for path in whole.glob("prune/*/examples.npz"):
        path.write_bytes(path.read_bytes()[:100])
    make_run(tmp_path / "runs", seed=7, finished=False)
    found = report.write(tmp_path / "runs", tmp_path / "out")
    assert cut.name not in {run.folder.name for run in found.runs}
    assert {m.prune.method for m in measured(found.runs) if m.folder == torn.name} == {"random", "oracle"}
    text = "\n".join(found.problems)
    for name in (f"{cut.name}/result.json", f"{torn.name}/prune/magnitude", f"{whole.name}/prune", "not finished"):
        assert name in text
    page = Page((tmp_path / "out" / "index.html").read_text())
    assert all(problem in page.text for problem in found.problems)


def test_curves_never_mix_sites_precisions_or_options(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", depth=2, methods={"magnitude": {1.0: 0.6, 0.5: 0.5}})
    make_prune(run, "magnitude", {1.0: 0.6, 0.5: 0.3}, site="after:0")
    make_prune(run, "magnitude", {1.0: 0.6, 0.5: 0.4}, precision="bf16")
    make_prune(run, "magnitude", {1.0: 0.6, 0.5: 0.2}, options={"power": 2})
    found = collect(tmp_path / "runs")
    seen = {
        (c.conditions.site, c.conditions.precision, line.name): [mark.accuracy.value for mark in line.marks]
        for c in curves(measured(found.runs))
        for line in c.panels[0].lines
    }
    assert seen == {
        ("before:0", "fp32", "magnitude"): [0.6, 0.5],
        ("before:0", "fp32", "magnitude (power=2)"): [0.6, 0.2],
        ("before:0", "bf16", "magnitude"): [0.6, 0.4],
        ("after:0", "fp32", "magnitude"): [0.6, 0.3],
    }


def test_only_the_named_runs_are_reported(runs_dir: Path, tmp_path: Path) -> None:
    name = min(path.name for path in runs_dir.iterdir())
    assert [run.folder.name for run in collect(runs_dir, [name]).runs] == [name]
    with pytest.raises(UsageError, match="did you mean 'shallow-"):
        report.write(runs_dir, tmp_path / "out", runs=[name[:-1]])


@pytest.mark.parametrize("make", [True, False])
def test_nothing_to_report_says_what_to_run(tmp_path: Path, make: bool) -> None:
    if make:
        (tmp_path / "runs").mkdir()
    with pytest.raises(TokenpruneError, match="tokenprune train --recipe quickstart"):
        report.write(tmp_path / "runs", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_shown_changes_no_statistic(tmp_path: Path) -> None:
    """Trends are adjusted over all sites and methods that were measured, as verdicts are."""
    for depth in (2, 3, 4):
        for seed in range(3):
            run = make_run(tmp_path, depth=depth, seed=seed, examples=False)
            for place, site in enumerate(("before:0", "before:1", "after:0")):
                gain = 0.01 * depth * (1 + place) + 0.004 * seed
                make_prune(run, "magnitude", {1.0: 0.6, 0.5: 0.4 + gain}, site=site, examples=False)
                make_prune(run, "random", {1.0: 0.6, 0.5: 0.4}, site=site, examples=False)
    every, chosen = collect(tmp_path), collect(tmp_path, sites=["before:1"])
    shown = {(trend.claim, trend.site): trend for trend in chosen.trends}
    assert ("magnitude-beats-random", "before:1") in shown
    assert {site for _, site in shown} == {"before:1", None}
    assert all(trend in every.trends for trend in chosen.trends)
    assert all(verdict in every.verdicts for verdict in chosen.verdicts)


def test_json_holds_the_tables_of_experiments(written: tuple[report.Report, Path]) -> None:
    _, out = written
    tables = json.loads((out / "report.json").read_text())["tables"]
    (table,) = (each for each in tables if each["experiment"] == "I3")
    row = dict(zip(table["columns"], table["rows"][0], strict=True))
    assert (row["depth"], row["method"], row["n"]) == (1, "oracle", 3)
    assert row["0.3"]["value"] == pytest.approx(np.mean([0.62 - 0.035, 0.625 - 0.042, 0.63 - 0.049]), abs=1e-3)
