"""The matrix of claims: its rows, columns and signs; the same in the terminal and as a figure."""

import io
import re
import xml.etree.ElementTree
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from tests.factories import make_prune, make_run
from tests.report.judged import CLAIM, verdict
from tokenprune import report
from tokenprune.claims import Verdict, trends
from tokenprune.claims.accuracy import Condition
from tokenprune.claims.units import in_points
from tokenprune.drawing.style import style
from tokenprune.experiments.series import Conditions
from tokenprune.report.collect import collect
from tokenprune.report.conclusion import sentences
from tokenprune.report.matrix import SIGNS, Matrix, matrix
from tokenprune.report.matrix_figure import matrix_figure
from tokenprune.report.sections import in_short
from tokenprune.statistics import slope

DEPTHS = (1, 2, 4, 6, 8, 12)
CURVE = {1.0: 0.6, 0.5: 0.5}
COMPARED = {"magnitude": CURVE, "random": {1.0: 0.6, 0.5: 0.3}, "oracle": {1.0: 0.6, 0.5: 0.55}}


def matrix_of(verdicts: list[Verdict]) -> Matrix:
    return matrix(verdicts, trends(verdicts), [])


def every_claim() -> list[Verdict]:
    """Each claim at six depths, those of I3 at five sites as deep as there are blocks; outcomes in turn."""
    found = []
    for claim in CLAIM.values():
        sites: list[str | None] = [None]
        if claim.experiment == "I3":
            sites = ["input", "before:0", "before:1", "before:3", "before:5"]
        for site in sites:
            for depth in DEPTHS:
                if site is None or not site.startswith("before") or int(site[7:]) < depth:
                    outcome = tuple(SIGNS)[len(found) % 3]
                    wide = 0.5 if outcome == "undecided" else 0.001
                    effects = (-0.1243 - wide, -0.1243, -0.1243 + wide)
                    found.append(verdict(claim.id, depth, effects, site=site, outcome=outcome))
    return found


def terminal(parts: list[object]) -> list[str]:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    for part in parts:
        console.print(part)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def claim_lines(lines: list[str]) -> list[str]:
    first = next(i for i, line in enumerate(lines) if line.startswith("Claims by depth"))
    last = next(i for i, line in enumerate(lines) if line.startswith("Effects in points"))
    return [line.rstrip() for line in lines[first + 3 : last]]


def test_rows_are_claims_in_the_order_of_experiments_then_images_then_sites() -> None:
    shuffled = [
        verdict("attention-concentrates", data="spurious", family="fb222222"),
        verdict("magnitude-beats-random", 12, site="before:10"),
        verdict("magnitude-beats-random", 12, site="before:2"),
        verdict("magnitude-beats-random", 1, site="input"),
        verdict("attention-concentrates"),
        verdict("fewer-samples", 2),
    ]
    found = matrix_of(shuffled)
    assert found.depths == (1, 2, 12)
    rows = [(row.claim.experiment, row.data, row.where, [cell is not None for cell in row.cells]) for row in found.rows]
    assert rows == [
        ("I1", "composite", None, [False, True, False]),
        ("I3", "composite", "input", [True, False, False]),
        ("I3", "composite", "before:2", [False, False, True]),
        ("I3", "composite", "before:10", [False, False, True]),
        ("I4", "composite", None, [True, False, False]),
        ("I4", "spurious", None, [True, False, False]),
    ]
    assert [row.beside for row in found.rows] == [
        *[(), ("input",), ("before:2",), ("before:10",)],
        *[("composite",), ("spurious",)],
    ]
    assert set(found.silent) == set(CLAIM) - {v.claim for v in shuffled}


def test_every_verdict_has_a_cell_and_an_anchor_of_its_own() -> None:
    verdicts = every_claim()
    cells = [cell for row in matrix_of(verdicts).rows for cell in row.cells if cell]
    assert {id(cell.judged) for cell in cells} == {id(v) for v in verdicts}
    assert len({cell.anchor for cell in cells}) == len(verdicts)


def test_families_alike_are_told_apart_by_their_number_of_images(tmp_path: Path) -> None:
    for images in (256, 1024):
        make_run(tmp_path, overrides=[f"data.train_size={images}"], epochs=1, attention=None, relevant_share=None)
    studies = collect(tmp_path).studies
    verdicts = [
        verdict("sparsified-training-helps", family=study.family).model_copy(update={"setting": study.setting})
        for study in studies
    ]
    found = matrix(verdicts, [], studies)
    assert [row.beside for row in found.rows] == [("1,024 images",), ("256 images",)]


def test_the_trend_stands_in_the_row_whose_verdicts_it_is_of() -> None:
    verdicts = [
        verdict("attention-concentrates", depth, (0.1 * depth, 0.1 * depth + 0.005, 0.1 * depth + 0.01))
        for depth in (1, 2, 4)
    ]
    verdicts += [verdict("attention-concentrates", 1, data="spurious", family="fb222222")]
    rising, single = matrix_of(verdicts).rows
    fit = slope([0, 0, 0, 1, 1, 1, 2, 2, 2], [0.1, 0.105, 0.11, 0.2, 0.205, 0.21, 0.4, 0.405, 0.41])
    assert rising.trend is not None
    assert (rising.trend.slope, rising.trend.low) == pytest.approx((fit.slope, fit.low))
    assert (rising.direction, rising.slope) == ("rises", "+15.0")
    assert (single.direction, single.slope) == ("", "–")


def test_a_cell_of_the_figure_has_sign_effect_and_interval() -> None:
    verdicts = every_claim()
    found = matrix_of(verdicts)
    with style():
        drawing = matrix_figure(found)
    svg = xml.etree.ElementTree.fromstring(drawing.svg)
    words = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    points = [f"{sign} −12.4" for sign in SIGNS.values()]
    means = [SimpleNamespace(verdict=row.overall.verdict, unit=row.claim.unit) for row in found.rows if row.overall]
    assert [words.count(each) for each in points] == [
        sum(v.verdict == outcome and in_points(v.unit) for v in [*verdicts, *means]) for outcome in SIGNS
    ]
    intervals = {cell.interval for row in found.rows for cell in row.cells if cell and cell.judged.unit == "accuracy"}
    assert len(intervals) == 2
    assert sum(map(words.count, intervals)) >= sum(in_points(v.unit) for v in verdicts)
    assert sum(str(word).endswith("k −0.12") for word in words) == sum(
        v.unit == "exponent" for v in [*verdicts, *means]
    )
    for row in found.rows:
        thresholds = {
            (-0.005, None): " (above −0.5 points)",
            (-0.01, None): " (above −1.0 points)",
            (None, -0.01): " (below −1.0 points)",
            (None, 0.0): " (below 0)",
            (0.5, None): " (above +50.0 points)",
        }
        threshold = thresholds.get(row.claim.support, "")
        if row.claim.unit == "relative gap":
            threshold = " (relative gap below 0.01)"
        if row.claim.unit in ("rank correlation", "log amplitude", "log ratio", "ARI"):  # not in points
            threshold = f" ({row.claim.unit} {'below' if row.claim.support == (None, 0.0) else 'above'} 0)"
        assert row.claim.id + threshold in words
    for row in found.rows:
        assert row.claim.id in drawing.alt


def test_the_terminal_has_a_line_per_row_and_a_mark_per_verdict_in_80_columns(tmp_path: Path) -> None:
    make_run(tmp_path, attention=None, relevant_share=None)
    verdicts = every_claim()
    found = replace(collect(tmp_path), matrix=matrix_of(verdicts))
    lines = terminal(report.table(found))
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    rows = claim_lines(lines)
    for outcome, mark in (("supported", "*"), ("refuted", "!"), ("undecided", "?")):
        told = sum(len(re.findall(rf"−(?:12\.4|0\.124?){re.escape(mark)}", row)) for row in rows)
        assert told >= sum(v.verdict == outcome for v in verdicts)
    names = re.sub(r"-\n\s+", "-", "\n".join(re.split(r"\s+k?[−+]", row)[0] for row in rows))
    assert all(f"{claim.experiment} {claim.id}" in names for claim in CLAIM.values())


def test_more_depths_than_fit_make_a_second_table(tmp_path: Path) -> None:
    make_run(tmp_path, attention=None, relevant_share=None)
    verdicts = [verdict("attention-concentrates", depth) for depth in range(1, 9)]
    found = replace(collect(tmp_path), matrix=matrix_of(verdicts))
    lines = terminal(report.table(found))
    assert max(map(len, lines)) <= 80
    assert sum(line.count("+4.0*") for line in lines) == 8 + 1  # and the mean


def test_the_terminal_begins_with_the_claims_and_trends_have_signs_of_their_own(tmp_path: Path) -> None:
    make_run(tmp_path, attention=None, relevant_share=None)
    verdicts = [
        verdict("attention-concentrates", depth, (0.1 * depth, 0.1 * depth, 0.1 * depth + 0.01)) for depth in (1, 2, 4)
    ]
    verdicts += [
        verdict("fewer-samples", depth, (-0.1 * depth, -0.1 * depth, -0.1 * depth - 0.01)) for depth in (1, 2, 4)
    ]
    lines = terminal(report.table(replace(collect(tmp_path), matrix=matrix_of(verdicts))))
    assert lines[0].startswith("Claims by depth")
    falls, rises = claim_lines(lines)
    assert (falls.split()[-1], rises.split()[-1]) == ("k−0.15↘", "+15.0↗")  # an exponent, points
    assert (falls.count("*"), rises.count("*")) == (3, 4)  # the verdicts', and a mean
    assert "↗ or ↘ where its Holm-adjusted p is below 0.05" in " ".join(" ".join(lines).split())


@pytest.fixture
def two_sites(tmp_path: Path) -> Path:
    """All methods before block 0; after block 0 all but the oracle; before block 1 magnitude alone."""
    for seed in range(3):
        run = make_run(tmp_path / "runs", depth=2, seed=seed, methods=COMPARED, examples=False)
        for method in ("magnitude", "random"):
            make_prune(run, method, COMPARED[method], site="after:0", examples=False)
        make_prune(run, "magnitude", CURVE, site="before:1", examples=False)
    return tmp_path / "runs"


def test_what_was_not_compared_is_a_footnote(two_sites: Path) -> None:
    found = collect(two_sites)
    rows = {(row.claim.id, row.where) for row in found.matrix.rows}
    assert {row for row in rows if row[0] != "magnitude-keeps-relevant"} == {
        ("magnitude-beats-random", "before:0"),
        ("magnitude-beats-random", "after:0"),
        ("oracle-at-least-magnitude", "before:0"),
        ("removing-irrelevant-costs-little", "before:0"),
        ("oracle-beats-random", "before:0"),
        ("attention-concentrates", None),
    }
    lacks = "no run was measured with both"
    notes = (
        f"magnitude-beats-random at before:1 ({lacks} magnitude and random)",
        f"oracle-at-least-magnitude at after:0 and before:1 ({lacks} oracle and magnitude)",
        f"oracle-beats-random at after:0 ({lacks} oracle and random)",
    )
    assert found.matrix.left_out == notes
    assert "; ".join(notes) in " ".join(" ".join(terminal(report.table(found))).split())


def test_where_nothing_was_compared_one_row_says_how(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", depth=2, methods={"magnitude": CURVE}, examples=False)
    make_prune(run, "magnitude", CURVE, site="after:0", examples=False)
    found = collect(tmp_path / "runs").matrix
    (row,) = (row for row in found.rows if row.claim.id == "magnitude-beats-random")
    (cell,) = row.cells
    assert cell is not None
    assert (cell.judged.verdict, cell.effect) == ("undecided", "–")
    assert "--method magnitude --method random --site after:0" in str(cell.judged.todo)


def test_an_oracle_at_the_input_and_before_block_0_is_one_test() -> None:
    claim = "removing-irrelevant-costs-little"
    oracle = {"methods": ["oracle"]}
    at = [verdict(claim, depth, site=site, **oracle) for depth in (1, 2) for site in ("before:0", "input", "before:1")]
    assert [row.where for row in matrix_of(at).rows] == ["input = before:0", "before:1"]
    other = verdict(claim, 1, (0.01, 0.02, 0.03), site="input", **oracle)
    assert [row.where for row in matrix_of([at[0], other]).rows] == ["input", "before:0"]


def test_a_ratio_that_removes_nothing_is_told_as_such(tmp_path: Path) -> None:
    for seed in range(3):
        run = make_run(
            tmp_path / "runs", depth=2, seed=seed, methods={"magnitude": CURVE, "random": CURVE}, examples=False
        )
        for method in ("magnitude", "random"):
            make_prune(run, method, {1.0: 0.6, 0.999: 0.6}, site="after:0", examples=False)
    note = "magnitude-beats-random at after:0 (no ratio at which magnitude and random were measured removes a token)"
    assert note in collect(tmp_path / "runs").matrix.left_out


def test_a_depth_that_was_not_measured_joins_the_row_of_its_family() -> None:
    measured = verdict("magnitude-beats-random", 1, site="before:0")
    never = verdict("magnitude-beats-random", 2, (), outcome="undecided")
    (row,) = matrix_of([never, measured]).rows
    assert row.where == "before:0"
    assert [cell.judged.depth for cell in row.cells if cell] == [1, 2]


@pytest.mark.parametrize(("epochs", "said"), [(1, ", 1 epoch of fine-tuning"), (2, ", 2 epochs of fine-tuning")])
def test_one_epoch_is_not_epochs(epochs: int, said: str) -> None:
    assert str(Condition("before:0", epochs, 1000)).endswith(said)
    assert f"{said} at each ratio" in Conditions("f", "before:0", epochs, "fp32", "cpu").describe()


def test_a_claim_of_several_rows_says_in_short_where_it_holds() -> None:
    shown = matrix(
        [
            verdict("magnitude-beats-random", 1, site="before:0"),
            verdict("magnitude-beats-random", 2, site="before:0"),
            verdict("magnitude-beats-random", 2, site="before:1", outcome="refuted"),
        ],
        [],
        [],
    )
    ((_, rows),) = shown.experiments[0][1]
    assert in_short(rows) == (
        "Supported: composite, site before:0 at depth 1, 2. Refuted: composite, site before:1 at depth 2."
    )
    assert in_short(rows[:1]) is None


def test_what_only_its_own_interval_decides_has_a_mark_of_its_own() -> None:
    """A claim of direction and one with a margin, .005; on both sides of the threshold and across it."""
    effects = {1: (0.02, 0.03, 0.04), 2: (-0.02, -0.03, -0.04), 4: (-0.05, 0.0, 0.05)}
    for claim, off in (("magnitude-beats-random", 0.0), ("oracle-at-least-magnitude", -0.005)):
        assert CLAIM[claim].support == (off, None)
        found = [
            verdict(claim, depth, [value + off for value in values], outcome="undecided")
            for depth, values in effects.items()
        ]
        (row,) = matrix_of(found).rows
        assert [cell.sign for cell in row.cells if cell] == ["~", "~", "?"]
    (row,) = matrix_of(
        [verdict("magnitude-beats-random", 1), verdict("magnitude-beats-random", 2, outcome="refuted")]
    ).rows
    assert [cell.sign for cell in row.cells if cell] == ["✓", "✗"]


def test_three_sentences_conclude() -> None:
    found = matrix_of(
        [
            verdict("magnitude-beats-random", 1),
            verdict("magnitude-beats-random", 6),
            verdict("magnitude-keeps-relevant", 6, outcome="refuted"),
            verdict("attention-concentrates", 1, outcome="undecided"),
            verdict("attention-concentrates", 6, (-0.5, 0.5, 0.1), outcome="undecided"),
        ]
    )
    assert sentences(found) == [
        "5 comparisons: 2 support their claim, 1 refute it, 2 are undecided (1 of these only because of Holm's "
        "correction).",
        "Supported: magnitude-beats-random (over all depths).",
        "Refuted: magnitude-keeps-relevant (depth 6).",
    ]
    assert sentences(matrix_of([])) == []


def test_a_conclusion_names_the_images_and_sites_where_a_claim_has_several() -> None:
    spurious = {"data": "spurious", "family": "fb222222"}
    found = [
        verdict("attention-concentrates", 1),
        verdict("attention-concentrates", 2, (-0.05, -0.04, -0.03), **spurious, outcome="refuted"),
        verdict("attention-concentrates", 1, (-0.5, 0.5, 0.1), **spurious, outcome="undecided"),
    ]
    assert sentences(matrix_of(found))[1:] == [
        "Supported: attention-concentrates (composite, depth 1).",
        "Refuted: attention-concentrates (spurious, depth 2).",
    ]
