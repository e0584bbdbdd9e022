"""Train, prune and report from the command line; what goes wrong on the way, and going on afterwards."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from run_command import run

from tokenprune.recipe import shipped_recipes
from tokenprune.runs import RunFolder, all_runs, atomic

TINY = {
    "data.patterns.train_size": 64,
    "data.patterns.test_size": 40,
    "data.patterns.image_size": 16,
    "model.dim": 16,
    "train.batch_size": 16,
    "train.epochs": 2,
    "run.threads": 1,
}
TRAIN = ["train", "--recipe", "quickstart", *(word for key in TINY for word in ("--set", f"{key}={TINY[key]}"))]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def only_run() -> RunFolder:
    (found,) = all_runs(Path("runs"))
    return found


def test_the_three_commands(capsys):
    trained = run(capsys, *TRAIN)
    assert trained.status == 0
    assert [line.split()[:2] for line in trained.err.splitlines()] == [["epoch", str(epoch)] for epoch in range(3)]
    assert f"run       runs/{only_run().name}\n" in trained.out

    pruned = run(capsys, "prune", "--keep", "1.0,0.5", "--seeds", 2, "--quiet", "--json")
    assert pruned.status == 0
    curves = {curve["method"]: curve for curve in json.loads(pruned.out)}
    assert set(curves) == {"magnitude", "random", "oracle"}
    assert [point["keep_ratio"] for point in curves["magnitude"]["points"]] == [1.0, 0.5]
    assert {point["seed"] for point in curves["random"]["points"] if point["keep_ratio"] == 0.5} == {0, 1}

    reported = run(capsys, "report", "--json")
    assert reported.status == 0
    assert Path("report/index.html").is_file()
    json.loads(reported.out)


def test_a_finished_run_is_left_as_it_is(capsys):
    first = json.loads(run(capsys, *TRAIN, "--quiet", "--json").out)
    before = only_run().weights.stat().st_mtime_ns
    again = run(capsys, *TRAIN, "--json")
    assert (again.status, json.loads(again.out)) == (0, first)
    assert "finished already; --force makes it again" in again.err
    assert only_run().weights.stat().st_mtime_ns == before


def test_the_table_of_prune_fits_80_columns_and_says_which_run_it_took(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run(capsys, *TRAIN, "--quiet")
    ended = run(capsys, "prune", "--keep", "0.3")
    assert ended.err.startswith(f"latest finished run: runs/{only_run().name}\n")
    assert max(map(len, ended.out.splitlines())) <= 80
    assert ended.out.count("before:0") == 3


def test_sigterm_saves_and_the_command_it_prints_continues(tmp_path, capsys):
    command = [sys.executable, "-m", "tokenprune", *TRAIN, "--set", "train.epochs=1000", "--seed", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as training:
        assert training.stderr.readline() == "loading\n"
        assert training.stderr.readline().startswith("epoch ")
        training.send_signal(signal.SIGTERM)
        out, err = training.communicate()
    assert training.returncode == 130
    assert out == ""
    line = err.splitlines()[-1]
    assert line.startswith(
        "interrupted; continue with: tokenprune train --recipe quickstart --runs-dir runs --resume --set "
    )
    folder = only_run()
    assert folder.status().state == "interrupted"
    assert folder.resume.is_file()

    begun = run(capsys, *TRAIN, "--set", "train.epochs=1000", "--seed", 3)
    assert (begun.status, begun.out) == (1, "")
    assert (
        begun.err == f"error: runs/{folder.name} was begun and not finished: --resume continues, --force starts over\n"
    )

    words = shlex.split(line.partition(": ")[2])
    assert "--resume" in words
    with subprocess.Popen([sys.executable, "-m", *words], stderr=subprocess.PIPE, text=True) as training:
        assert training.stderr.readline() == "loading\n"
        done = int(training.stderr.readline().split()[1])
        training.send_signal(signal.SIGTERM)
        training.communicate()
    assert training.returncode == 130
    assert done > 0  # epoch 0, the model before training, belongs to the first part


def test_an_interrupted_prune_says_so_and_goes_on(capsys):
    run(capsys, *TRAIN, "--quiet")
    asked = ["prune", "--method", "magnitude", "--finetune-epochs", "3"]
    with subprocess.Popen([sys.executable, "-m", "tokenprune", *asked], stderr=subprocess.PIPE, text=True) as pruning:
        assert pruning.stderr.readline().startswith("latest finished run")
        assert pruning.stderr.readline() == "loading\n"
        assert pruning.stderr.readline() == "1 of 10 measured\n"
        pruning.send_signal(signal.SIGINT)
        _, err = pruning.communicate()
    assert pruning.returncode == 130
    assert err.endswith("interrupted; the models fine-tuned so far are kept: the same command continues\n")
    kept = {path: path.stat().st_mtime_ns for path in only_run().path.glob("finetuned/*/result.json")}
    assert kept

    ended = run(capsys, *asked)
    assert ended.status == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert "unpruned model, trained 3 epochs longer as well, on the same images" in ended.out


@pytest.mark.parametrize("verb", [TRAIN, ["prune"], ["report"]], ids=lambda words: words[0])
def test_an_interrupt_while_libraries_are_imported_is_never_lost(verb, capsys, tmp_path):
    """Some libraries swallow what is raised while they are imported."""
    if verb is not TRAIN:
        run(capsys, *TRAIN, "--quiet")
    before = sorted(tmp_path.rglob("*"))
    code = (
        "import signal, sys\n"
        "class Swallowing:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name in ('torch', 'numpy'):\n"
        "            try: signal.raise_signal(signal.SIGINT)\n"
        "            except KeyboardInterrupt: pass\n"
        "sys.meta_path.insert(0, Swallowing())\n"
        "from tokenprune.cli import main; main(sys.argv[1:])"
    )
    ended = subprocess.run([sys.executable, "-c", code, *verb], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr.splitlines()[-1] == f"interrupted; start again with: tokenprune {shlex.join(verb)}"
    assert sorted(tmp_path.rglob("*")) == before


def test_two_at_once_in_one_folder(capsys, tmp_path):
    run(capsys, *TRAIN, "--quiet")
    folder = only_run()
    before = folder.weights.read_bytes()
    hold = (
        "import sys; from pathlib import Path; from tokenprune.runs import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lock():\n print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, folder.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        ended = run(capsys, *TRAIN, "--force")
        holder.stdin.close()
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        f"error: runs/{folder.name}: another process is working in this run folder; wait for it, or choose another "
        "--runs-dir\n"
    )
    assert folder.weights.read_bytes() == before
    assert folder.result().epochs == 2


def test_a_folder_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    ended = run(capsys, *TRAIN, "--runs-dir", "file/runs")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: file/runs/quickstart-")
    assert ended.err.endswith(": cannot make this folder: Not a directory\n")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_while_training(capsys, tmp_path, monkeypatch):
    """The disk fills when the weights are written: no result says that the run is finished."""
    sync, synced = os.fsync, []

    def fill(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        synced.append(name)
        if "weights" in name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", fill)
    ended = run(capsys, *TRAIN, "--quiet")
    folder = only_run()
    assert synced
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == f"error: runs/{folder.name}/weights.safetensors: could not be saved: No space left on device\n"
    assert not folder.finished
    assert folder.status().state == "failed"
    assert not [path for path in folder.path.iterdir() if path.name.startswith(".weights")]

    monkeypatch.setattr(atomic.os, "fsync", sync)
    assert run(capsys, *TRAIN, "--quiet", "--resume").status == 0
    assert folder.finished


def test_weights_that_are_not_those_of_the_result(capsys):
    run(capsys, *TRAIN, "--quiet")
    weights = only_run().weights
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    ended = run(capsys, "prune", "--quiet")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"error: {weights}: damaged: its bytes are not those that training wrote")
    assert ended.err.count("\n") == 1
    assert not (weights.parent / "prune").exists()

    remedy = shlex.split(ended.err.split("`")[1])
    assert run(capsys, *remedy[1:], "--quiet").status == 0
    content[-1] ^= 1
    assert only_run().weights.read_bytes() == content
    assert only_run().recipe.read_text().count("# --set train.epochs=") == 1
    only_run().resolved.write_text("modle: {}")
    ended = run(capsys, "prune", "--quiet")
    assert shlex.split(ended.err.split("`")[1]) == remedy


def test_a_timm_model_by_name_says_which_keys_it_ignores(capsys):
    named = ["--set", "model.name=vit_tiny_patch16_224", "--set", "train.batch_size=4"]
    ended = run(capsys, "train", "--recipe", "quickstart", *named, "--dry-run")
    assert ended.err == (
        "warning: model.name: vit_tiny_patch16_224 has its own sizes: no effect of model.depth, model.dim, "
        "model.heads, model.mlp_ratio, model.patch_size\n"
    )
    assert "depth 12, " in ended.out
    Path("mine.yaml").write_text("model: {name: vit_tiny_patch16_224}")
    assert run(capsys, "validate", "mine.yaml").err == ""


def test_no_images_and_no_network_needed_to_say_so(capsys, tmp_path):
    ended = run(capsys, "train", "--recipe", "shallow", "--data-dir", "images")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    for part in (" images", "tokenprune download cifar10", "patterns"):
        assert part in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_writes_nothing(capsys, tmp_path):
    ended = run(capsys, *TRAIN, "--dry-run", "--json")
    assert ended.status == 0
    assert json.loads(ended.out)["steps_per_epoch"] == 4
    assert "patch tokens" in run(capsys, *TRAIN, "--dry-run").out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_runs(name, capsys, request):
    words = ["--set", "train.batch_size=4"]
    if name == "quickstart":
        words += ["--set", "data.patterns.train_size=8", "--set", "data.patterns.test_size=8"]
    else:
        words += ["--set", "data.train_size=10", "--set", "data.test_size=10"]
        words += ["--data-dir", str(request.getfixturevalue("data_dir"))]
    ended = run(capsys, "train", "--recipe", name, "--dry-run", "--json", *words)
    assert ended.status == 0, ended.err
    assert json.loads(ended.out)["loss"] > 0
