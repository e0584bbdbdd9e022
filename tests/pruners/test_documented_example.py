"""The code of docs/pruners.md, run as it stands there."""

import re
from pathlib import Path

import pytest

from tokenprune.pruners import known_pruners

PAGE = Path(__file__).parents[2] / "docs" / "pruners.md"


@pytest.mark.usefixtures("own_pruners")
def test_the_documented_pruner_runs() -> None:
    norm, run = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for line in norm.splitlines() if line.strip()]
    assert len(lines) <= 10
    names: dict = {"__name__": "user_code"}
    exec(norm + run, names)
    trace, model = names["trace"], names["model"]
    assert known_pruners()["norm"] == "Keep the tokens of largest L2 norm."
    assert (trace.logits.shape, trace.states[0].position.shape) == ((8, 10), (8, 32))
    images = names["torch"].randn(2, 3, 32, 32)
    state = model.advance(model.embed(images), 0, 2)
    largest = state.tokens[:, 1:].norm(dim=2).topk(32).indices.sort(dim=1).values
    assert model.run(images, 0.5).states[0].position.equal(largest)


def test_every_signal_is_documented() -> None:
    from tokenprune.pruners import Signals

    text = PAGE.read_text(encoding="utf-8")
    assert [
        name
        for name in vars(Signals)
        if not name.startswith("_") and f"`{name}()`" not in text and f"signals.{name}`" not in text
    ] == []
