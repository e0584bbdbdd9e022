"""A sweep on a real Slurm of one node: one task cancelled, one at its limit, and the numbers of the local launcher."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sweep_factories import write_sweep

from tokenprune.cli import main
from tokenprune.recipe.sweep import LoadedSweep, load_sweep
from tokenprune.runs import RunFolder
from tokenprune.runs.sweeps import SweepFile
from tokenprune.sweep import begin, overview, run_here

CLUSTER = Path(__file__).with_name("cluster.sh")
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")

#: Seconds until what is waited for has failed.
DEADLINE = 100


def _missing() -> str | None:
    absent = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if absent:
        return f"needs Debian's slurm-wlm and munge: {', '.join(absent)} not found"
    return "needs root, to start Slurm's daemons" if os.geteuid() else None


pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(_missing()), reason=str(_missing()))]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PATH", "/usr/sbin", prepend=os.pathsep)
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm" / "slurm.conf"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slurm").mkdir()
    try:
        subprocess.run([CLUSTER, "start", tmp_path / "slurm"], check=True)
        yield
    finally:
        subprocess.run([CLUSTER, "stop", tmp_path / "slurm"], check=True)


def until(what: str, true: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def submit(tasks: int) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "mine.yaml", "--launcher", "slurm", "--workers", str(tasks), "--slurm", "timeout_min=5"])
    assert ended.value.code == 0


def recorded_jobs() -> list[str | None]:
    return [cell.job for cell in SweepFile(Path("runs"), "mine").read().cells]


def states(sweep: LoadedSweep) -> list[str]:
    return [row.state for row in overview(sweep, Path("runs"))]


def test_a_sweep_ends_without_a_person_and_with_the_numbers_of_the_local_launcher(slurm) -> None:
    long, short = "{run.seed: [0], train.epochs: [150]}", "{run.seed: [1, 2]}"
    sweep = load_sweep(write_sweep(Path(), f"set: {{run.device: cpu}}\nprune: [{{}}]\nalso: [{long}, {short}]\n"))
    runs = [RunFolder(Path("runs") / cell.run) for cell in sweep.cells]
    submit(tasks=2)
    jobs = recorded_jobs()
    assert jobs[0] != jobs[1] == jobs[2]

    # There is one core: the task with the long training runs, the other waits.
    until("a training begins", lambda: states(sweep) == ["training", "submitted", "submitted"])
    subprocess.run(["scancel", jobs[1]], check=True)
    until("the cancelled job leaves the queue", lambda: states(sweep) == ["training", "waiting", "waiting"])
    assert overview(sweep, Path("runs"))[1].message == f"job {jobs[1]} left the queue"
    until("a checkpoint is there", runs[0].resume.is_file)
    subprocess.run(["scancel", "--signal=USR2", jobs[0]], check=True)
    until("the training stops", lambda: runs[0].status().state == "interrupted")
    submit(tasks=1)
    assert [old == new for old, new in zip(jobs, recorded_jobs(), strict=True)] == [True, False, False]
    until("all end", lambda: states(sweep) == ["finished"] * 3)
    log = next(Path("runs/sweeps/mine-jobs").glob(f"{jobs[0]}_*_log.out")).read_text()
    assert log.count("Starting with JobEnvironment") == 2

    local = begin(sweep, runs_dir=Path("local"))
    run_here(local, workers=1)
    for run, row in zip(runs, local.rows, strict=True):
        alone = RunFolder(Path("local") / row.cell.run)
        assert run.weights.read_bytes() == alone.weights.read_bytes()
        assert run.result().test_accuracy == alone.result().test_accuracy
        ((_, curve),), ((_, same),) = run.prunes(), alone.prunes()
        assert [point.correct for point in curve.points] == [point.correct for point in same.points]
