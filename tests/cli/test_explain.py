"""`tokenprune explain`: what a claim says, and why the verdict."""

import json
from pathlib import Path

import pytest
from factories import make_run
from run_command import run
from theory_factories import phase, save

from tokenprune import claims


def _every_claim() -> list[str]:
    return [claim.id for claim in claims.CLAIMS] + [claim.id for claim in claims.THEORY_CLAIMS]


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
    verdicts = claims.judge(claims.read_runs(tmp_path)[0])
    expected = next(v for v in verdicts if v.claim == "magnitude-beats-random")
    found = json.loads(run(capsys, "explain", "magnitude-beats-random", "--runs-dir", tmp_path, "--json").out)
    (judged,) = found["judged"]
    assert (judged["verdict"], judged["why"]) == (expected.verdict, expected.why)
    assert judged["runs"] == list(expected.evidence)
    shown = run(capsys, "explain", "magnitude-beats-random", "--runs-dir", tmp_path, "--runs").out
    assert expected.verdict.upper() in shown
    assert expected.evidence[0] in shown.replace("\n        ", " ")


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
