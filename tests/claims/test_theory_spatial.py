"""Verdicts on spatial results whose truth is known."""

import math

import numpy as np
import pytest
from factories import rewrite
from theory_factories import save

from tokenprune.claims import Verdict, judge, laboratory_studies, read_theory
from tokenprune.experiments import CLAIMS
from tokenprune.theory.spatial import SpatialRecipe, SpatialResult

TRIALS = 40


def spatial(
    transfer: float, scratch: float, *, seed: int = 0, overlap: tuple[float, float] = (0.1, 0.9)
) -> SpatialResult:
    """From N50 of both arms, success being logistic in log N; association is `overlap` first and last, on average."""
    recipe = SpatialRecipe.model_validate({"curve": {"trials": TRIALS, "every": 600}})
    rng, samples = np.random.default_rng(seed), recipe.transfer.samples

    def arm(n50: float) -> list[list[float]]:
        rates = [1 / (1 + (n50 / n) ** 3) for n in samples]
        return [[0.97 if hit else 0.9 for hit in rng.random(TRIALS) < rate] for rate in rates]

    curves = [[value + 0.02 * rng.standard_normal() for value in overlap] for _ in range(TRIALS)]
    made = {name: [0.5] * TRIALS for name in ("own", "other", "start")}
    return SpatialResult(
        name="spatial",
        setting=recipe.setting(),
        seed=seed,
        recipe=recipe.science(),
        models=TRIALS * (1 + 2 * len(samples)),
        seconds=1.0,
        device="cpu",
        overlap=curves,
        exact=curves,
        loss=curves,
        accuracy=curves,
        constructed_overlap=made,
        constructed_exact=made,
        constructed_loss=made,
        constructed_accuracy=made,
        target_accuracy={"transfer": arm(transfer), "scratch": arm(scratch)},
    )


def judged(*results: SpatialResult) -> dict[tuple[str, str | None], Verdict]:
    found = judge(laboratory_studies((f"run-{index}", result) for index, result in enumerate(results)), CLAIMS)
    return {(verdict.experiment, verdict.variant): verdict for verdict in found}


@pytest.mark.parametrize(
    ("transfer", "scratch", "said"),
    [(60, 960, "supported"), (240, 240, "undecided"), (960, 120, "refuted")],
)
def test_transfer_is_judged_by_the_ratio_of_sample_complexities(transfer: float, scratch: float, said: str) -> None:
    verdict = judged(spatial(transfer, scratch))["T9", None]
    assert verdict.verdict == said
    assert verdict.effect == pytest.approx(math.log2(scratch / transfer), abs=0.6)
    assert verdict.low < math.log2(scratch / transfer) < verdict.high


def test_seeds_are_pooled() -> None:
    one, two = judged(spatial(60, 960))["T9", None], judged(spatial(60, 960), spatial(60, 960, seed=1))["T9", None]
    assert (one.n, two.n) == (TRIALS, 2 * TRIALS)
    assert two.high - two.low < one.high - one.low


def test_an_arm_without_success_says_which_n_to_add() -> None:
    verdict = judged(spatial(60, 1e9))["T9", None]
    assert "N50 of scratch is > 2048" in verdict.why
    assert "transfer.samples=[32,64,128,256,512,1024,2048,4096,8192]" in verdict.todo


@pytest.mark.parametrize(
    ("overlap", "said"), [((0.1, 0.9), "supported"), ((0.9, 0.1), "refuted"), ((0.5, 0.5), "undecided")]
)
@pytest.mark.parametrize("variant", [None, "exact"])
def test_association_is_judged_by_its_growth(overlap: tuple[float, float], said: str, variant: str | None) -> None:
    verdict = judged(spatial(60, 960, overlap=overlap))["T8", variant]
    assert verdict.verdict == said
    assert verdict.effect == pytest.approx(overlap[1] - overlap[0], abs=0.02)
    assert verdict.n == TRIALS


def test_a_result_whose_numbers_cannot_be_is_not_read(tmp_path) -> None:
    def impossible(tree: dict) -> None:
        tree["target_accuracy"]["scratch"][0][0] = 1.5

    good, bad = (save(tmp_path, spatial(60, 960, seed=seed)) for seed in range(2))
    rewrite(bad.path / "result.json", impossible)
    read, problems = read_theory(tmp_path)
    assert [folder.name for folder, _ in read] == [good.name]
    assert len(problems) == 1
    assert "target_accuracy of scratch: 1.5 is not possible" in problems[0]
