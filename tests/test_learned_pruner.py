"""A pruner that learns, from training to its curve: its parameters, its loss, its teacher."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from tokenprune import pipeline, pruners
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.models import Trace
from tokenprune.pruners import Pruner, Shape, Signals, TokenState
from tokenprune.pruners.base import select
from tokenprune.recipe import Evaluate, Loaded, RecipeError, parse_recipe
from tokenprune.runs import RunFolder

TINY = """
data: {source: patterns, patterns: {image_size: 16, classes: 3, count: 6, train_size: 100, test_size: 60, noise: 0.2}}
model: {depth: 2, dim: 12, heads: 3}
train: {epochs: 2, batch_size: 20, precision: fp32, augment: {crop: 0, flip: false}}
pruner: {name: gated, keep_ratio: 0.5, site: "before:0,1"}
evaluate: {batch_size: 20, examples: 3}
"""
CONSTANT = 5.0


class Gated(Pruner):
    """Gates at full length while it trains, top-k afterwards; a layer per site."""

    taught: ClassVar[list[torch.Tensor | None]] = []

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self.score = nn.ModuleDict({str(site): nn.Linear(shape.dim, 1) for site in sites})

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        score = self.score[str(signals.site)](state.tokens[:, state.prefix :])[:, :, 0]
        return replace(state, weight=score.sigmoid()) if self.training else select(state, score, keep)

    def loss(self, trace: Trace, batch, teacher):
        self.taught.append(None if teacher is None else teacher.logits)
        gates = torch.stack([state.weight.mean() for state in trace.states if state.weight is not None])
        ratio = (gates - 0.5).square().sum()
        return CONSTANT + ratio + (0 if teacher is None else F.mse_loss(trace.logits.float(), teacher.logits))


@pytest.fixture(autouse=True, scope="module")
def gated() -> Iterator[None]:
    pruners.register("gated")(Gated)
    yield
    del pruners.registry._classes["gated"]


def tiny(*overrides: str) -> Loaded:
    return Loaded(parse_recipe(TINY, "tiny", overrides), "tiny", TINY, overrides)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return pipeline.train_run(tiny(), runs_dir=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return pipeline.train_run(tiny("pruner.name=none"), runs_dir=tmp_path_factory.mktemp("plain"))


def prune(run: RunFolder, **changes):
    asked = {"methods": ("gated",), "keep": (1.0, 0.5), "site": "before:0,1", "seeds": 1, "batch_size": 20}
    ((_, result),) = pipeline.prune_run(run, Evaluate(**asked | changes))
    return result


def test_its_curve_is_that_of_the_parameters_it_was_trained_to(run: RunFolder) -> None:
    learned = load_file(run.pruner)
    assert {name: list(value.shape) for name, value in learned.items()} == {
        f"score.{site}.{part}": shape for site in (0, 2) for part, shape in (("weight", [1, 12]), ("bias", [1]))
    }
    assert prune(run).points[1].correct == run.result().test_correct  # training scores the model with its own pruner


def test_its_loss_is_part_of_the_training_loss(run: RunFolder) -> None:
    assert run.epochs()[1].train_loss > CONSTANT > run.epochs()[1].test_loss


def test_parameters_that_are_not_there_or_not_its_own_are_refused(run: RunFolder, plain: RunFolder) -> None:
    with pytest.raises(UsageError, match=r"'gated' has parameters to learn, and tiny-.* was not trained with it"):
        prune(plain)
    with pytest.raises(TokenpruneError, match=r"was trained at before:0,1, not at before:0"):
        prune(run, site="before:0")
    assert prune(run, methods=("magnitude",), site="before:0").method == "magnitude"


def test_a_damaged_or_missing_file_is_named(tmp_path: Path) -> None:
    run = pipeline.train_run(tiny("train.epochs=1"), runs_dir=tmp_path)
    save_file({name: value + 1 for name, value in load_file(run.pruner).items()}, run.pruner)
    with pytest.raises(TokenpruneError, match=r"pruner\.safetensors: damaged"):
        prune(run)
    run.pruner.unlink()
    with pytest.raises(TokenpruneError, match=r"pruner\.safetensors: missing"):
        prune(run)


def test_fine_tuning_makes_them_and_the_run_itself_teaches(plain: RunFolder) -> None:
    Gated.taught.clear()
    assert prune(plain, finetune_epochs=1, keep=(0.5,)).points[0].keep_ratio == 0.5
    assert len(Gated.taught) == 5
    assert all(logits is not None and logits.shape == (20, 3) for logits in Gated.taught)


@pytest.mark.parametrize("what", ["run", "file"])
def test_a_teacher_is_a_run_or_weights_of_the_same_model(plain: RunFolder, what: str) -> None:
    path = plain.path if what == "run" else plain.weights
    prepared = pipeline.prepare(tiny(f"train.teacher={path}").recipe, None)
    assert prepared.teacher is not None
    found, expected = prepared.teacher.state_dict(), load_file(plain.weights)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not prepared.teacher.training
    assert not any(parameter.requires_grad for parameter in prepared.teacher.parameters())
    assert [note for note in prepared.notes if "normalised" in note] == []


def test_a_teacher_changes_the_setting_by_its_bytes(plain: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(plain.weights.read_bytes())
    folder, file = (tiny(f"train.teacher={path}").recipe.setting() for path in (plain.path, copy))
    assert tiny().recipe.setting() != folder == file


def test_a_teacher_that_teaches_nobody_is_refused(plain: RunFolder) -> None:
    with pytest.raises(RecipeError, match=r"train\.teacher=.*teaches a pruner; there is none"):
        tiny(f"train.teacher={plain.path}", "pruner.name=none")
    with pytest.raises(UsageError, match=r"train\.teacher: pruner 'magnitude' has no loss that uses a teacher"):
        pipeline.prepare(tiny(f"train.teacher={plain.path}", "pruner.name=magnitude").recipe, None)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["train.teacher=absent.safetensors"], "train.teacher: absent.safetensors: cannot read"),
        (["train.teacher={weights}", "model.dim=24"], "train.teacher: .*another model|train.teacher: .*shape"),
        (["train.teacher={folder}", "data.patterns.classes=2"], "train.teacher: .* classifies other classes"),
    ],
)
def test_a_teacher_of_something_else_is_named(plain: RunFolder, overrides: list[str], says: str) -> None:
    said = [override.format(weights=plain.weights, folder=plain.path) for override in overrides]
    with pytest.raises(TokenpruneError, match=says):
        pipeline.prepare(tiny(*said).recipe, None)
