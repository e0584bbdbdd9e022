"""`tokenprune sweep` as it is typed: what it prints, how it ends, and how it goes on."""

import io
import json
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from factories import make_run
from rich.console import Console
from rich.progress import Progress
from run_command import run
from sweep_factories import write_sweep

from tokenprune.cli import main
from tokenprune.cli.cells import Bars
from tokenprune.recipe.sweep import load_sweep
from tokenprune.runs import RunFolder, all_runs
from tokenprune.sweep import launch
from tokenprune.sweep.progress import CellRow

CPU = "set: {run.device: cpu}\n"
TWO = CPU + "grid: {run.seed: [0, 1]}\nprune: [{}]\n"
LONG = CPU + "grid: {run.seed: [0, 1], train.epochs: [40]}\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sweep(capsys, text: str, *arguments: object):
    write_sweep(Path(), text)
    return run(capsys, "sweep", "mine.yaml", *arguments)


def test_a_sweep_is_run_and_then_costs_nothing(capsys):
    ended = sweep(capsys, TWO, "--workers", 1)
    first, second = all_runs(Path("runs"))
    assert ended.status == 0
    assert ended.err.splitlines()[0] == "[0/2] training seed=0"
    assert ended.err.splitlines()[1].startswith("[1/2] finished seed=0  test ")
    assert ended.out.splitlines()[-1] == "2 cells: 2 finished; record: runs/sweeps/mine.json"
    assert [len(run.prunes()) for run in (first, second)] == [1, 1]

    before = {path: path.stat().st_mtime_ns for path in Path("runs").glob("*-s*/**/*") if path.is_file()}
    code = (
        "import sys; from tokenprune.cli import main\n"
        "try: main(['sweep', 'mine.yaml', '--json'])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (again.returncode, again.stderr) == (0, "")
    said = json.loads(again.stdout)
    assert said["counts"] == {"finished": 2}
    assert [cell["run"] for cell in said["cells"]] == [first.name, second.name]
    assert [cell["accuracy"] for cell in said["cells"]] == [run.result().test_accuracy for run in (first, second)]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_failed_cell_is_recorded_the_rest_go_on_and_status_is_4(capsys):
    text = "set: {train.clip_norm: null, run.device: cpu}\ngrid: {train.learning_rate: [1.0e30, 1e-3]}\n"
    ended = sweep(capsys, text, "--workers", 1)
    assert ended.status == 4
    assert "2 cells: 1 failed, 1 finished" in ended.out
    assert "failed: learning_rate=1e+30: the loss is not finite at step " in ended.out
    cells = json.loads(Path("runs/sweeps/mine.json").read_text())["cells"]
    assert [cell["state"] for cell in cells] == ["failed", "finished"]
    assert "not finite" in cells[0]["message"]
    assert "failed: learning_rate=1e+30: the loss is not finite" in sweep(capsys, text, "--dry-run").out


def test_results_of_an_older_schema_fail_their_cell_and_are_left_alone(capsys):
    first, _ = load_sweep(write_sweep(Path(), TWO)).cells
    made = make_run(Path("runs"))
    made.path.rename(Path("runs") / first.run)
    result = Path("runs") / first.run / "result.json"
    result.write_text(result.read_text().replace('"schema_version": 1', '"schema_version": 0'))
    before = result.read_bytes()
    ended = sweep(capsys, TWO, "--workers", 1, "--json")
    assert ended.status == 4
    cells = json.loads(ended.out)["cells"]
    assert [cell["state"] for cell in cells] == ["failed", "finished"]
    assert cells[0]["accuracy"] is None
    assert cells[0]["message"].startswith(f"{result}: results of schema 0, this program reads schema 1; train it again")
    assert result.read_bytes() == before


class Launched:
    """`tokenprune sweep` in a process of its own, forked from one that has imported everything."""

    def __init__(self, *words: str) -> None:
        self.err = Path("err.txt").absolute()
        self.pids = Path("pids.txt").absolute()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tokenprune.sweep.work"])
        self.process = context.Process(target=_main, args=(words, self.err, self.pids))
        self.process.start()

    def when_saved(self, runs_dir: str) -> "Launched":
        while not list(Path(runs_dir).glob("*/resume.pt")):
            assert self.process.is_alive(), self.err.read_text()
            time.sleep(0.01)
        return self

    def kill(self, *, launcher_alone: bool) -> None:
        workers = [int(pid) for pid in self.pids.read_text().split()]
        for pid in [self.process.pid, *([] if launcher_alone else workers)]:
            os.kill(pid, signal.SIGKILL)
        self.process.join()
        for pid in workers:
            while is_there(pid):
                time.sleep(0.01)


def _main(words: tuple[str, ...], err: Path, pids: Path) -> None:
    for stream, path in ((sys.stdout, "out.txt"), (sys.stderr, err)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), stream.fileno())
    start = launch._Worker._start

    def noted(worker: launch._Worker) -> None:
        start(worker)
        pids.write_text(str(worker.process.pid))

    launch._Worker._start = noted  # type: ignore[method-assign]
    main(words)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("launcher_alone", [False, True])
def test_after_sigkill_resume_ends_with_the_same_weights(launcher_alone, capsys):
    """Everything is killed, or the launcher alone, whose worker then stops by itself."""
    write_sweep(Path(), LONG)
    launched = Launched("sweep", "mine.yaml", "--runs-dir", "a", "--workers", "1")
    launched.when_saved("a").kill(launcher_alone=launcher_alone)
    (begun,) = [folder for folder in all_runs(Path("a")) if folder.resume.is_file()]
    assert begun.status().state == "interrupted"

    refused = sweep(capsys, LONG, "--runs-dir", "a", "--workers", 1)
    assert (refused.status, refused.out) == (1, "")
    assert refused.err == (
        f"error: a: 1 of 2 cells were begun and not finished ({begun.name}): --resume continues them\n"
    )
    assert sweep(capsys, LONG, "--runs-dir", "a", "--workers", 1, "--resume", "--quiet").status == 0
    assert sweep(capsys, LONG, "--runs-dir", "b", "--workers", 1, "--quiet").status == 0
    for resumed, straight in zip(all_runs(Path("a")), all_runs(Path("b")), strict=True):
        assert resumed.weights.read_bytes() == straight.weights.read_bytes()


def test_ctrl_c_saves_and_the_command_it_prints_continues(capsys):
    write_sweep(Path(), LONG)
    given = ["--workers", "1", "--per-gpu", "2", "--set", "model.dim=24", "--only", "run.seed=0,1"]
    launched = Launched("sweep", "mine.yaml", *given).when_saved("runs")
    os.kill(launched.process.pid, signal.SIGINT)
    launched.process.join()
    assert (launched.process.exitcode, Path("out.txt").read_text()) == (130, "")
    first, told, line = launched.err.read_text().splitlines()
    assert first == "[0/2] training seed=0"
    assert told == "[1/2] interrupted seed=0: asked to stop; --resume continues"
    words = shlex.split(line.removeprefix("interrupted; continue with: "))
    options = ["--only", "run.seed=0,1", "--runs-dir", "runs", "--workers", "1", "--per-gpu", "2"]
    assert words == ["tokenprune", "sweep", "mine.yaml", *options, "--resume", "--set", "model.dim=24"]
    assert run(capsys, *words[1:], "--quiet").status == 0
    assert all(folder.finished for folder in all_runs(Path("runs")))


def test_an_edited_sweep_says_what_changed_and_deletes_nothing(capsys):
    sweep(capsys, TWO, "--quiet")
    first, second = (folder.name for folder in all_runs(Path("runs")))
    ended = sweep(capsys, TWO.replace("[0, 1]", "[1, 2]"), "--workers", 1, "--json")
    (third,) = {folder.name for folder in all_runs(Path("runs"))} - {first, second}
    assert ended.err.splitlines()[:3] == [
        "mine.yaml has changed since runs/sweeps/mine.json was written:",
        f"  1 new: {third}",
        f"  1 no longer in the sweep, kept on disk: {first}",
    ]
    assert json.loads(ended.out)["edited"] == {"new": [third], "gone": [first]}
    assert [cell["run"] for cell in json.loads(ended.out)["cells"]] == [second, third]
    assert RunFolder(Path("runs") / first).finished


def test_a_cell_that_another_sweep_works_on_is_skipped_with_a_word(capsys):
    first, second = (RunFolder(Path("runs") / cell.run) for cell in load_sweep(write_sweep(Path(), TWO)).cells)
    with first.lock():
        first.set_status("running", 1, 3)
        ended = sweep(capsys, TWO, "--workers", 1)
    assert ended.status == 4
    assert ended.err.splitlines()[-1] == (
        "run by other processes, and not finished: seed=0; their progress: "
        "tokenprune sweep mine.yaml --runs-dir runs --dry-run"
    )
    assert "elsewhere: seed=0: another process is working in this run folder" in ended.out
    assert "2 cells: 1 elsewhere, 1 finished" in ended.out
    assert second.finished
    assert not first.finished


def test_a_full_disk_fails_its_cells_with_the_file_that_could_not_be_saved():
    """The limit on file size stands for a full disk: the kernel refuses the same write."""
    write_sweep(Path(), TWO.replace("seed: [0, 1]}", "seed: [0], model.dim: [12, 96]}"))
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "from tokenprune.cli import main; main(['sweep', 'mine.yaml', '--workers', '1', '--quiet'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 4
    assert ended.stderr == ""
    small, large = load_sweep("mine.yaml").cells
    assert "could not be saved: File too large" in ended.stdout
    assert "1 finished, 1 failed" in ended.stdout
    assert RunFolder(Path("runs") / small.run).finished
    assert not RunFolder(Path("runs") / large.run).finished
    assert not [path for path in Path("runs").rglob(".*") if path.name not in (".lock", ".mine.lock")]


def test_a_record_that_cannot_be_saved_ends_the_sweep_with_status_1(capsys):
    Path("runs").mkdir()
    Path("runs/sweeps").write_text("in the way")
    ended = sweep(capsys, TWO)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "error: runs/sweeps: cannot make this folder: File exists\n"


def test_dry_run_prints_cells_and_flops_and_writes_nothing(capsys):
    ended = sweep(capsys, CPU + "grid: {model.depth: [1, 2], run.seed: [0, 1]}\nprune: [{}]\n", "--dry-run", "--json")
    assert ended.status == 0
    said = json.loads(ended.out)
    flops = [cell["training_flops"] for cell in said["cells"]]
    assert flops[0] == 3 * 91128 * 60 * 2  # see test_plan
    assert said["training_flops"] == sum(flops)
    table = sweep(capsys, TWO, "--dry-run").out
    assert "seed=0 waiting" in table
    assert "2 cells: 2 waiting; curves after each training: 1" in table
    text = CPU + "grid: {run.seed: [0]}\nprune: [{}]\n"
    assert "1 cell: 1 waiting; curves after each training: 1" in sweep(capsys, text, "--dry-run").out
    deep = "grid: {model.depth: [1, 2], run.seed: [0]}\nprune: [{}, {methods: [random], depths: [2]}]\n"
    assert "curves after each training: 1 to 2" in sweep(capsys, CPU + deep, "--dry-run").out
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("text", "arguments", "line"),
    [
        ("grid: {model.dept: [1]}", "", "mine.yaml: grid.model.dept: unknown key: did you mean depth? known here: "),
        ("grid: {}", "", "mine.yaml: grid: empty: name at least one key"),
        ("grid: {run.seed: [1, 1]}", "", "mine.yaml: cells: run.seed=1 and run.seed=1 train the same model"),
        (TWO, "--device gpu", "--device gpu: found 'gpu', must be 'auto', 'cuda', 'mps' or 'cpu'"),
        (TWO, "--set train.epochs", "--set 'train.epochs': expected KEY=VALUE, such as train.epochs=3"),
        (TWO, "--set run.seed=3", "mine.yaml: grid.run.seed: also in set, which would not change anything"),
        (TWO, "--slurm a=b", "--slurm: only with --launcher slurm"),
        (TWO, "--launcher slurm --slurm a", "--slurm 'a': expected KEY=VALUE, such as slurm_partition=gpu"),
        (TWO, "--workers 0", "invalid value for '--workers': must be greater than or equal to 1"),
        (TWO, "--launcher ssh", "invalid value for '--launcher': 'ssh' is not one of 'local', 'slurm'"),
    ],
)
def test_what_is_wrong_is_one_line_with_status_2(text, arguments, line, capsys):
    ended = sweep(capsys, text, *arguments.split())
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {line}")
    assert ended.err.count("\n") == 1
    assert not Path("runs").exists()


def test_an_unknown_sweep_offers_the_nearest(capsys):
    ended = run(capsys, "sweep", "quickstrat")
    assert ended.status == 2
    assert ended.err.startswith("error: unknown sweep 'quickstrat': did you mean 'quickstart'? known: ")


def test_a_scheduler_that_refuses_is_one_line_with_status_1(capsys, monkeypatch):
    Path("submitit.py").write_text(
        "class AutoExecutor:\n    def __init__(self, **_): raise RuntimeError('no sbatch here')\n"
    )
    monkeypatch.syspath_prepend(str(Path().absolute()))
    monkeypatch.delitem(sys.modules, "submitit", raising=False)
    ended = sweep(capsys, TWO, "--launcher", "slurm")
    del sys.modules["submitit"]  # not by monkeypatch, which would put this one back
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "error: --launcher slurm: no scheduler here: no sbatch here\n"


def rows(count: int) -> list[CellRow]:
    text = f"grid: {{model.checkpoint: [null], data.patterns.noise: [0.25, 0.125], run.seed: {list(range(count))}}}"
    cells = load_sweep(write_sweep(Path(), text)).cells
    states = ("finished", "training", "failed", "waiting")
    return [CellRow(cell, states[i % 4], 1e9, accuracy=0.1234, epoch=1) for i, cell in enumerate(cells)]


def test_a_terminal_shows_bars_of_what_runs_and_lines_of_what_ended():
    some = rows(40)
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    for row in some:
        row.state = "waiting"
    with Progress(console=console, auto_refresh=False) as progress:
        bars = Bars(some, progress)
        some[0].state, some[0].share, some[1].state, some[2].state = "training", 0.5, "finished", "failed"
        bars.tick()
        assert [task.description for task in progress.tasks] == ["80 cells", "training noise=0.25 seed=0"]
        assert (progress.tasks[0].completed, progress.tasks[0].total) == (2.5e9, 80e9)
        some[0].state = "finished"
        bars.tick()
        assert len(progress.tasks) == 1
