"""Help, lists and completion stay light: what they import, not how long they take (`tokenprune bench` times them)."""

import os
import subprocess
import sys

import pytest

from tokenprune.theory import EXPERIMENTS

HEAVY = ("torch", "timm", "torchvision", "scipy", "matplotlib", "pandas", "statsmodels")
CODE = f"""
import sys
from tokenprune.cli import main
try:
    main(sys.argv[1:])
finally:
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    if heavy:
        print("imported:", heavy)
        sys.exit(9)
"""


def light(*arguments: str, **environment: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, env=os.environ | environment
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["prune", "--help"],
        ["sweep", "--help"],
        ["sweep", "quickstart", "--dry-run"],
        ["ls", "recipes"],
        ["ls", "pruners"],
        ["ls", "datasets"],
        ["ls", "runs"],
        ["ls", "claims"],
        ["ls", "measurements"],
        ["measure", "--help"],
        ["heads", "--help"],
        ["validate", "deep"],
        ["validate", "theory/spatial"],
        ["theory", "--help"],
    ],
    ids=" ".join,
)
def test_imports_nothing_heavy(arguments):
    assert light(*arguments) or arguments == ["ls", "runs"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("tokenprune train --recipe sh", {"shallow"}),
        ("tokenprune train --set train.augment.cut", {"train.augment.cutout=", "train.augment.cutmix="}),
        ("tokenprune prune --method ", {"magnitude", "random", "oracle", "all"}),
        ("tokenprune sweep q", {"quickstart"}),
        ("tokenprune sweep noise --scale ", {"cpu", "trained"}),
        ("tokenprune validate sweeps/noise --scale ", {"cpu", "trained"}),
        ("tokenprune measure a", {"attention"}),
        ("tokenprune heads --head m", {"mixer", "mlp"}),
        ("tokenprune prune --run ", {"here-0-s0"}),
        ("tokenprune prune --runs-dir other --run ", {"there-0-s0"}),
        ("tokenprune download cifar1", {"cifar10", "cifar100"}),
        ("tokenprune download ", {"cifar10", "cifar100", "svhn"}),
        ("tokenprune bench s", {"step", "sharing", "startup"}),
        ("tokenprune prune --site ", {"input", "before:", "after:"}),
        ("tokenprune prune --device c", {"cuda", "cpu"}),
        ("tokenprune train --set train.optimizer=", {"train.optimizer=adamw", "train.optimizer=muon"}),
        ("tokenprune train --set model.qk_norm=t", {"model.qk_norm=true"}),
    ],
)
def test_completion(words, offered, tmp_path, monkeypatch):
    for folder in (tmp_path / "runs" / "here-0-s0", tmp_path / "other" / "there-0-s0"):
        folder.mkdir(parents=True)
        (folder / "status.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    last = str(len(words.split()) - (not words.endswith(" ")))
    out = light(_TOKENPRUNE_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=last)
    assert set(out.split()) >= offered
    assert all(word.startswith(words.rpartition(" ")[2]) for word in out.split())
    assert "patterns" not in out  # made here, not downloaded
    assert "other" in words or "there-0-s0" not in out


def test_results_of_the_laboratory_are_read_without_torch() -> None:
    for words in (["ls", "runs", "--runs-dir", "docs/results/theory/runs.jsonl.gz"], ["theory", "time", "--help"]):
        assert all(name in light(*words) for name in EXPERIMENTS)
    code = "import sys, tokenprune.claims, tokenprune.report; from tokenprune import theory\n"
    code += "[theory.experiment(name) for name in theory.EXPERIMENTS]; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_listing_recipes_loads_no_schema() -> None:
    code = CODE.replace(repr(HEAVY), repr((*HEAVY, "tokenprune.recipe", "yaml")))
    ended = subprocess.run([sys.executable, "-c", code, "ls", "recipes"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    assert "quickstart" in ended.stdout
