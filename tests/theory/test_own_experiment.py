"""The experiment of docs/theory.md is one file and a line: the rest of the program takes it as it is."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tokenprune import pack, report, theory
from tokenprune.claims import read_theory
from tokenprune.cli import show_theory
from tokenprune.theory.load import experiment_of, load_theory_recipe
from tokenprune.theory.run import theory_run

PAGE = Path(__file__).parents[2] / "docs" / "theory.md"


def test_an_experiment_is_one_file_and_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    module = ModuleType("tokenprune.theory.loss")
    exec(compile(code, "loss.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(theory.EXPERIMENTS, "loss", "test loss over N")
    recipe = tmp_path / "small.yaml"
    recipe.write_text("experiment: loss\ncells: {samples: [8, 400], trials: 3, test_samples: 20}\n")
    assert experiment_of(recipe) == "loss"
    runs = tmp_path / "runs"
    folder = theory_run(load_theory_recipe(recipe, "loss"), runs_dir=runs)
    pack.pack(runs, tmp_path / "runs.jsonl.gz")
    for place in (runs, tmp_path / "runs.jsonl.gz"):
        ((_, result),), problems = read_theory(place)
        assert (type(result).__name__, result.models, problems) == ("LossResult", 6, [])
        few, many = np.array(result.loss)
        assert (many < few).all()  # a hundred steps teach more than two
    show_theory.result(folder, as_json=False)
    assert "6 models" in capsys.readouterr().out
    report.write(runs, tmp_path / "out")
    assert "small" in (tmp_path / "out" / "theory.html").read_text(encoding="utf-8")
