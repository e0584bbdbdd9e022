"""Names of timm's models without timm: the same as its registry, and refused where a recipe is read."""

import subprocess
import sys

import pytest
from timm.models._registry import _model_entrypoints, _model_to_module

from tokenprune.recipe import RecipeError, parse_recipe
from tokenprune.recipe.timm_names import timm_models


def test_names_and_modules_are_those_of_timms_registry() -> None:
    found = timm_models()
    assert set(found) == set(_model_entrypoints)
    assert {name: found[name] for name in _model_to_module} == _model_to_module


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vit_tiny_patch16_225", r"timm has no model 'vit_tiny_patch16_225': did you mean 'vit_tiny_patch16_224'\?"),
        ("vit_tiny.augreg_in21k", "timm has no model 'vit_tiny.augreg_in21k'"),
        ("hf-hub:timm/vit_tiny_patch16_224", "timm has no model"),  # would be downloaded
        ("resnet18", "timm's 'resnet18' is not a plain Vision Transformer"),
        ("vit_relpos_small_patch16_224", r".*\(it is of timm's module vision_transformer_relpos; "),
    ],
)
def test_a_name_that_is_not_taken_is_an_error_of_the_recipe(name: str, says: str) -> None:
    with pytest.raises(RecipeError, match=rf"^mine\.yaml: model\.name: {says}"):
        parse_recipe(f"model: {{name: '{name}'}}", "mine.yaml")


def test_validate_says_so_in_one_line_and_without_torch() -> None:
    code = "import sys; from tokenprune.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    command = ["validate", "quickstart", "--set", "model.name=vit_tiny_patch16_225"]
    ended = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "False\n")
    assert ended.stderr.startswith("error: --set model.name=vit_tiny_patch16_225: timm has no model")
    assert ended.stderr.count("\n") == 1  # no warning of keys without effect before it
