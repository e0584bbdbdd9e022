"""Whatever happens to the files of a run, it is named, or the numbers are those that were written."""

import os
import random
import shutil
from pathlib import Path

import pytest
from factories import make_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from measurement_factories import UNPRUNED, variance

from tokenprune.claims import read_runs
from tokenprune.claims.evidence import RunData
from tokenprune.cli.ls import _runs

MANY = int(os.environ.get("TOKENPRUNE_FUZZ", "1"))
CURVES = {"magnitude": {1.0: 0.6, 0.5: 0.58}, "random": {1.0: 0.6, 0.5: 0.5}}
DAMAGE = ("flip", "cut", "empty", "gone", "folder", "swap", "number", "word", "brackets", "pipe")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    for seed in range(2):
        run = make_run(folder, seed=seed, accuracy=0.6 + seed / 100, methods=CURVES, count=100, epochs=2)
        variance(run, {UNPRUNED: (1, 2 + seed, 3)}, ("embedding", "attention", "MLP"))
    return folder


def numbers(run: RunData) -> tuple:
    curves = [(path.name, result.points, result.baseline_correct) for path, result in run.prunes]
    return run.result.seed, run.result.model, run.result.test_correct, run.epochs, run.science, curves


def damage(folder: Path, rng: random.Random) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path, what = rng.choice(files), rng.choice(DAMAGE)
    content = bytearray(path.read_bytes())
    at = rng.randrange(max(1, len(content)))
    if what == "gone":
        path.unlink()
        return
    if what == "swap":
        other = rng.choice([each for each in files if each.name == path.name])
        path.write_bytes(other.read_bytes())
        return
    if what in ("folder", "pipe"):
        path.unlink()
        path.mkdir() if what == "folder" else os.mkfifo(path)
        return
    digits = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
    if what == "flip" and content:
        content[at] ^= 1 << rng.randrange(8)
    elif what == "cut":
        content = content[:at]
    elif what == "empty":
        content = bytearray()
    elif what == "number" and digits:
        at = rng.choice(digits)
        content[at : at + 1] = rng.choice([b"9", b"-1", b"1e400", b"7" * 40, b"0", b"NaN", b"null"])
    elif what == "word":
        content[at:at] = rng.choice([b'"x"', b"[]", b"{}", b"\xff", b"\x00", b"true"])
    elif what == "brackets":
        content = bytearray(b"[" * 100_000)
    path.write_bytes(bytes(content))


@settings(
    max_examples=60 * MANY,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_damaged_files_are_named_or_change_nothing(whole: Path, tmp_path: Path, seed: int, times: int) -> None:
    folder = tmp_path / "runs"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    whole_runs = {run.folder.name: run for run in read_runs(whole)[0]}
    written = {name: numbers(run) for name, run in whole_runs.items()}
    rng = random.Random(seed)
    for _ in range(times):
        damage(folder, rng)
    found, problems = read_runs(folder)
    assert all(0 < len(line) < 2000 for line in problems)
    for run in found:
        if not any(run.folder.name in line for line in problems):
            assert numbers(run)[:5] == written[run.folder.name][:5]
        for curve in numbers(run)[5]:
            assert curve in written[run.folder.name][5]
        assert run.measured in ((), whole_runs[run.folder.name].measured)
    lost = len(written) - len(found)
    assert lost <= len(problems) or any(not (folder / name / "result.json").exists() for name in written)
    _runs(folder)
