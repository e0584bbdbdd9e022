"""Whatever is typed, the answer is a recipe or a clear error: a few hundred examples, others with $TOKENPRUNE_FUZZ=N.

N times as many are then drawn anew at every run.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenprune.errors import UsageError
from tokenprune.recipe import Recipe, dump_recipe, parse_recipe, shipped_recipes
from tokenprune.recipe.document import keys
from tokenprune.recipe.grid import Sweep
from tokenprune.recipe.site import Schedule
from tokenprune.recipe.yaml import typed

MANY = int(os.environ.get("TOKENPRUNE_FUZZ", "1"))
KEYS = [key.path for key in keys()]
TEXTS = [path.read_text(encoding="utf-8") for kind in ("", "sweeps") for path in shipped_recipes(kind).values()]
_SCALARS = ["010", "1e999", "-0", ".nan", "~", "null", "2024-01-01", "'", '"\\ud800"', "9" * 40, "1:30", "true", "é"]
_STRUCTURE = [
    "!!set {a}",
    "&a [*a]",
    "[[[",
    "{}",
    "#",
    " # x",
    "*",
    "- - -",
    "? x",
    "\t",
    "<<",
    "<<: *a",
    "\0",
    "before:9",
]
ODD = st.sampled_from([*_SCALARS, *_STRUCTURE])


def bounded(error: UsageError) -> None:
    assert 0 < len(str(error)) < 20_000
    assert all(len(line) < 3000 for line in str(error).splitlines())


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 12))
        text = text[:at] + draw(ODD | st.text(max_size=6)) + text[at + length :]
    return text


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, where in ((Recipe, ""), (Sweep, "sweeps")) for name in sorted(shipped_recipes(where))],
)
@pytest.mark.parametrize(
    ("old", "new"), [("site: input,", "site: input:last,"), ('site: "before:0"', 'site: "before:00"')]
)
def test_a_recipe_is_the_same_when_it_is_read_again(kind: type, name: str, old: str, new: str) -> None:
    text = shipped_recipes("sweeps" if kind is Sweep else "")[name].read_text(encoding="utf-8")
    recipe = parse_recipe(text, "r.yaml", kind=kind)
    assert parse_recipe(text.replace(old, new), "r.yaml", kind=kind) == recipe
    assert parse_recipe(dump_recipe(recipe), "again.yaml", kind=kind) == recipe


@settings(max_examples=150 * MANY, suppress_health_check=[HealthCheck.too_slow])
@given(mutated() | st.text(max_size=60), st.sampled_from([Recipe, Sweep]))
def test_a_recipe(text: str, kind: type) -> None:
    try:
        recipe = parse_recipe(text, "r.yaml", kind=kind)
    except UsageError as error:
        bounded(error)
    else:
        assert parse_recipe(dump_recipe(recipe), "again.yaml", kind=kind) == recipe


@settings(max_examples=200 * MANY)
@given(st.lists(st.tuples(st.sampled_from(KEYS) | st.text(max_size=8), ODD | st.text(max_size=12)), max_size=3))
def test_overrides(pairs: list[tuple[str, str]]) -> None:
    try:
        recipe = parse_recipe("{}", "r.yaml", [f"{key}={value}" for key, value in pairs])
    except UsageError as error:
        bounded(error)
    else:
        assert parse_recipe(dump_recipe(recipe), "again.yaml") == recipe
        assert len(recipe.setting()) == 8


@settings(max_examples=150 * MANY)
@given(ODD | st.text(max_size=20), st.booleans())
def test_options(text: str, keep: bool) -> None:
    try:
        typed(f"[{text}]", "--keep", []) if keep else Schedule.parse(text)
    except UsageError as error:
        bounded(error)


@settings(max_examples=50 * MANY)
@given(st.binary(max_size=200))
def test_a_file_of_bytes(tmp_path_factory, content: bytes) -> None:
    from tokenprune.recipe import load_recipe

    path: Path = tmp_path_factory.mktemp("fuzz") / "r.yaml"
    path.write_bytes(content)
    try:
        load_recipe(path)
    except UsageError as error:
        bounded(error)
