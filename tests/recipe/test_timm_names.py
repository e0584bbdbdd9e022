"""Names of timm's models: known from its source as from its registry, and refused where a recipe is read."""

import subprocess
import sys

import pytest
from timm.models import is_model_in_modules, list_models
from timm.models._registry import _model_entrypoints

from tokenprune.recipe import RecipeError, parse_recipe
from tokenprune.recipe.timm_names import FAMILIES, check_name, in_source


def test_names_in_the_source_are_those_of_timms_registry() -> None:
    assert in_source() == {name for family in FAMILIES for name in list_models(module=family)}


def test_a_former_name_is_taken_as_timm_takes_it() -> None:
    former = next(
        name for name in _model_entrypoints if is_model_in_modules(name, FAMILIES) and name not in in_source()
    )
    check_name(former)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vit_tiny_patch16_225", r"timm has no model 'vit_tiny_patch16_225': did you mean 'vit_tiny_patch16_224'\?"),
        ("vit_tiny.augreg_in21k", "timm has no model 'vit_tiny.augreg_in21k'"),
        ("hf-hub:timm/vit_tiny_patch16_224", "timm has no model"),  # would be downloaded
        ("resnet18", "timm's 'resnet18' is not a plain Vision Transformer"),
        ("vit_relpos_small_patch16_224", ".* has biases by relative position"),
    ],
)
def test_a_name_that_is_not_taken_is_an_error_of_the_recipe(name: str, says: str) -> None:
    with pytest.raises(RecipeError, match=rf"^mine\.yaml: model\.name: {says}"):
        parse_recipe(f"model: {{name: '{name}'}}", "mine.yaml")


def test_validate_takes_a_known_name_without_torch_and_refuses_another_in_one_line() -> None:
    code = "import sys; from tokenprune.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    for name, status in (("vit_tiny_patch16_224", 0), ("vit_tiny_patch16_225", 2)):
        command = ["validate", "quickstart", "--set", f"model.name={name}"]
        ended = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
        assert (ended.returncode, ended.stdout.splitlines()[-1]) == (status, str(status == 2))
        if status:
            assert ended.stderr.startswith(f"error: --set model.name={name}: timm has no model")
            assert ended.stderr.count("\n") == 1  # no warning of keys without effect before it
