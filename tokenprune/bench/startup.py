"""Seconds that the command takes to start, and that a report over many runs takes."""

import itertools
import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from tokenprune import files
from tokenprune.bench.timing import Ratio, interleaved
from tokenprune.recipe import load_recipe
from tokenprune.runs import RunFolder, run_name, save_result


def answers(rounds: int) -> list[Ratio]:
    """`--help` and `ls`, in seconds (the ratio is over 1 second), against a bare `python -c pass`."""

    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, capture_output=True)

    variants = {"python -c pass": ("-c", "pass"), "--help": ("-m", "tokenprune", "--help")}
    variants |= {f"ls {what}": ("-m", "tokenprune", "ls", what) for what in ("recipes", "pruners")}
    seconds = interleaved({name: partial(run, *words) for name, words in variants.items()}, rounds)
    return [
        Ratio(f"startup/{name}", "seconds to start and answer", seconds[name], seconds, 0.3, at_most=True)
        for name in list(variants)[1:]
    ]


def report(families: int, depths: int, seeds: int) -> Ratio:
    """A report over many runs of three curves each, in seconds beyond imports; every depth is a panel to draw."""
    from tokenprune import report as reports

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        original = _one_run(folder / "one")
        for seed in range(3):  # three seeds, so that the tests' libraries are imported too
            _copy(original, folder / "few", 0, 1, seed)
        reports.write(folder / "few", folder / "warm")  # imports, fonts
        for family, depth, seed in itertools.product(range(families), range(depths), range(seeds)):
            _copy(original, folder / "many", family, depth + 1, seed)
        seconds = interleaved({"report": lambda: reports.write(folder / "many", folder / "out")}, rounds=1, warm_up=0)
    runs = families * depths * seeds
    what = f"seconds for {runs} runs of three curves: {families} families x {depths} depths x {seeds} seeds"
    return Ratio(f"report/{families}x{depths}x{seeds}", what, seconds["report"], seconds, 5.0, at_most=True)


def _one_run(runs_dir: Path) -> RunFolder:
    """A real run, as small as possible, with its three curves."""
    from tokenprune import pipeline

    small = {"train.epochs": 1, "model.dim": 12, "data.patterns.train_size": 128, "data.patterns.test_size": 1000}
    loaded = load_recipe("quickstart", [f"{key}={value}" for key, value in small.items()])
    run = pipeline.train_run(loaded, runs_dir=runs_dir)
    pipeline.prune_run(run, loaded.recipe.evaluate)
    return run


def _copy(original: RunFolder, runs_dir: Path, family: int, depth: int, seed: int) -> None:
    """The same run under another family, depth and seed."""
    result = original.result()
    setting = f"{family:04x}{depth:04x}"
    name = run_name("bench", setting, seed)
    shutil.copytree(original.path, runs_dir / name)
    facts = result.model.model_copy(update={"depth": depth})
    copy = RunFolder(runs_dir / name)
    copy.set_result(
        result.model_copy(update={"seed": seed, "setting": setting, "family": f"{family:08x}", "model": facts})
    )
    text = files.read_text(original.resolved)
    text = re.sub(
        r"^  depth: \d+$",
        f"  depth: {depth}",
        re.sub(r"^  seed: \d+$", f"  seed: {seed}", text, flags=re.M),
        flags=re.M,
    )
    copy.resolved.write_text(text, encoding="utf-8")
    for path, prune in original.prunes():
        save_result(path / "result.json", prune.model_copy(update={"run": name}))
