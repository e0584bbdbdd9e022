"""`tokenprune explain`: what a claim says, and why the verdict."""

import itertools
import json
from pathlib import Path

import pytest
from factories import make_run
from run_command import run
from theory_factories import phase, save

from tokenprune import claims
from tokenprune.experiments import CLAIMS, EXPERIMENTS
from tokenprune.recipe.sweep import scales_of


def _every_claim() -> list[str]:
    return [claim.id for claim in CLAIMS]


@pytest.mark.parametrize("claim", _every_claim())
def test_every_claim_is_explained_without_any_run(claim: str, tmp_path: Path, capsys) -> None:
    found = run(capsys, "explain", claim, "--runs-dir", tmp_path)
    assert found.status == 0
    for part in ("statement", "source", "test", "rule", "nothing here that it reads"):
        assert part in " ".join(found.out.split())
    assert max(len(line) for line in found.out.splitlines() if str(tmp_path) not in line) <= 80


def test_a_verdict_comes_with_its_numbers_and_the_runs_behind_it(tmp_path: Path, capsys) -> None:
    for seed in range(3):
        methods = {"magnitude": {1.0: 0.6, 0.5: 0.58 + 0.001 * seed}, "random": {1.0: 0.6, 0.5: 0.5}}
        make_run(tmp_path, seed=seed, methods=methods)
    verdicts = claims.judge(claims.studies(claims.read_runs(tmp_path)[0]), CLAIMS)
    expected = next(v for v in verdicts if v.claim == "magnitude-beats-random")
    found = json.loads(run(capsys, "explain", "magnitude-beats-random", "--runs-dir", tmp_path, "--json").out)
    (judged,) = found["judged"]
    assert (judged["verdict"], judged["why"]) == (expected.verdict, expected.why)
    assert judged["runs"] == list(expected.evidence)
    shown = run(capsys, "explain", "magnitude-beats-random", "--runs-dir", tmp_path, "--runs").out
    assert expected.verdict.upper() in shown
    assert expected.evidence[0] in shown.replace("\n        ", " ")


def test_published_numbers_stand_with_their_mark_and_effects_with_their_trend(tmp_path: Path, capsys) -> None:
    for depth, seed in itertools.product((1, 2, 4), range(3)):
        for keep, gain in ((1.0, 0.0), (0.6, 0.02 * depth + 0.001 * seed)):
            groups = {"airplane, plants": 0.5 + gain, "bird, plants": 0.9}
            changes = ["data.scene=spurious", "pruner.name=oracle", f"pruner.keep_ratio={keep}"]
            kept = 0.95 if keep < 1 else None
            make_run(tmp_path, depth=depth, seed=seed, overrides=changes, kept_relevance=kept, groups=groups)
    found = json.loads(run(capsys, "explain", "sparsification-cures-spurious", "--runs-dir", tmp_path, "--json").out)
    assert all("(slides, read off axes)" in line for line in found["published"])
    assert [judged["where"] for judged in found["judged"]] == [
        f"shallow, spurious, depth {depth}, site before:0" for depth in (1, 2, 4)
    ]
    (trend,) = found["trends"]
    # .02 to .08 over two doublings
    assert "depth 1, 2, 4, site before:0: +3.0 points per doubling of depth" in trend
    shown = run(capsys, "explain", "sparsification-cures-spurious", "--runs-dir", tmp_path).out
    assert "published  accuracy 0.874 -> 0.997" in shown
    assert "TREND  shallow, spurious, depth 1, 2, 4" in shown


def test_without_runs_the_sweep_that_makes_them_is_named(tmp_path: Path, capsys) -> None:
    sweeps = {experiment.number: experiment.sweep for experiment in EXPERIMENTS}
    for claim in CLAIMS:
        shown = " ".join(run(capsys, "explain", claim.id, "--runs-dir", tmp_path).out.split())
        if claim.laboratory:
            assert "`tokenprune theory --help` shows what makes it" in shown
        elif claim.measurement:
            assert f"`tokenprune measure {claim.measurement}` measures it of a run" in shown
        if sweeps.get(claim.experiment):
            sweep, _, scale = shown.rpartition("tokenprune sweep ")[2].partition("`")[0].partition(" --scale ")
            assert scale in scales_of(sweep)


def test_a_theory_claim_goes_by_its_number_too(tmp_path: Path, capsys) -> None:
    save(tmp_path, phase(lambda value: 20 * value))
    by_number = run(capsys, "explain", "t1", "--runs-dir", tmp_path).out
    assert by_number == run(capsys, "explain", "theory-alpha", "--runs-dir", tmp_path).out
    assert "theory-alpha" in by_number
    assert "exponent g" in by_number


def test_an_unknown_claim_offers_the_nearest(tmp_path: Path, capsys) -> None:
    found = run(capsys, "explain", "magnitude-beat-random", "--runs-dir", tmp_path)
    assert found.status == 2
    assert "did you mean 'magnitude-beats-random'" in found.err


def test_an_experiment_is_explained_by_its_only_claim_or_says_which_it_has(tmp_path: Path, capsys) -> None:
    assert "theory-alpha" in run(capsys, "explain", "t1", "--runs-dir", tmp_path).out
    ended = run(capsys, "explain", "I6", "--runs-dir", tmp_path)
    assert ended.status == 2
    assert "I6 has several claims: start-from-cifar100-helps, noisier-start-is-worse" in ended.err
