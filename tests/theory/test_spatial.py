"""Jelassi et al.'s data, network, association score and transfer, held against a plain reference and closed forms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from reference_spatial import association as slow_association
from reference_spatial import gradients, loss, margin

from tokenprune.recipe import RecipeError
from tokenprune.theory.load import load_theory_recipe
from tokenprune.theory.run import theory_run
from tokenprune.theory.spatial import Positional, SpatialPatches, SpatialRecipe, SpatialResult, plan
from tokenprune.theory.spatial.data import direction, draw, partition
from tokenprune.theory.spatial.network import PositionalViT, association
from tokenprune.theory.spatial.training import constructed, score

CPU = torch.device("cpu")
SMALL = (
    "curve.trials=3",
    "curve.iterations=24",
    "curve.every=10",
    "curve.test_samples=50",
    "transfer.samples=[8,20]",
    "transfer.iterations=6",
    "train.batch_size=8",
    "data.patches=12",
    "data.set_size=3",
    "data.dim=5",
)


def recipe(*overrides: str) -> SpatialRecipe:
    loaded = load_theory_recipe("spatial", "spatial", overrides).recipe
    assert isinstance(loaded, SpatialRecipe)
    return loaded


def result(recipe: SpatialRecipe, most: int = 20) -> SpatialResult:
    chunks = plan(recipe, most)
    with torch.inference_mode():
        outputs = [chunk.run(CPU) for chunk in chunks.chunks]
    models = sum(chunk.models for chunk in chunks.chunks)
    known = {"name": "x", "setting": recipe.setting(), "seed": 0, "recipe": recipe.science(), "models": models}
    return SpatialResult(**known, seconds=0.0, device="cpu", **chunks.assemble(outputs))


def networks(count: int, d: int, k: int, power: int) -> PositionalViT:
    torch.manual_seed(3)
    spec = Positional(power=power, linear=0.3)
    scores, value = torch.randn(count, d, d, dtype=torch.float64), 0.1 * torch.randn(count, k, dtype=torch.float64)
    return PositionalViT(scores, value, spec)


@pytest.mark.parametrize("power", [3, 5])
def test_network_matches_the_reference_sample_by_sample(power: int) -> None:
    network = networks(2, 6, 4, power)
    x, y = torch.randn(2, 3, 6, 4, dtype=torch.float64), torch.randint(0, 2, (2, 3)).double() * 2 - 1
    before = [(a.clone(), v.clone()) for a, v in zip(network.scores, network.value, strict=True)]
    margins, losses = network.margins(x), score(network, (x, y))[:, 0]
    network.step(x, y, value_rate=0.5, scores_rate=0.25)
    for m, (a, v) in enumerate(before):
        slow = torch.stack([margin(a, v, sample, power, 0.3) for sample in x[m]])
        torch.testing.assert_close(margins[m], slow, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(losses[m], loss(a, v, x[m], y[m], power, 0.3), rtol=1e-9, atol=1e-9)
        by_scores, by_value = gradients(a, v, x[m], y[m], power, 0.3)
        torch.testing.assert_close((a - network.scores[m]) / 0.25, by_scores, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close((v - network.value[m]) / 0.5, by_value, rtol=1e-6, atol=1e-9)


def test_samples_have_the_moments_of_the_data_model() -> None:
    spec, rng = SpatialPatches(patches=12, set_size=3, dim=6, flips=0.4, noise=0.7), np.random.default_rng(0)
    sets, feature = partition(spec, rng), direction(spec, rng)
    assert np.bincount(sets).tolist() == [3, 3, 3, 3]
    patches, labels = draw(spec, sets, feature, 4000, rng)
    sign = patches @ feature
    assert np.abs(sign - np.round(sign)).max() < 1e-5
    sign = np.round(sign)
    # the label's set is uniform: P(X_j carries y) = 1/L + (1 - 1/L) q/2, and -y comes with (1 - 1/L) q/2
    agree, against = (sign == labels[:, None]).mean(0), (sign == -labels[:, None]).mean(0)
    assert agree == pytest.approx(np.full(12, 1 / 4 + 3 / 4 * 0.2), abs=0.04)
    assert against == pytest.approx(np.full(12, 3 / 4 * 0.2), abs=0.035)
    whole = np.stack([(sign[:, sets == l] == labels[:, None]).all(1) for l in range(4)])  # noqa: E741
    assert whole.any(0).all()
    noise = (patches - sign[..., None] * feature).reshape(-1, 6).astype(float)
    projector = np.eye(6) - np.outer(feature, feature)
    assert noise.T @ noise / len(noise) == pytest.approx(0.49 * projector, abs=0.01)


def test_association_matches_the_reference_and_needs_no_diagonal() -> None:
    torch.manual_seed(0)
    sets = torch.tensor([0, 1, 0, 2, 1, 2, 0, 1, 2])
    scores = torch.randn(4, 9, 9)
    scores[1] += 2 * (sets[:, None] == sets)
    scores[2] += 9 * (sets[:, None] == sets)
    scores[3, 0, 0] = torch.nan
    same = (sets[:, None] == sets).expand(4, 9, 9)
    found = association(scores, same)
    for m in range(3):
        assert found[m].tolist() == pytest.approx(slow_association(scores[m].tolist(), sets.tolist()))
    assert found[2].tolist() == [1, 1]
    assert found[3].isnan().all()


def test_exchanged_sets_generalise_as_well_without_any_association() -> None:
    """F sums over all patches alike, so the sets that they look at may be permuted; here the diagonal is faint too."""
    torch.manual_seed(1)
    d, spec = 12, Positional(diagonal=-20.0)
    sets = torch.arange(d).repeat(2, 1) % 3
    same = sets[:, :, None] == sets[:, None]
    start = PositionalViT(torch.randn(2, d, d), torch.randn(2, 4), spec)
    made = constructed(start, sets, torch.randn(2, 4))
    assert association(made["own"].scores, same).tolist() == [[1, 1], [1, 1]]
    assert association(made["other"].scores, same).tolist() == [[0, 0], [0, 0]]
    x = torch.randn(2, 30, d, 4)
    # a patch of its own set has C - 1 others to look at, of another set C: alike in the limit of many, near here
    own, other = (made[name].margins(x) for name in ("own", "other"))
    assert torch.corrcoef(torch.stack([own[0], other[0]]))[0, 1] > 0.9


def test_training_associates_and_association_transfers() -> None:
    found = result(
        recipe(
            "curve.trials=2",
            "curve.iterations=300",
            "curve.every=150",
            "transfer.samples=[128]",
            "data.patches=24",
            "train.batch_size=64",
            "transfer.iterations=200",
        )
    )
    for trial in range(2):
        assert found.overlap[trial][0] < 0.3
        assert found.overlap[trial][-1] > 0.9
        assert found.accuracy[trial][-1] > found.constructed_accuracy["start"][trial]
        assert found.constructed_accuracy["other"][trial] > 0.95
        assert found.constructed_overlap["other"][trial] == 0
        assert found.target_accuracy["transfer"][0][trial] > found.target_accuracy["scratch"][0][trial]


def test_a_trial_does_not_depend_on_its_chunk() -> None:
    small = recipe(*SMALL)
    assert [len(plan(small, most).chunks) for most in (20, 1)] == [1, 3]
    together, apart = result(small, 20), result(small, 1)
    assert np.array(together.loss) == pytest.approx(np.array(apart.loss), rel=1e-4)
    assert together.target_accuracy == apart.target_accuracy
    assert together.iterations == (0, 10, 20, 24)
    assert len({curve[0] for curve in together.loss}) == 3  # and trials differ


def test_a_diverging_step_size_leaves_nulls_and_the_rest_goes_on(tmp_path: Path) -> None:
    loaded = load_theory_recipe("spatial", "spatial", [*SMALL, "train.step_size=1e6"])
    found = theory_run(loaded, runs_dir=tmp_path).theory_result()
    assert isinstance(found, SpatialResult)
    assert found.models == 3 * (1 + 2 * 2)
    assert all(curve[0] is not None and curve[-1] is None for curve in found.accuracy)
    assert all(curve[-1] is None for curve in found.overlap)
    assert None not in found.constructed_accuracy["own"]
    assert found.target_accuracy["transfer"] == ((None,) * 3,) * 2  # its A is the one that diverged


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.set_size=7", "7 does not divide patches 40"),
        ("data.set_size=40", "one set only"),
        ("data.flips=1.2", "data.flips.*found 1.2"),
        ("data.flips=-0.1", "data.flips.*found -0.1"),
        ("transfer.samples=[16,64]", "transfer.samples.*N = 16 is smaller than train.batch_size 32"),
        ("model.power=4", "4 is even"),
    ],
)
def test_bad_recipes_are_refused_with_the_reason(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(override)
