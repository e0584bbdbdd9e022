"""`tokenprune theory`, as typed."""

import json
from pathlib import Path

import pytest
from run_command import run

TINY = {
    "phase": ["--trials", "3", "--grid", "4,9", "--samples", "8,160", "--set", "grid.test_samples=20"],
    "attention": ["--trials", "3", "--iterations", "20"],
    "sparsify": [
        *("--trials", "2", "--method", "random", "--removed", "0,3", "--set", "data.count=12"),
        *("--set", "removal.samples=[8,40]", "--set", "removal.complexity_removed=3"),
        *("--set", "removal.curve_samples=8", "--set", "removal.test_samples=10"),
    ],
    "time": ["--trials", "2", "--set", "convergence.values=[0.8]", "--set", "convergence.iterations=40"],
    "spatial": [
        *("--trials", "2", "--set", "curve.iterations=20", "--set", "transfer.iterations=5"),
        *("--set", "transfer.samples=[32]", "--set", "curve.test_samples=50"),
    ],
}


@pytest.mark.parametrize("experiment", TINY)
def test_every_experiment_prints_a_table_and_is_read_back_as_json(
    experiment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["theory", experiment, *TINY[experiment], "--runs-dir", str(tmp_path)]
    shown = run(capsys, *words)
    assert shown.status == 0, shown.err
    assert "models in" in shown.out
    assert max(map(len, shown.out.split("\nT")[0].split("\nrun")[0].splitlines())) <= 80
    again = run(capsys, *words, "--json")
    found = json.loads(again.out)
    assert "is finished already" in again.err
    assert found["experiment"] == experiment
    folder = Path(found["path"])
    assert json.loads((folder / "result.json").read_text())["models"] == found["models"]
    assert {"recipe.yaml", "resolved.yaml", "environment.json", "status.json"} <= {p.name for p in folder.iterdir()}


def test_the_phase_diagram_counts_successes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(capsys, "theory", "phase", *TINY["phase"], "--set", "grid.success=1", "--runs-dir", str(tmp_path))
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["160", "3", "3"] in lines  # forty steps bring every model's loss below 1
    assert "T1 theory-alpha" in shown.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["phase", "--axis", "depth"], "'depth' is not one of"),
        (["phase", "--grid", "4,x"], "grid.values"),
        (["phase", "--grid", "0.5"], "alpha_*^-2 must be at least 1"),
        (["phase", "--samples", "2"], "N = 2 is smaller than train.batch_size 4"),
        (["phase", "--set", "data.relevant=0.8", "--set", "data.confusion=0.3"], "must be at most 1"),
        (["phase", "--recipe", "phase-alhpa"], "phase-alpha"),
        (["phase", "--recipe", "time"], "not of `tokenprune theory phase`"),
        (["sparsify", "--method", "magnitud"], "removal.methods"),
        (["attention", "--set", "model.kind=cnn"], "no attention"),
        (["spatial", "--set", "data.flips=1.5"], "data.flips"),
        (["phase", "--grid", ""], "--grid needs values, such as 4,6,8"),
        (["phase", "--samples", "40,40"], "40 is given twice"),
        (["phase", "--recipe", "phase-noise", "--axis", "alpha"], "0 on axis alpha: alpha_*^-2 must be at least 1"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, "theory", *words, "--runs-dir", str(tmp_path / "runs"))
    assert found.status == 2
    assert said in found.err
    assert len(found.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_what_diverged_is_counted_in_the_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = ["--set", "train.step_size=1e8", "--runs-dir", str(tmp_path)]
    for experiment in ("phase", "attention", "sparsify"):
        shown = run(capsys, "theory", experiment, *TINY[experiment], *wild)
        assert shown.status == 0
        assert "models diverged and count as failures" in shown.out, experiment


def test_theory_runs_are_listed_with_what_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "theory", "time", *TINY["time"], "--runs-dir", str(tmp_path))
    (row,) = json.loads(run(capsys, "ls", "runs", "--runs-dir", str(tmp_path), "--json").out)
    assert row["theory run"].startswith("theory/time-")
    assert (row["state"], row["experiment"], row["models"]) == ("finished", "time", 6)


def test_an_option_of_another_experiment_is_named(capsys):
    ended = run(capsys, "theory", "time", "--axis", "noise")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "--axis is an option of phase, not of time" in ended.err
    assert "unknown" not in run(capsys, "theory").err
