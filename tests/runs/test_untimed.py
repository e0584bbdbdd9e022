"""Missing images/s: the reason given is the one that the clock has, and the remedy works."""

from pathlib import Path

import pytest
import torch

from tests.factories import make_prune, make_run, rewrite, without_speeds
from tokenprune import report
from tokenprune.cli import show
from tokenprune.evaluation.timing import Clock
from tokenprune.runs import PruneResult, read_result


def untimed(folder: Path, *, batch_size: int) -> tuple[Path, PruneResult]:
    """A prune of 1,000 images, as one that was not timed is saved."""
    path = make_prune(make_run(folder / "runs"), "magnitude", {1.0: 0.6, 0.5: 0.5}) / "result.json"
    rewrite(path, without_speeds)
    rewrite(path, lambda tree: tree.update(batch_size=batch_size))
    return path.parent, read_result(path, PruneResult)


def speed(count: int, batch_size: int) -> float | None:
    clock = Clock(torch.device("cpu"), batch_size)
    for start in range(0, count, batch_size):
        clock.batch(min(batch_size, count - start))
        with clock.part("all"):
            pass
    return clock.images_per_second("all")


@pytest.mark.parametrize("batch_size", [1, 249, 250, 251, 333, 500, 1000, 1001])
def test_what_is_said_of_missing_speeds_is_what_the_clock_does(tmp_path: Path, batch_size: int) -> None:
    _, prune = untimed(tmp_path, batch_size=batch_size)
    assert (prune.untimed is None) == (speed(prune.count, batch_size) is not None)
    if prune.untimed:
        remedy = int(prune.untimed.rpartition("--batch-size ")[2])
        assert speed(prune.count, remedy) is not None
        assert speed(prune.count, remedy + 1) is None


def test_the_table_and_the_page_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = untimed(tmp_path, batch_size=400)
    show.prunes([found, found], as_json=False)
    why = "no img/s: needs 4 full batches, not 2 of 400; add --force --batch-size 250"
    printed = capsys.readouterr().out
    assert " ".join(printed.split()).endswith(why)
    assert printed.count("no img/s") == 1
    legend = printed[printed.index("acc %, 95 %") :]
    assert max(map(len, legend.splitlines())) <= 80
    report.write(tmp_path / "runs", tmp_path / "out")
    assert f"N{why[1:]} to tokenprune prune." in (tmp_path / "out" / "index.html").read_text()


def test_the_legend_of_fine_tuned_curves_fits_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, prune = untimed(tmp_path, batch_size=400)
    show.prunes([(path, prune.model_copy(update={"finetune_epochs": 10}))], as_json=False)
    printed = capsys.readouterr().out
    legend = printed[printed.index("acc %, 95 %") :]
    assert "trained 10 epochs longer" in " ".join(legend.split())
    assert max(map(len, legend.splitlines())) <= 80


def test_nothing_is_said_where_there_are_speeds(tmp_path: Path) -> None:
    path = make_prune(make_run(tmp_path), "magnitude", {1.0: 0.6}) / "result.json"
    assert PruneResult.model_validate_json(path.read_text()).untimed is None
