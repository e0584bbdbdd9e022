"""Claims that compare settings (I2, I5, I6, I7), and which settings the others judge (I3, I4)."""

import itertools
from pathlib import Path

import pytest
from factories import make_prune, make_run, reseal
from trained import judged, samples, train

from tokenprune.claims import Verdict, judge, read_runs, studies
from tokenprune.claims.evidence import read_keys
from tokenprune.experiments import CLAIMS
from tokenprune.recipe import dump_recipe, parse_recipe
from tokenprune.runs import RunFolder


def test_i2_compares_at_the_ratio_nearest_alpha(tmp_path: Path) -> None:
    train(tmp_path, [0.50, 0.51, 0.52])
    for keep, accuracy in ((0.6, 0.56), (0.3, 0.3)):
        train(tmp_path, [accuracy, accuracy, accuracy + 0.01], method="oracle", keep=keep, kept_relevance=0.9)
        train(tmp_path, [accuracy - 0.05, accuracy - 0.045, accuracy - 0.04], method="magnitude", keep=keep)
        train(tmp_path, accuracy - 0.1, method="random", keep=keep)
    (oracle,) = judged(tmp_path, "sparsified-training-helps")
    assert oracle.values == pytest.approx({0: 0.06, 1: 0.05, 2: 0.05})
    assert (oracle.verdict, oracle.title) == ("supported", "composite")
    assert "keep ratio 0.6 (which keeps 83% of the relevant area)" in oracle.why  # 39 of 64 tokens, .9 / .66
    (magnitude,) = judged(tmp_path, "sparsified-by-magnitude-costs-little")
    assert magnitude.values == pytest.approx({0: 0.01, 1: 0.005, 2: 0.0})
    assert magnitude.verdict == "supported"  # above -.01
    (against,) = judged(tmp_path, "sparsified-magnitude-beats-random")
    assert against.values == pytest.approx({0: 0.05, 1: 0.055, 2: 0.06})
    assert "mean over 2 keep ratios" in against.why


def test_i2_refutes_and_finishes_what_was_begun(tmp_path: Path) -> None:
    train(tmp_path, [0.50, 0.51, 0.52])
    train(tmp_path, [0.40, 0.42, 0.42], method="oracle", keep=0.6, kept_relevance=0.9)
    train(tmp_path, [0.45], method="magnitude", keep=0.6)
    (oracle,) = judged(tmp_path, "sparsified-training-helps")
    assert oracle.verdict == "refuted"
    (magnitude,) = judged(tmp_path, "sparsified-by-magnitude-costs-little")
    assert (magnitude.verdict, magnitude.n) == ("undecided", 1)
    assert magnitude.why.endswith("a verdict needs 3 seeds, 2 more.")
    assert [line.split("--seed ")[1][0] for line in (magnitude.todo or "").splitlines()] == ["1", "2"]
    assert (magnitude.todo or "").count("--set pruner.name=magnitude --set pruner.keep_ratio=0.6") == 2
    (against,) = judged(tmp_path, "sparsified-magnitude-beats-random")
    assert against.why == "no keep ratio was trained with both magnitude and random."
    assert (against.todo or "").count("--set pruner.name=magnitude") == 2
    assert (against.todo or "").count("--set pruner.name=random") == 3


def test_sites_are_never_mixed(tmp_path: Path) -> None:
    train(tmp_path, 0.5, depth=2)
    train(tmp_path, 0.6, method="oracle", keep=0.6, kept_relevance=0.9, depth=2)
    train(tmp_path, 0.4, "pruner.site=before:1", method="oracle", keep=0.6, kept_relevance=0.9, depth=2)
    found = {verdict.site: verdict for verdict in judged(tmp_path, "sparsified-training-helps")}
    assert {site: verdict.verdict for site, verdict in found.items()} == {
        "before:0": "supported",
        "before:1": "refuted",
    }
    assert len({verdict.family for verdict in found.values()}) == 1


def test_a_run_without_a_pruner_is_asked_for(tmp_path: Path) -> None:
    train(tmp_path, [0.6, 0.6], method="oracle", keep=0.6, kept_relevance=0.9)
    (found,) = judged(tmp_path, "sparsified-training-helps")
    assert found.why == "no run was trained without a pruner."
    assert (found.todo or "").count("--set pruner.name=none") == 3


@pytest.mark.parametrize(
    ("keep", "site", "why"),
    [
        (0.99, "before:0", "keep ratio 0.99 removes none of 64 tokens"),
        (0.5, "after:0", "site 'after:0': after the attention of the last block (0) nothing reads patch tokens"),
    ],
)
def test_a_pruner_that_changes_nothing_is_compared_with_nothing(
    tmp_path: Path, keep: float, site: str, why: str
) -> None:
    """It trained the model without a pruner once more, so that the two cost each other nothing."""
    train(tmp_path, [0.50, 0.51, 0.52])
    train(tmp_path, [0.50, 0.51, 0.52], f"pruner.site={site}", method="magnitude", keep=keep)
    runs, problems = read_runs(tmp_path)
    assert [why in problem and "not used in verdicts" in problem for problem in problems] == [True] * 3
    assert len(runs) == 6
    assert all(verdict.experiment != "I2" for verdict in judge(studies(runs), CLAIMS))


def test_a_lone_setting_is_no_comparison(tmp_path: Path) -> None:
    train(tmp_path, 0.5)
    runs, _ = read_runs(tmp_path)
    assert {verdict.experiment for verdict in judge(studies(runs), CLAIMS)} == {"I3", "I4"}


def test_i5_reads_the_worst_group_between_the_extreme_alphas(tmp_path: Path) -> None:
    def groups(worst: float) -> dict[str, float]:
        return {"airplane, scenery": 0.95, "airplane, plants": worst, "bird, scenery": worst + 0.1, "bird, plants": 0.9}

    scene = ("data.scene=spurious",)
    train(tmp_path, 0.8, *scene, groups=groups(0.5), relevant_share=0.66)
    train(tmp_path, 0.85, *scene, method="oracle", keep=0.8, kept_relevance=0.8, groups=groups(0.4))
    train(tmp_path, 0.9, *scene, method="oracle", keep=0.6, kept_relevance=0.95, groups=groups(0.7))
    train(tmp_path, 0.7, *scene, method="random", keep=0.6, kept_relevance=0.66, groups=groups(0.1))
    (found,) = judged(tmp_path, "sparsification-cures-spurious")
    assert found.values == pytest.approx(dict.fromkeys(range(3), 0.2))
    assert (found.verdict, found.title) == ("supported", "spurious")
    assert "at alpha_* 0.95 less that at 0.66" in found.why
    assert "0.874 -> 0.997" in (found.published or "")
    assert "slides, read off axes" in (found.published or "")
    assert judged(tmp_path, "sparsified-training-helps") == []


def test_i6_compares_starts_with_scratch_and_with_each_other(tmp_path: Path) -> None:
    train(tmp_path, 0.5)
    train(tmp_path, [0.54, 0.55, 0.56], "start.source=cifar100")
    train(tmp_path, 0.53, "start.source=cifar10", "start.noise=0.1")
    train(tmp_path, 0.3, "start.source=cifar10", "start.noise=0.2")
    train(tmp_path, [0.54, 0.54, 0.53], "start.source=cifar10", "start.noise=0.4")
    (helps,) = judged(tmp_path, "start-from-cifar100-helps")
    assert helps.values == pytest.approx({0: 0.04, 1: 0.05, 2: 0.06})
    assert (helps.verdict, helps.site) == ("supported", None)
    (worse,) = judged(tmp_path, "noisier-start-is-worse")
    assert worse.values == pytest.approx({0: -0.01, 1: -0.01, 2: 0.0})
    assert worse.verdict == "undecided"
    assert worse.setting == helps.setting  # said of the runs from scratch
    assert [line for line in (worse.todo or "").splitlines() if "noise=0.2" in line] == []


def test_i6_asks_for_the_start_that_is_missing(tmp_path: Path) -> None:
    train(tmp_path, 0.5)
    train(tmp_path, 0.53, "start.source=cifar10", "start.noise=0.2")
    (helps,) = judged(tmp_path, "start-from-cifar100-helps")
    assert helps.why == "no run starts from CIFAR-100."
    assert (helps.todo or "").count("--set start.source=cifar100") == 3
    (worse,) = judged(tmp_path, "noisier-start-is-worse")
    assert worse.why == "all starts are equally noisy."
    assert (worse.todo or "").count("--set start.noise=0.1") == 3


def test_i7_is_about_noise_tokens_alone(tmp_path: Path) -> None:
    noise = ("data.scene=plain", "data.noise_tokens=0.5")
    train(tmp_path, 0.5, *noise, relevant_share=0.5)
    for keep, accuracy in ((0.5, 0.6), (0.9, 0.2)):
        train(tmp_path, accuracy, *noise, method="oracle", keep=keep, kept_relevance=1.0)
        train(tmp_path, accuracy - 0.2, *noise, method="magnitude", keep=keep, kept_relevance=1.0)
    (oracle,) = judged(tmp_path, "dropping-noise-helps")
    (magnitude,) = judged(tmp_path, "magnitude-drops-noise")
    assert (oracle.verdict, magnitude.verdict) == ("supported", "refuted")
    assert (oracle.effect, magnitude.effect) == pytest.approx((0.1, -0.1))
    assert oracle.title == "plain, noise tokens 0.5"
    assert judged(tmp_path, "sparsified-training-helps") == []


def test_i4_judges_the_most_images_from_scratch_without_a_pruner(tmp_path: Path) -> None:
    train(tmp_path, 0.4, "data.train_size=250", "train.epochs=96")
    train(tmp_path, 0.5, "data.train_size=4000", "train.epochs=6")
    train(tmp_path, 0.5, "data.train_size=4000", "train.epochs=6", method="oracle", keep=0.6)
    train(tmp_path, 0.5, "data.train_size=4000", "train.epochs=6", "start.source=cifar100")
    train(tmp_path, 0.5, "data.train_size=250", "data.scene=spurious")
    found = judged(tmp_path, "attention-concentrates")
    assert [(verdict.title, verdict.n) for verdict in found] == [("composite", 3)]
    (large,) = found
    assert [each.title for each in judged(tmp_path, "attention-follows-spurious")] == ["spurious"]
    runs = {run.folder.name: run.result for run in read_runs(tmp_path)[0]}
    assert {runs[name].data.train_count for name in large.evidence} == {4000}
    assert {runs[name].pruner for name in large.evidence} == {"none"}


def test_i2_reads_the_most_images_alone(tmp_path: Path) -> None:
    for n, gain in ((250, 0.3), (4000, 0.02)):
        train(tmp_path, 0.4, f"data.train_size={n}")
        train(tmp_path, [0.4 + gain, 0.41 + gain, 0.4 + gain], f"data.train_size={n}", method="oracle", keep=0.6)
    (found,) = judged(tmp_path, "sparsified-training-helps")
    assert found.effect == pytest.approx(0.07 / 3)


def test_i3_judges_what_was_measured_and_where_nothing_was_misses_it_where_i4_looks(tmp_path: Path) -> None:
    prunes = {"magnitude": {1.0: 0.4, 0.5: 0.39}, "random": {1.0: 0.4, 0.5: 0.3}}
    train(tmp_path, 0.45, "data.train_size=1000")
    train(tmp_path, 0.5, "data.train_size=4000")
    train(tmp_path, 0.5, "data.train_size=4000", method="random", keep=0.6)

    def said() -> list[tuple[int, str, str]]:
        found = judged(tmp_path, "magnitude-beats-random")
        sizes = {run.result.setting: run.result.data.train_count for run in read_runs(tmp_path)[0]}
        return [(sizes[verdict.setting], verdict.verdict, verdict.why) for verdict in found]

    assert said() == [(4000, "undecided", "no run was measured with both magnitude and random.")]
    train(tmp_path, 0.4, "data.train_size=250", methods=prunes)
    assert [found[:2] for found in said()] == [(250, "supported")]


def test_magnitude_must_keep_more_relevant_tokens_than_chance(tmp_path: Path) -> None:
    for seed in range(3):
        run = make_run(tmp_path, seed=seed, methods={"random": {1.0: 0.6, 0.75: 0.6, 0.5: 0.5}})
        kept = {1.0: 1.0, 0.75: 0.9 + 0.01 * seed, 0.5: 0.8}
        make_prune(run, "magnitude", {1.0: 0.6, 0.75: 0.6, 0.5: 0.55}, recall=kept)
    (found,) = judged(tmp_path, "magnitude-keeps-relevant")
    assert found.values == pytest.approx({0: 0.225, 1: 0.23, 2: 0.235})
    assert (found.verdict, found.unit) == ("supported", "share of relevant tokens")


def test_pretraining_is_no_evidence(tmp_path: Path) -> None:
    prunes = {"magnitude": {1.0: 0.6, 0.5: 0.5}, "random": {1.0: 0.6, 0.5: 0.4}}
    train(tmp_path, 0.6, "data.scene=plain", recipe="pretrain", methods=prunes)
    runs, _ = read_runs(tmp_path)
    assert len(runs) == 3
    assert judge(studies(runs), CLAIMS) == []


def test_the_order_of_runs_does_not_matter(tmp_path: Path) -> None:
    samples(tmp_path, lambda n, alpha: 0.3 + alpha * n / 10_000, {1.0: 0.5, 0.5: 1.0})
    runs, _ = read_runs(tmp_path)
    assert judge(studies(runs[::-1]), CLAIMS) == judge(studies(runs), CLAIMS)


def test_a_verdict_goes_to_json_and_back(tmp_path: Path) -> None:
    samples(tmp_path, lambda n, alpha: 0.3 + alpha * n / 10_000, {1.0: 0.5, 0.5: 1.0})
    (found,) = judged(tmp_path, "fewer-samples")
    again = Verdict.model_validate_json(found.model_dump_json())
    assert (again.values, again.published) == (found.values, found.published)


def test_an_older_recipe_is_read_with_the_defaults_of_what_it_lacks(tmp_path: Path) -> None:
    train(tmp_path, 0.5)
    train(tmp_path, 0.6, method="oracle", keep=0.6, kept_relevance=0.9)
    for run, _ in zip(sorted(tmp_path.iterdir()), range(3), strict=False):
        text = (run / "resolved.yaml").read_text()
        lines = [
            line for line in text.splitlines() if line.strip().partition(":")[0] not in ("noise_tokens", "exclude")
        ]
        start = lines.index("start:")
        (run / "resolved.yaml").write_text("\n".join(lines[:start] + lines[lines.index("pruner:") :]))
        reseal(RunFolder(run))
    (found,) = judged(tmp_path, "sparsified-training-helps")
    assert found.verdict == "supported"


@pytest.mark.parametrize("damage", [None, "data: [", "nothing"])
def test_a_run_whose_recipe_is_lost_is_named_and_compared_with_no_other(tmp_path: Path, damage: str | None) -> None:
    train(tmp_path, 0.5)
    train(tmp_path, 0.6, method="oracle", keep=0.6, kept_relevance=0.9)
    for run in read_runs(tmp_path)[0]:
        if run.result.pruner == "oracle":
            run.folder.resolved.unlink() if damage is None else run.folder.resolved.write_text(damage)
    runs, problems = read_runs(tmp_path)
    assert len(runs) == 6
    assert all("resolved.yaml: cannot be read: " in line for line in problems)
    assert {verdict.claim for verdict in judge(studies(runs), CLAIMS)} >= {"attention-concentrates"}
    assert "sparsified-training-helps" not in {verdict.claim for verdict in judge(studies(runs), CLAIMS)}


def test_reading_fast_tells_recipes_apart_as_the_schema_does(tmp_path: Path) -> None:
    changes = [
        [],
        ["pruner.name=oracle"],
        ["pruner.name=oracle", "pruner.keep_ratio=0.6"],
        ["pruner.name=oracle", "pruner.keep_ratio=0.6", "pruner.site=input"],
        ["pruner.site=input", "pruner.keep_ratio=0.6"],
        ["data.patterns.count=30"],
        ["data.exclude=[cat]"],
        ["data.noise_tile=8"],
        ["data.noise_tokens=0.5"],
        ["data.noise_tokens=0.5", "data.noise_tile=8"],
        ["start.epochs=3", "start.noise=0.2"],
        ["start.noise=0.1"],
        ["start.source=cifar10", "start.noise=0.1"],
        ["start.source=cifar100", "start.epochs=3"],
        ["train.augment.crop=0"],
        ["train.learning_rate=1e-3"],
        ["model.depth=2"],
        ["run.seed=5", "evaluate.keep=[0.5]"],
        ["evaluate.seeds=2", "run.observe_every=3"],
        ["train.epochs=3"],
    ]
    recipes = [parse_recipe("data: {source: cifar10, scene: composite}", "mine", change) for change in changes]
    read = []
    for i, recipe in enumerate(recipes):
        path = tmp_path / f"{i}.yaml"
        path.write_text(dump_recipe(recipe))
        read.append({key: value for key, value in read_keys(path).items() if key != "run.seed"})
    for (a, fast), (b, other) in itertools.combinations(zip(recipes, read, strict=True), 2):
        assert (fast == other) == (a.science() == b.science())


def test_i10_compares_attention_to_positions_with_attention_to_content(tmp_path: Path) -> None:
    train(tmp_path, 0.8)
    train(tmp_path, [0.795, 0.796, 0.797], "model.attention=positional")
    train(tmp_path, [0.6, 0.61, 0.62], "data.shuffle=8")
    train(tmp_path, [0.795, 0.795, 0.798], "model.attention=positional", "data.shuffle=8")
    train(tmp_path, 0.3, "data.shuffle=2")
    whole, two, eight = sorted(judged(tmp_path, "positional-attention-is-enough"), key=lambda each: each.variant or "")
    assert whole.values == pytest.approx({0: -0.005, 1: -0.004, 2: -0.003})
    assert (whole.verdict, whole.variant) == ("supported", None)
    assert eight.values == pytest.approx({0: 0.195, 1: 0.185, 2: 0.178})
    assert eight.variant == "8 x 8 tiles moved"
    assert two.why == "no run has positional attention."
    assert (two.todo or "").count("--set model.attention=positional") == 3
    content, coarse, moved = judged(tmp_path, "moved-tiles-cost-nothing")
    assert (content.variant, coarse.variant) == (
        "content attention, 2 x 2 tiles moved",
        "content attention, 8 x 8 tiles moved",
    )
    assert (content.verdict, coarse.verdict) == ("refuted", "refuted")
    assert coarse.values == pytest.approx({0: -0.2, 1: -0.19, 2: -0.18})
    assert (moved.variant, moved.verdict) == ("positional attention, 8 x 8 tiles moved", "supported")
    assert moved.values == pytest.approx({0: 0, 1: -0.001, 2: 0.001})
    assert judged(tmp_path, "moved-tiles-cost-convolutions") == []


def test_convolutions_on_moved_tiles_are_a_claim_of_their_own(tmp_path: Path) -> None:
    network = ("model.stages=[1]", "model.class_token=false")
    train(tmp_path, 0.8, *network)
    train(tmp_path, [0.6, 0.61, 0.62], *network, "data.shuffle=8")
    train(tmp_path, 0.5, "model.attention=local", "model.kernel=3")
    (found,) = judged(tmp_path, "moved-tiles-cost-convolutions")
    assert (found.variant, found.verdict) == ("convolution, 8 x 8 tiles moved", "supported")
    assert judged(tmp_path, "moved-tiles-cost-nothing") == []
    assert judged(tmp_path, "positional-attention-is-enough") == []
