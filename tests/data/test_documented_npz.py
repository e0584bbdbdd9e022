"""The code of docs/data.md, run as it stands there."""

import re
from pathlib import Path

from tokenprune import data
from tokenprune.data.archive import read_npz
from tokenprune.recipe import Data

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_documented_file_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len([line for line in code.splitlines() if line and not line.startswith("import")]) <= 6
    exec(code, {})
    found = data.load(Data(source="mine.npz"))
    assert (len(found.train), len(found.test), found.classes) == (160, 40, ("dark", "bright"))
    dark = found.train.images[found.train.labels == 0]
    assert dark.max() < 128


def test_every_array_is_documented(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    asked = re.findall(r"`((?:train|test)_\w+|classes|official)`", PAGE)
    assert {"train_images", "test_images", "train_labels", "test_labels", "classes", "test_exact", "official"} <= {
        *asked
    }
    assert read_npz(Path("mine.npz")).classes == ("dark", "bright")
