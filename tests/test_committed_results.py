"""Every committed verdict and number, rebuilt from the committed runs."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tokenprune.drawing.table import to_csv
from tokenprune.report.collect import Report, collect
from tokenprune.report.export import claim_table
from tokenprune.report.laboratory_rows import points

RESULTS = Path(__file__).parents[1] / "docs" / "results"
#: What the interval of a fit may differ by from one scipy to the next.
TOLERANCE = 1e-9

FINDING = ("claim", "setting", "site", "variant")
JUDGED = ("verdict", "effect", "low", "high", "p", "p_adjusted", "n")
POINT = ("experiment", "recipe", "setting", "runs", "kind", "axis", "quantity", "series", "x", "n")
MEASURED = ("value", "low", "high", "successes", "trials", "diverged", "published")

Row = dict[str, str]


@pytest.fixture(scope="module", params=[path.parent.name for path in sorted(RESULTS.glob("*/runs.jsonl.gz"))])
def rebuilt(request: pytest.FixtureRequest) -> tuple[Path, Report]:
    folder = RESULTS / request.param
    return folder, collect(folder / "runs.jsonl.gz")


def test_every_run_is_read(rebuilt: tuple[Path, Report]) -> None:
    folder, report = rebuilt
    packed = gzip.decompress((folder / "runs.jsonl.gz").read_bytes())
    results = sum("run" in json.loads(line) for line in packed.splitlines())
    assert len(report.runs) + len(report.laboratory.runs) == results > 0
    assert report.problems == ()


def test_claims(rebuilt: tuple[Path, Report]) -> None:
    folder, report = rebuilt
    compare(folder / "claims.csv", as_rows(claim_table(report)), FINDING, JUDGED)


def test_theory(rebuilt: tuple[Path, Report]) -> None:
    folder, report = rebuilt
    if report.laboratory:
        compare(folder / "theory.csv", as_rows(points(report.laboratory)), POINT, MEASURED)


def as_rows(rows: list[dict[str, Any]]) -> list[Row]:
    """As CSV gives them back."""
    return list(csv.DictReader(io.StringIO(to_csv(rows))))


def compare(path: Path, now: list[Row], key: tuple[str, ...], columns: tuple[str, ...]) -> None:
    """Every committed row is there, with its words and numbers; claims younger than the file may add rows."""
    with path.open(newline="", encoding="utf-8") as handle:
        then = list(csv.DictReader(handle))
    found = {tuple(row[name] for name in key): row for row in now}
    assert len(found) == len(now)
    assert then
    for row in then:
        place = tuple(row[name] for name in key)
        assert place in found, f"{path}: {place} is not among {len(now)} rebuilt rows"
        for name in columns:
            was, is_now = row[name], found[place][name]
            assert was == is_now or float(is_now) == pytest.approx(float(was), rel=TOLERANCE), (place, name)
