import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from factories import make_prune, make_run, reseal
from scipy import stats

from tokenprune.claims import Verdict, judge, read_runs, studies
from tokenprune.experiments import CLAIMS
from tokenprune.statistics import holm, image_variance, mean_interval, spread


def verdicts(runs_dir: Path) -> dict[tuple[str, int], Verdict]:
    """By claim and depth; fails where one has several."""
    runs, problems = read_runs(runs_dir)
    assert problems == []
    found = judge(studies(runs), CLAIMS)
    by_key = {(verdict.claim, verdict.depth): verdict for verdict in found}
    assert len(by_key) == len(found)
    return by_key


def three_seeds(runs_dir: Path, *, magnitude: float, random: float, oracle: float, **options: object) -> None:
    """Unpruned .600; the methods' accuracies at ratio .5 (at .9 the oracle keeps all relevant tokens)."""
    for seed, wobble in enumerate((-0.002, 0.0, 0.002)):
        make_run(
            runs_dir,
            seed=seed,
            methods={
                "magnitude": {1.0: 0.6, 0.9: 0.6, 0.5: magnitude + wobble},
                "random": {1.0: 0.6, 0.9: 0.6, 0.5: (random - 0.01, random, random + 0.01)},
                "oracle": {1.0: 0.6, 0.9: oracle + wobble, 0.5: oracle + 2 * wobble},
            },
            **options,  # type: ignore[arg-type]
        )


def test_supported_when_the_interval_over_seeds_clears_zero(tmp_path: Path) -> None:
    three_seeds(tmp_path, magnitude=0.58, random=0.50, oracle=0.6)
    verdict = verdicts(tmp_path)["magnitude-beats-random", 1]
    # mean over the ratios .9 and .5 of the differences: half of .078, .080, .082
    values = [0.039, 0.040, 0.041]
    right = lambda accuracy: np.arange(1000) < round(1000 * accuracy)  # noqa: E731
    draws = np.mean([right(0.49), right(0.5), right(0.51)], axis=0)
    answers = np.stack([right(0.58 + wobble) - draws for wobble in (-0.002, 0.0, 0.002)]) / 2
    error = spread(values, images=image_variance(answers))
    assert verdict.verdict == "supported"
    assert verdict.values == pytest.approx(dict(enumerate(values)))
    assert (verdict.effect, verdict.low, verdict.high) == pytest.approx((0.04, *error.interval(0.04)))
    assert verdict.p == pytest.approx(error.p(0.04))
    assert verdict.high - verdict.effect > 2 * (mean_interval(values)[2] - 0.04)  # that of seeds alone
    assert (verdict.n, verdict.images, verdict.site, verdict.todo) == (3, 1000, "before:0", None)
    assert len(verdict.evidence) == 6


def test_refuted_when_random_is_better(tmp_path: Path) -> None:
    three_seeds(tmp_path, magnitude=0.50, random=0.58, oracle=0.6)
    assert verdicts(tmp_path)["magnitude-beats-random", 1].verdict == "refuted"


@pytest.mark.parametrize(
    ("oracle", "free", "at_least"),
    [
        (0.600, "supported", "supported"),
        (0.595, "supported", "undecided"),
        (0.550, "refuted", "refuted"),
        (0.574, "undecided", "refuted"),
    ],
)
def test_margins_hold_the_claims_of_no_loss(tmp_path: Path, oracle: float, free: str, at_least: str) -> None:
    # free: oracle - .6 at ratio .9 against a twentieth of .6 - .1
    # at least: mean of oracle - .6 and oracle - .595 against -.005
    three_seeds(tmp_path, magnitude=0.595, random=0.5, oracle=oracle)
    found = verdicts(tmp_path)
    assert found["removing-irrelevant-costs-little", 1].verdict == free
    assert found["removing-irrelevant-costs-little", 1].effect == pytest.approx(oracle - 0.6)
    assert found["oracle-at-least-magnitude", 1].effect == pytest.approx(oracle - 0.5975)
    assert found["oracle-at-least-magnitude", 1].verdict == at_least


def test_the_ratio_of_the_free_claim_is_chosen_by_relevance_not_by_accuracy(tmp_path: Path) -> None:
    for seed in range(3):
        curve = {1.0: 0.6, 0.9: 0.65, 0.8: 0.5, 0.5: 0.7}
        make_run(tmp_path, seed=seed, methods={"oracle": curve}, recall={1.0: 1, 0.9: 1, 0.8: 0.992, 0.5: 0.989})
    verdict = verdicts(tmp_path)["removing-irrelevant-costs-little", 1]
    assert "at keep ratio 0.8, which keeps 99.2% of the relevant area" in verdict.why
    assert verdict.verdict == "refuted"


def test_the_free_claim_names_the_ratio_to_add(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, seed=seed, methods={"oracle": {1.0: 0.6, 0.9: 0.6}}, recall={1.0: 1, 0.9: 0.97})
    verdict = verdicts(tmp_path)["removing-irrelevant-costs-little", 1]
    assert (verdict.verdict, verdict.effect, verdict.p) == ("undecided", None, None)
    assert "add ratio 0.95" in verdict.why
    assert verdict.todo is not None
    assert verdict.todo.count("--keep 1,0.95") == 3


def test_attention_must_rise_over_training_at_the_mean_of_blocks(tmp_path: Path) -> None:
    for seed, wobble in enumerate((0.0, 0.01, 0.02)):
        make_run(tmp_path, depth=2, seed=seed, attention=([0.6, 0.7], [0.9 + wobble, 0.6]))
        make_run(tmp_path, depth=3, seed=seed, attention=(0.66, 0.5 + wobble))
    found = verdicts(tmp_path)
    deep = found["attention-concentrates", 2]
    assert deep.verdict == "supported"
    assert deep.effect == pytest.approx(0.105)
    assert "0.660" in deep.why
    assert found["attention-concentrates", 3].verdict == "refuted"


def test_fewer_than_three_seeds_decide_nothing_and_name_the_commands(tmp_path: Path) -> None:
    for seed in (0, 2):
        run = make_run(tmp_path, seed=seed, methods={"magnitude": {0.5: 0.59}, "random": {0.5: 0.1}})
        environment = json.loads(run.environment.read_text())
        environment["command"] = ["tokenprune", "train", "--data-dir", "mine"]
        run.environment.write_text(json.dumps(environment))
        reseal(run)
    verdict = verdicts(tmp_path)["magnitude-beats-random", 1]
    assert (verdict.verdict, verdict.p, verdict.p_adjusted, verdict.n) == ("undecided", None, None, 2)
    assert verdict.todo is not None
    train, prune = verdict.todo.splitlines()
    assert train.startswith("tokenprune train --recipe ")
    assert "--seed 1" in train
    assert "--method magnitude --method random --site before:0 --keep 1,0.5" in prune
    assert all(line.endswith(f"--runs-dir {tmp_path} --data-dir mine") for line in (train, prune))


def test_missing_prunes_are_asked_for_on_the_runs_that_there_are(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, seed=seed, methods={"magnitude": {0.5: 0.5}}) for seed in range(3)]
    verdict = verdicts(tmp_path)["magnitude-beats-random", 1]
    assert verdict.verdict == "undecided"
    assert verdict.todo is not None
    assert [line.split()[3] for line in verdict.todo.splitlines()] == [run.name for run in runs]


def test_unknown_relevance_is_undecided_and_asks_for_nothing(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, seed=seed, methods={"oracle": {1.0: 0.6, 0.9: 0.6}}, attention=None, relevant_share=None)
    found = verdicts(tmp_path)
    for claim in ("removing-irrelevant-costs-little", "attention-concentrates"):
        verdict = found[claim, 1]
        assert (verdict.verdict, verdict.effect, verdict.todo) == ("undecided", None, None)
        assert "does not say which tokens are label-relevant" in verdict.why


def test_undecided_by_spread_foretells_how_many_seeds(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.50, 0.52, 0.56)):
        make_run(tmp_path, seed=seed, methods={"magnitude": {0.5: accuracy}, "random": {0.5: 0.5}})
    verdict = verdicts(tmp_path)["magnitude-beats-random", 1]
    assert verdict.verdict == "undecided"
    # mean .0267, deviation .0306, images' variance v: (t_.975 + t_.8) sqrt(sd^2 / n + v) <= mean first at such an n
    right = [np.arange(1000) < 1000 * accuracy for accuracy in (0.50, 0.52, 0.56)]
    answers = np.stack(right).astype(float) - (np.arange(1000) < 500)
    values = [0.0, 0.02, 0.06]
    n = next(
        n
        for n in range(4, 100)
        if (stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1))
        * math.sqrt(np.var(values, ddof=1) / n + image_variance(answers))
        <= np.mean(values)
    )
    assert f"about {n - 3} more seeds" in verdict.why
    assert verdict.todo is not None
    assert verdict.todo.count("tokenprune train") == verdict.todo.count("tokenprune prune") == 5
    assert verdict.todo.splitlines()[-1] == f"# and {2 * (n - 3) - 10} more like these"


def test_seeds_are_foretold_at_the_level_that_holm_will_ask_for(tmp_path: Path) -> None:
    for depth, rises in ((1, (0.01, 0.03, 0.07)), (2, (0.01, 0.03, 0.07)), (3, (0.1, 0.1, 0.1))):
        for seed, rise in enumerate(rises):
            make_run(tmp_path, depth=depth, seed=seed, attention=(0.4, 0.4 + rise))
    found = verdicts(tmp_path)
    spread = math.sqrt(((0.01 - 0.11 / 3) ** 2 + (0.03 - 0.11 / 3) ** 2 + (0.07 - 0.11 / 3) ** 2) / 2)

    def decides(n: int, level: float) -> bool:
        quantiles = stats.t.ppf(1 - level / 2, n - 1) + stats.t.ppf(0.8, n - 1)
        return 0.11 / 3 * math.sqrt(n) >= quantiles * spread

    alone, of_two = (next(n for n in range(2, 100) if decides(n, level)) for level in (0.05, 0.025))
    assert of_two > alone
    assert found["attention-concentrates", 3].verdict == "supported"  # and no more in the way of the two others
    for depth in (1, 2):
        assert f"about {of_two - 3} more seeds" in found["attention-concentrates", depth].why
        assert (found["attention-concentrates", depth].todo or "").count("tokenprune train") == min(10, of_two - 3)


def test_a_model_that_guesses_has_nothing_to_lose(tmp_path: Path) -> None:
    for depth, accuracy in ((1, 0.1), (2, 0.6)):
        for seed, wobble in enumerate((0.0, 0.001, 0.002)):
            curve = {1.0: accuracy, 0.5: accuracy + wobble}
            oracle = {1.0: accuracy, 0.5: accuracy + 2 * wobble}
            methods = {"magnitude": curve, "oracle": oracle, "random": {1.0: accuracy, 0.5: accuracy}}
            known = {1.0: 1.0, 0.5: 1.0}
            make_run(tmp_path, depth=depth, seed=seed, accuracy=accuracy, methods=methods, recall=known)
    found = verdicts(tmp_path)
    for claim in ("removing-irrelevant-costs-little", "oracle-at-least-magnitude"):
        dead, alive = found[claim, 1], found[claim, 2]
        assert (dead.verdict, dead.p, dead.p_adjusted, dead.todo) == ("undecided", None, None, None)
        assert dead.why.endswith("the unpruned model is not above chance: accuracy 0.100 of 10 classes.")
        assert (alive.verdict, alive.p_adjusted) == ("supported", alive.p)  # Holm's family is this one alone
    assert found["attention-concentrates", 1].p is not None  # not an effect on accuracy


def test_an_effect_of_exactly_0_in_every_seed_is_no_evidence(tmp_path: Path) -> None:
    """Arms that did the same: Student's t has neither a spread nor an effect to go by, whatever the margin."""
    for depth, oracle in ((1, 0.5), (2, 0.52)):
        for seed in range(3):
            methods = {"oracle": {1.0: 0.6, 0.5: oracle + seed / 1000}, "magnitude": {1.0: 0.6, 0.5: 0.5 + seed / 1000}}
            make_run(tmp_path, depth=depth, seed=seed, methods=methods)
    found = verdicts(tmp_path)
    same, other = found["oracle-at-least-magnitude", 1], found["oracle-at-least-magnitude", 2]
    assert (same.effect, same.verdict, same.p, same.p_adjusted, same.todo) == (0, "undecided", None, None, None)
    assert same.why.endswith("exactly 0 in every seed: what is compared did the same, which is no evidence.")
    assert (other.verdict, other.p_adjusted) == ("supported", other.p)  # Holm's family is this one alone


def test_a_ratio_that_removes_no_token_counts_in_no_mean(tmp_path: Path) -> None:
    for seed in range(3):  # 0.99 of 64 tokens are 64
        random = {1.0: 0.6, 0.99: (0.6,), 0.5: 0.4 + seed / 1000}
        make_run(tmp_path, seed=seed, methods={"magnitude": {1.0: 0.6, 0.99: 0.6, 0.5: 0.5}, "random": random})
    verdict = verdicts(tmp_path)["magnitude-beats-random", 1]
    assert "at keep ratio 0.5:" in verdict.why
    assert verdict.effect == pytest.approx(0.099)


def test_a_curve_at_a_site_that_nothing_reads_is_named_and_left_out(tmp_path: Path) -> None:
    curve = {1.0: 0.6, 0.5: 0.6}
    for seed in range(3):
        folder = make_run(tmp_path, depth=2, seed=seed, methods={"magnitude": {0.5: 0.55}, "random": {0.5: 0.5}})
        unread = [make_prune(folder, name, curve, site="after:1") for name in ("magnitude", "random")]
        make_prune(folder, "oracle", curve, site="after:0,1")
    runs, problems = read_runs(tmp_path)
    assert len(problems) == 9
    assert all(problem.endswith(": this prune is not used") for problem in problems)
    told = "site 'after:1': after the attention of the last block (1) nothing reads patch tokens"
    assert sum(problem.startswith(f"{unread[1]}: {told}") for problem in problems) == 1
    assert {verdict.site for verdict in judge(studies(runs), CLAIMS) if verdict.values} == {"before:0", None}


def test_sites_and_fine_tuning_are_never_mixed(tmp_path: Path) -> None:
    for seed in range(3):
        folder = make_run(tmp_path, depth=6, seed=seed, methods={"magnitude": {0.5: 0.59}, "random": {0.5: 0.5}})
        make_prune(folder, "magnitude", {0.5: 0.3}, site="before:3")
        make_prune(folder, "random", {0.5: 0.4}, site="before:3")
        make_prune(folder, "oracle", {0.5: 0.4}, site="input")
    runs, _ = read_runs(tmp_path)
    found = {v.site: v for v in judge(studies(runs), CLAIMS) if v.claim == "magnitude-beats-random"}
    assert {site: verdict.verdict for site, verdict in found.items()} == {
        "before:0": "supported",
        "before:3": "refuted",
    }


def test_p_values_are_adjusted_over_depths_within_a_claim(tmp_path: Path) -> None:
    for depth, rise in ((1, 0.0165), (2, 0.017), (3, 0.5)):
        for seed, wobble in enumerate((-0.01, 0.0, 0.01)):
            make_run(tmp_path, depth=depth, seed=seed, attention=(0.4, 0.4 + rise + wobble / 2))
    found = [v for v in verdicts(tmp_path).values() if v.claim == "attention-concentrates"]
    assert [v.p_adjusted for v in found] == pytest.approx(holm([v.p for v in found if v.p is not None]))
    # each alone clears zero; together the two weak ones do not
    assert all(v.p is not None and v.p < 0.05 and v.low is not None and v.low > 0 for v in found)
    assert [v.verdict for v in found] == ["undecided", "undecided", "supported"]


def test_a_third_party_recipe_is_named_by_the_runs_own_copy(tmp_path: Path) -> None:
    run = make_run(tmp_path, recipe="mine", seed=0)
    run.recipe.write_text("# --set run.seed=0\n# --set model.depth=1\n" + run.recipe.read_text())
    verdict = verdicts(tmp_path)["attention-concentrates", 1]
    assert verdict.todo is not None
    first = verdict.todo.splitlines()[0]
    assert f"--recipe {run.recipe} --set model.depth=1 --seed 1 --runs-dir {tmp_path}" in first


def test_no_runs_no_verdicts() -> None:
    assert judge([], CLAIMS) == []


def test_every_claim_says_what_it_is() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS) == 45 + 9
    for claim in CLAIMS:
        assert all((claim.statement, claim.source, claim.reads, claim.test, claim.unit))


def test_judging_needs_no_torch(tmp_path: Path) -> None:
    three_seeds(tmp_path, magnitude=0.58, random=0.50, oracle=0.6)
    code = (
        "import sys; from pathlib import Path; from tokenprune.claims import judge, read_runs, studies\n"
        "from tokenprune.experiments import CLAIMS\n"
        f"assert len(judge(studies(read_runs(Path({str(tmp_path)!r}))[0]), CLAIMS)) == 6\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_keeps_the_same_tokens_is_one_test_of_its_family(tmp_path: Path) -> None:
    """An oracle at the input and before block 0: Holm counts it once."""
    three_seeds(tmp_path, magnitude=0.58, random=0.50, oracle=0.6)
    alone = verdicts(tmp_path)["removing-irrelevant-costs-little", 1].p_adjusted
    for run in read_runs(tmp_path)[0]:
        wobble = 0.002 * (run.result.seed - 1)
        make_prune(run.folder, "oracle", {1.0: 0.6, 0.9: 0.6 + wobble, 0.5: 0.6 + 2 * wobble}, site="input")
    found = [
        verdict
        for verdict in judge(studies(read_runs(tmp_path)[0]), CLAIMS)
        if verdict.claim == "removing-irrelevant-costs-little" and verdict.effect is not None
    ]
    assert {verdict.site for verdict in found} == {"input", "before:0"}
    assert [verdict.p_adjusted for verdict in found] == pytest.approx([alone, alone])
