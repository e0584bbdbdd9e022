"""What the verbs print that need no training."""

import json

import pytest
from factories import make_run
from run_command import run

import tokenprune
from tokenprune.cli.app import app
from tokenprune.cli.progress import progress
from tokenprune.recipe import load_recipe, parse_recipe, shipped_recipes
from tokenprune.recipe.sweep import load_sweep

VERBS = tuple(command.callback.__name__ for command in app.registered_commands if command.callback)


def test_version(capsys):
    assert run(capsys, "--version").out == f"tokenprune {tokenprune.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_fits_and_has_an_example(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    ended = run(capsys, verb, "--help")
    assert ended.status == 0
    assert f"Example: tokenprune {verb}" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


@pytest.mark.parametrize("verb", VERBS)
def test_the_example_of_every_verb_names_only_options_it_has(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = run(capsys, verb, "--help").out
    example = next(line for line in text.splitlines() if "Example: " in line)
    for word in example.split():
        if word.startswith("--"):
            assert text.count(f" {word} ") + text.count(f" {word}\n") >= 2, word


def test_the_help_tells_each_verb_in_a_sentence_that_is_not_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = run(capsys, "--help").out.partition("Commands:")[2]
    assert all(f"  {verb} " in shown for verb in VERBS)
    assert "..." not in shown


def test_listed_recipes_are_those_shipped(capsys):
    listed = json.loads(run(capsys, "ls", "recipes", "--json").out)
    others = [f"{kind}/{name}" for kind in ("theory", "sweeps") for name in shipped_recipes(kind)]
    assert [row["recipe"] for row in listed] == [*shipped_recipes(), *others]


@pytest.mark.parametrize("kind", ["recipes", "pruners", "datasets", "claims"])
def test_lists_fit_80_columns(kind, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(capsys, "ls", kind).out.splitlines()
    assert len(lines) >= 5
    assert max(map(len, lines)) <= 80


def test_listed_runs_say_how_far_they_are(capsys, tmp_path):
    done = make_run(tmp_path, accuracy=0.61, methods={"magnitude": {1.0: 0.61}, "oracle": {1.0: 0.61}})
    begun = make_run(tmp_path, seed=1, finished=False)
    rows = json.loads(run(capsys, "ls", "runs", "--runs-dir", tmp_path, "--json").out)
    assert [row["run"] for row in rows] == [done.name, begun.name]
    assert [row["state"] for row in rows] == ["finished", "interrupted"]
    assert [row["test accuracy"] for row in rows] == [0.61, None]  # missing is null, never 0
    assert rows[0]["pruned by"] == "magnitude, oracle"

    listed = run(capsys, "ls", "runs", "--runs-dir", tmp_path).out
    assert " 61.00% " in listed  # as train and prune print it
    assert " 0.61" not in listed


def test_listed_datasets_say_what_is_there_and_where_it_was_looked_for(capsys, tmp_path):
    (tmp_path / "cifar10.npz").write_bytes(b"")
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "train_32x32.mat").write_bytes(b"")  # half of it
    ended = run(capsys, "ls", "datasets", "--data-dir", tmp_path, "--json")
    assert {row["source"]: row["found"] for row in json.loads(ended.out)} == {
        "patterns": "always",
        "cifar10": "cifar10.npz",
        "cifar100": "cifar-100-python",
        "svhn": "train_32x32.mat",
    }
    assert str(tmp_path) in ended.err


def test_quiet_keeps_warnings(capsys):
    with progress(quiet=True) as reporter:
        reporter.message("starting from there")
        reporter.message("warning: trained otherwise")
    assert capsys.readouterr().err == "warning: trained otherwise\n"


def test_no_runs_is_an_empty_list(capsys, tmp_path):
    assert run(capsys, "ls", "runs", "--runs-dir", tmp_path / "none").err == "no runs here\n"
    assert json.loads(run(capsys, "ls", "runs", "--runs-dir", tmp_path / "none", "--json").out) == []


def test_an_interrupt_is_never_silent(capsys, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tokenprune.recipe.copy_recipe", interrupt)
    ended = run(capsys, "cp", "shallow", "mine.yaml")
    assert (ended.status, ended.out, ended.err) == (130, "", "interrupted\n")


def test_cp_makes_a_recipe_that_trains_the_same(capsys, tmp_path):
    ended = run(capsys, "cp", "shallow", tmp_path / "mine.yaml")
    assert (ended.status, ended.out) == (0, f"{tmp_path / 'mine.yaml'}\n")
    assert load_recipe(tmp_path / "mine.yaml").recipe == load_recipe("shallow").recipe


def test_validate_prints_the_identity_and_what_it_resolves_to(capsys):
    expected = load_recipe("shallow", ["model.depth=6"]).recipe
    found = json.loads(run(capsys, "validate", "shallow", "--set", "model.depth=6", "--json").out)
    assert found == {"recipe": "shallow", "setting": expected.setting(), "family": expected.family()}
    resolved = run(capsys, "validate", "shallow", "--set", "model.depth=6", "--resolved").out
    assert parse_recipe(resolved, "resolved") == expected


@pytest.mark.parametrize("name", ["noise", "sweeps/noise"])
def test_validate_takes_a_sweep_by_its_name_and_its_path(capsys, name):
    expected = load_sweep("noise")
    found = json.loads(run(capsys, "validate", name, "--json").out)
    assert (found["cells"], found["identity"]) == (len(expected.cells), expected.identity)


def test_validate_of_an_unknown_name_tells_the_recipes_there_are(capsys):
    assert "unknown recipe 'shalow': did you mean 'shallow'?" in run(capsys, "validate", "shalow").err
