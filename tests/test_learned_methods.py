"""Every built-in method that learns: trained by the program, saved, and measured with what was saved."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tokenprune import pipeline
from tokenprune.errors import UsageError
from tokenprune.pipeline.prepare import prepare
from tokenprune.pruners import BUILT_IN, create
from tokenprune.pruners.registry import LEARNED
from tokenprune.recipe import Evaluate, Loaded, RecipeError, choose_evaluation, parse_recipe

TINY = """
data: {source: patterns, patterns: {image_size: 16, classes: 3, count: 6, train_size: 100, test_size: 60, noise: 0.2}}
model: {depth: 2, dim: 12, heads: 3}
train: {epochs: 2, batch_size: 20, precision: fp32, augment: {crop: 0, flip: false}}
pruner: {keep_ratio: 0.5, site: "before:0,1"}
evaluate: {batch_size: 20, examples: 3}
"""
METHODS = [name for name, line in BUILT_IN.items() if line.endswith(LEARNED)]


@pytest.mark.parametrize("method", METHODS)
def test_its_curve_is_that_of_what_training_saved(method: str, tmp_path: Path) -> None:
    """Training scores the model with its own pruner: pruning with the saved parameters answers as many images."""
    overrides = (f"pruner.name={method}",)
    run = pipeline.train_run(Loaded(parse_recipe(TINY, "tiny", overrides), "tiny", TINY, overrides), runs_dir=tmp_path)
    assert load_file(run.pruner)
    asked = {"methods": (method,), "keep": (1.0, 0.5), "site": "before:0,1", "seeds": 1, "batch_size": 20}
    ((_, result),) = pipeline.prune_run(run, Evaluate(**asked))
    whole, half = result.points
    assert half.correct == run.result().test_correct
    assert (whole.keep_ratio, half.keep_ratio) == (1.0, 0.5)
    if not create(method).fixed:
        asked["keep"] = (0.75, 0.25)
        ((_, result),) = pipeline.prune_run(run, Evaluate(**asked))
        assert len(result.points) == 2


@pytest.mark.parametrize("method", METHODS)
def test_it_is_fine_tuned_from_a_run_without_it(method: str, plain) -> None:
    asked = {"methods": (method,), "keep": (0.5,), "site": "before:0,1", "seeds": 1, "batch_size": 20}
    ((_, result),) = pipeline.prune_run(plain, Evaluate(**asked, finetune_epochs=1))
    assert result.points[0].keep_ratio == 0.5


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory):
    overrides = ("pruner.name=none",)
    loaded = Loaded(parse_recipe(TINY, "tiny", overrides), "tiny", TINY, overrides)
    return pipeline.train_run(loaded, runs_dir=tmp_path_factory.mktemp("plain"))


FIXED = [name for name in METHODS if create(name).fixed]


@pytest.mark.parametrize("method", FIXED)
def test_one_made_for_a_number_of_tokens_is_measured_at_that_number(method: str, tmp_path: Path) -> None:
    overrides = (f"pruner.name={method}",)
    run = pipeline.train_run(Loaded(parse_recipe(TINY, "tiny", overrides), "tiny", TINY, overrides), runs_dir=tmp_path)
    asked = {"methods": (method,), "site": "before:0,1", "seeds": 1, "batch_size": 20}
    for keep in ((0.75, 0.5), (0.75,)):
        with pytest.raises(UsageError, match=r"for the number of tokens that it was trained with: give --keep 1,0\.5$"):
            pipeline.prune_run(run, Evaluate(keep=keep, **asked))
    for change in ("pruner.anneal_epochs=1", "train.patch_dropout=0.5"):
        loaded = Loaded(parse_recipe(TINY, "tiny", (*overrides, change)), "tiny", TINY, (*overrides, change))
        with pytest.raises(UsageError, match="made for one number of tokens"):
            pipeline.dry_run(loaded)


@pytest.mark.parametrize("method", METHODS)
def test_one_trained_at_other_sites_says_so(method: str, tmp_path: Path) -> None:
    overrides = (f"pruner.name={method}", "train.epochs=1")
    run = pipeline.train_run(Loaded(parse_recipe(TINY, "tiny", overrides), "tiny", TINY, overrides), runs_dir=tmp_path)
    asked = Evaluate(methods=(method,), keep=(0.5,), site="before:1", seeds=1, batch_size=20)
    with pytest.raises(UsageError, match=f"'{method}' of tiny-.* was trained at before:0,1, not at before:1$"):
        pipeline.prune_run(run, asked)
    chosen = choose_evaluation(run.resolved, run.result().model, methods=[method])
    assert chosen.site == "before:0,1"


@pytest.mark.parametrize("method", METHODS)
def test_one_that_removes_nothing_has_nothing_to_learn(method: str) -> None:
    with pytest.raises(RecipeError, match=f"1 removes no token, and pruner '{method}' has parameters"):
        parse_recipe(TINY, "tiny", (f"pruner.name={method}", "pruner.keep_ratio=1"))


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_hardly_learns_is_warned_of_where_it_starts_from_nothing(method: str) -> None:
    overrides = (f"pruner.name={method}",)
    notes = pipeline.dry_run(Loaded(parse_recipe(TINY, "tiny", overrides), "tiny", TINY, overrides)).notes
    slow = create(method).model_rate < 1
    assert any("it starts from random weights" in note for note in notes) == slow


@pytest.mark.parametrize("method", METHODS)
def test_asked_for_without_training_it_says_so(method: str, plain) -> None:
    asked = {"methods": (method,), "keep": (0.5,), "site": "before:0,1", "seeds": 1, "batch_size": 20}
    with pytest.raises(UsageError, match=f"pruner '{method}' has parameters to learn, and .* was not trained with it"):
        pipeline.prune_run(plain, Evaluate(**asked))


@pytest.mark.parametrize("method", [name for name in METHODS if create(name).model_rate == 0])
def test_a_model_that_does_not_learn_stays_as_it_was(method: str, tmp_path: Path) -> None:
    overrides = (f"pruner.name={method}",)
    loaded = Loaded(parse_recipe(TINY, "tiny", overrides), "tiny", TINY, overrides)
    before = prepare(loaded.recipe, None).model.vit.state_dict()
    run = pipeline.train_run(loaded, runs_dir=tmp_path)
    after = load_file(run.weights)
    assert all(torch.equal(after[name], value) for name, value in before.items())
