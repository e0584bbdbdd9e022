"""Whatever is typed wrong ends in one line that says what, where and what to do; the right status; nothing written."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from factories import make_run, write_images
from run_command import run

SITE = "expected input, before:BLOCKS or after:BLOCKS, such as input:rollout, before:0 or after:3,6"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("trian", "no such command 'trian'. Did you mean 'train'? `tokenprune --help` shows what it takes"),
        ("train", "missing option '--recipe'; `tokenprune train --help` shows what it takes"),
        ("validate", "missing argument 'recipe'; `tokenprune validate --help` shows what it takes"),
        (
            "train --recipe shalow",
            "unknown recipe 'shalow': did you mean 'shallow'? known: claims, claims-cpu, deep, paper, ",
        ),
        ("train --recipe no/such.yaml", "no/such.yaml: no such file; recipes that come with the program: "),
        ("train --recipe missing.yaml", "missing.yaml: no such file; recipes that come with the program: "),
        ("train --recipe shalow.yml", "shalow.yml: no such file; did you mean shallow? recipes that come with"),
        ("train --recipe .", "recipe '.' is a folder; name a YAML file in it"),
        ("train --recipe mine.yaml", "mine.yaml: train.epochs: found 'x', must be a valid integer"),
        ("train --recipe quickstart --set train.epochs=-1", "error: --set train.epochs=-1: found -1, must be greater"),
        (
            "train --recipe quickstart --set train.epoch=3",
            "error: --set train.epoch=3: unknown key: did you mean epochs? known here: ",
        ),
        ("train --recipe quickstart --set epochs", "--set 'epochs': expected KEY=VALUE, such as train.epochs=3"),
        (
            "train --recipe quickstart --device gpu",
            "error: --device gpu: found 'gpu', must be 'auto', 'cuda', 'mps' or 'cpu'",
        ),
        ("train --recipe quickstart --seed -1", "error: --seed -1: found -1, must be greater than or equal to 0"),
        ("train --recipe quickstart --set data.source=cifar11", "unknown data set 'cifar11': did you mean cifar10? "),
        (
            "train --recipe quickstart --set pruner.name=magic",
            "--set pruner.name=magic: unknown pruner 'magic': did you",
        ),
        ("validate empty.yaml", "empty.yaml: the recipe is empty; `tokenprune ls recipes` shows some to start from"),
        ("validate binary.yaml", "binary.yaml: not a text file; a recipe is YAML in UTF-8"),
        ("validate twice.yaml", "twice.yaml: line 2: train: given twice, first on line 1"),
        (
            "theory phase --values 4,6",
            "no such option: --values (Possible options: --grid); `tokenprune theory --h",
        ),
        ("cp shallow mine.yaml", "mine.yaml: exists already; --force replaces it"),
        (
            "bench nosuch",
            "'nosuch' is not one of 'step', 'epoch', 'forward', 'sharing', 'methods', 'startup'",
        ),
        ("ls recipe", "invalid value for 'kind': 'recipe' is not one of 'recipes', 'pruners', 'datasets', 'runs',"),
    ],
)
def test_usage_and_recipes_are_status_2(arguments, line, capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text("train: {epochs: x}")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "binary.yaml").write_bytes(b"\x89PNG\r\n\xff")
    (tmp_path / "twice.yaml").write_text("train: {epochs: 1}\ntrain: {epochs: 2}")
    before = files(tmp_path)
    ended = run(capsys, *arguments.split())
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert line in ended.err
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--run shalow-71", "unknown run 'shalow-71': did you mean 'shallow-"),
        (
            "--method magnitud",
            "--method: unknown pruner 'magnitud': did you mean 'magnitude'? known: ",
        ),
        ("--keep 0", "--keep: found 0, must be greater than 0"),
        (
            "--keep 1.0,1.5",
            "--keep: found 1.5, must be less than or equal to 1",
        ),
        ("--keep abc", "--keep: found 'abc', must be a valid number"),
        ("--site before:1", "site 'before:1': block 1 is beyond the model's depth 1 (blocks are 0 to 0)"),
        ("--site 3", f"--site: site '3': {SITE}"),
        ("--site input:first", "--site"),
        ("--option power=2", "--option: is for one --method; asked for are magnitude, random, oracle"),
        ("--method random --option power", "--option 'power': expected KEY=VALUE, such as power=2"),
        ("--method random --option power=.nan", "--option: options: NaN and infinity are not taken"),
        ("--method random --option power=[1", "--option 'power=[1': "),
        ("--ratios 0.5", "no such option: --ratios (Possible options: --keep); "),
        ("--seeds 0", "invalid value for '--seeds': must be greater than or equal to 1; "),
    ],
)
def test_what_prune_cannot_do_is_status_2(arguments, line, capsys, tmp_path):
    made = make_run(tmp_path / "runs")
    before = files(tmp_path)
    ended = run(capsys, "prune", *arguments.split())
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {line}")
    assert ended.err.count("\n") == 1
    assert files(tmp_path) == before, made.name


@pytest.mark.parametrize(
    "arguments",
    [
        "{}",
        "--{}",
        "train --recipe {}",
        "train --recipe {}.yaml",
        "train --recipe {}/mine.yaml",
        "train --recipe quickstart --set {}",
        "train --recipe quickstart --set {}=1",
        "train --recipe quickstart --set train.epochs={}",
        "train --recipe quickstart --set pruner.name={}",
        "train --recipe quickstart --set data.source={}",
        "train --recipe quickstart --seed {}",
        "train --recipe quickstart --device {}",
        "sweep {}",
        "sweep noise --scale cpu --only {}",
        "sweep noise --scale cpu --device {}",
        "sweep noise --scale {}",
        "theory phase --grid {}",
        "prune --run {}",
        "prune --keep {}",
        "prune --site before:{}",
        "prune --option {}=1 --method random --quiet",
        "prune --method {}",
        "explain {}",
        "measure {}",
        "download {}",
        "bench {}",
        "ls {}",
        "cp {} mine.yaml",
        "validate {}",
    ],
)
@pytest.mark.parametrize("typed", ["1" * 300, "x" * 5000])
def test_what_is_quoted_of_something_long_is_short(arguments, typed, capsys, tmp_path):
    make_run(tmp_path / "runs")
    ended = run(capsys, *arguments.format(typed).split())
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert typed[:201] not in ended.err


@pytest.mark.parametrize("dry", ["", " --dry-run"])
@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("data.source=bad.npz", "bad.npz: not an .npz, or cut short"),
        ("data.source=none.npz", "none.npz: no such file"),
        ("data.source=empty.npz", "empty.npz: not an .npz, or cut short"),
        ("data.source=photographs.npz data.scene=composite data.background=bad", "bad/1.png: background cannot be"),
        ("data.source=photographs.npz data.scene=composite data.background=none", "data.background: 'none' is no fold"),
        ("model.checkpoint=bad.npz", "bad.npz: "),
        ("model.checkpoint=none.pt", "none.pt: cannot read the checkpoint: No such file"),
        ("model.checkpoint=bad.safetensors", "bad.safetensors: truncated or no safetensors file"),
    ],
)
def test_a_bad_file_that_a_recipe_names_is_status_1(keys, line, dry, capsys, tmp_path):
    images = np.zeros((8, 32, 32, 3), np.uint8)
    write_images(tmp_path / "photographs.npz", images, np.arange(8) % 2, ["a", "b"])
    (tmp_path / "bad").mkdir()
    for name in ("bad.npz", "bad.safetensors", "bad/1.png"):
        (tmp_path / name).write_bytes(b"\x89PNG not really" * 20)
    (tmp_path / "empty.npz").touch()
    settings = " ".join(f"--set {key}" for key in keys.split())
    ended = run(capsys, *f"train --recipe quickstart {settings} --quiet{dry}".split())
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"error: {line}")
    assert ended.err.count("\n") == 1
    assert "_io." not in ended.err


def test_no_finished_run_is_status_1(capsys, tmp_path):
    make_run(tmp_path / "runs", finished=False)
    ended = run(capsys, "prune")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        "error: runs: no finished run here; `tokenprune train --recipe quickstart` makes one, "
        "--runs-dir looks elsewhere\n"
    )


def test_an_unfinished_run_by_name_is_status_1(capsys, tmp_path):
    made = make_run(tmp_path / "runs", finished=False)
    ended = run(capsys, "prune", "--run", made.name)
    assert ended.status == 1
    assert ended.err == (
        f"error: runs/{made.name}: this run is not finished; "
        f"`tokenprune train --recipe runs/{made.name}/recipe.yaml --resume` continues it\n"
    )


@pytest.mark.parametrize(
    ("name", "damage", "what"),
    [
        ("result.json", lambda content: content[:40], "not valid JSON: the file is damaged"),
        ("result.json", lambda content: content.replace(b'n": 1', b'n": 0'), "results of schema 0, this program reads"),
        ("resolved.yaml", lambda content: b"", "cannot be read as this run's recipe: the recipe is empty"),
    ],
)
def test_a_half_written_or_older_run_folder_is_status_1_and_named(name, damage, what, capsys, tmp_path):
    path = make_run(tmp_path / "runs").path / name
    path.write_bytes(damage(path.read_bytes()))
    ended = run(capsys, "prune", "--quiet")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"error: {path.relative_to(tmp_path)}: {what}")
    assert ended.err.count("\n") == 1


def test_the_latest_run_that_can_be_read_is_taken_and_a_damaged_one_named(capsys, tmp_path):
    whole, damaged = make_run(tmp_path / "runs", seed=0), make_run(tmp_path / "runs", seed=1)
    (damaged.path / "result.json").write_text("{")
    (whole.path / "resolved.yaml").write_text("")  # so that it ends here, before any image is looked for
    ended = run(capsys, "prune", "--quiet")
    warning, error = ended.err.splitlines()
    assert warning.startswith(f"warning: runs/{damaged.name}/result.json: not valid JSON")
    assert error.startswith(f"error: runs/{whole.name}/resolved.yaml: ")


def test_a_damaged_run_does_not_hide_the_others(capsys, tmp_path):
    damaged, whole = make_run(tmp_path / "runs", seed=0), make_run(tmp_path / "runs", seed=1)
    (damaged.path / "status.json").write_text('{"state"')
    ended = run(capsys, "ls", "runs")
    assert ended.status == 0
    assert f"warning: runs/{damaged.name}/status.json: not valid JSON" in ended.err
    assert whole.name in ended.out
    assert "finished" in ended.out


def test_a_full_disk_while_saving_keeps_the_old_file(tmp_path):
    """The limit on file size stands for a full disk: the kernel refuses the same write."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("mine")
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "from tokenprune.cli import main; main(['cp', 'shallow', 'mine.yaml', '--force'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == "error: mine.yaml: could not be saved: File too large\n"
    assert list(tmp_path.iterdir()) == [mine]
    assert mine.read_text() == "mine"


def test_a_reader_that_leaves_is_no_error():
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-m", "tokenprune", "validate", "deep", "--resolved"], stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert ended.stderr == b""
