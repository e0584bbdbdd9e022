import json
import shutil

import pytest
import theory_factories as make
from factories import rewrite

from tokenprune.claims import read_theory
from tokenprune.identity import digest

ATTENTION = [[0.5, 0.6, 0.7]] * 4


def results():
    return [
        make.phase(lambda value: 20 * value, grid={"trials": 3}),
        make.attention(ATTENTION, (0, 10, 20)),
        make.sparsify({"none": [3] * 11, "random": [5] * 11}),
        make.time(lambda eta, alpha: [5, None, 10], convergence={"trials": 3}),
    ]


def test_reads_what_was_written(tmp_path):
    saved = {make.save(tmp_path, result).name: result for result in results()}
    found, problems = read_theory(tmp_path)
    assert problems == []
    assert {folder.name: result.model_copy(update={"files": {}, "seal": None}) for folder, result in found} == saved
    assert read_theory(tmp_path / "absent") == ([], [])


def test_names_and_skips_what_is_unfinished_or_a_copy(tmp_path):
    first, second = (make.save(tmp_path, make.phase(lambda value: 100, seed=seed)) for seed in (0, 1))
    second.set_status("interrupted", 0, 0)
    (second.path / "result.json").unlink()
    copy = first.path.with_name("zz-copy")
    shutil.copytree(first.path, copy)
    found, problems = read_theory(tmp_path)
    assert [folder.name for folder, _ in found] == [first.name]
    assert problems == [
        f"{second.path}: not finished (interrupted): not used",
        f"{copy}: same setting and seed as {first.name}, so no replicate of it: not used",
    ]


def _cut(tree):
    tree["loss"][0][0].pop()


def _impossible(tree):
    tree["error"][1][2][0] = 1.5


def _another(tree):
    tree["recipe"]["train"]["step_size"] = 0.5


def _axis(tree):
    tree["axis"] = "noise"


def _models(tree):
    tree["models"] += 1


def _keys(tree):
    del tree["recipe"]["grid"]
    tree["setting"] = digest(tree["recipe"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_cut, "loss: 2 entries where 3 belong"),
        (_impossible, "error: 1.5 is not possible"),
        (_another, "its recipe is not that of setting"),
        (_axis, "axis: noise here, alpha in its recipe"),
        (_models, "models: 331 here, 330 in its recipe"),
        (_keys, "its recipe lacks keys"),
    ],
)
def test_a_result_that_contradicts_itself_is_refused(tmp_path, change, said):
    folder = make.save(tmp_path, results()[0])
    path = folder.path / "result.json"
    rewrite(path, change)
    found, problems = read_theory(tmp_path)
    assert found == []
    assert len(problems) == 1
    assert said in problems[0]
    assert str(folder.path) in problems[0]


def _of_another_method(tree):
    tree["loss"]["magnitude"] = tree["loss"].pop("random")


def _later(tree):
    tree["iterations_to_no_error"][0][0][0] = tree["recipe"]["convergence"]["iterations"] + 1


def _shorter(tree):
    tree["key_norm"][2].pop()


@pytest.mark.parametrize(
    ("which", "change", "said"),
    [
        (1, _shorter, "key_norm: 2 entries where 3 belong"),
        (2, _of_another_method, "loss: ['magnitude'] where ['random'] belong"),
        (3, _later, "iterations_to_no_error: 1601 is not possible"),
    ],
)
def test_tables_of_every_experiment_have_the_shape_of_their_recipe(tmp_path, which, change, said):
    rewrite(make.save(tmp_path, results()[which]).path / "result.json", change)
    found, problems = read_theory(tmp_path)
    assert (found, len(problems)) == ([], 1)
    assert said in problems[0]


@pytest.mark.parametrize("which", range(4))
def test_older_files_also_hold_what_their_recipe_says(tmp_path, which):
    result = results()[which]
    folder = make.save(tmp_path, result)
    rewrite(folder.path / "result.json", lambda tree: tree.update(result.model_dump(mode="json", exclude={"seal"})))
    assert len((folder.path / "result.json").read_text()) > len(json.dumps(result.stored()))
    assert folder.theory_result().model_copy(update={"files": {}, "seal": None}) == result


def test_truncated_json_is_named(tmp_path):
    folder = make.save(tmp_path, results()[1])
    path = folder.path / "result.json"
    path.write_text(path.read_text()[:-40])
    found, problems = read_theory(tmp_path)
    assert found == []
    assert "not valid JSON" in problems[0]
