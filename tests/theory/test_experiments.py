"""Whole experiments, tiny: what their results hold, resuming, and bad input."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.recipe import Loaded
from tokenprune.theory import attention, phase
from tokenprune.theory.attention import AttentionCurve, AttentionRecipe, AttentionResult
from tokenprune.theory.folder import TheoryFolder
from tokenprune.theory.load import load_theory_recipe
from tokenprune.theory.phase import PhaseResult
from tokenprune.theory.run import theory_run
from tokenprune.theory.schema import TheoryRecipe
from tokenprune.theory.shallow import Descent, Shallow, Tokens
from tokenprune.theory.sparsify import SparsifyResult
from tokenprune.theory.time import TimeResult

PHASE = ("grid.trials=3", "grid.values=[4,9]", "grid.samples=[8,200]", "grid.test_samples=20", "run.threads=1")


def _run(experiment: str, recipe: str, *overrides: str, runs_dir: Path, **how: bool) -> TheoryFolder:
    return theory_run(load_theory_recipe(recipe, experiment, overrides), runs_dir=runs_dir, **how)


def test_a_phase_diagram_has_a_cell_for_every_value_and_sample_count(tmp_path: Path) -> None:
    folder = _run("phase", "phase-alpha", *PHASE, runs_dir=tmp_path)
    result = folder.theory_result()
    assert isinstance(result, PhaseResult)
    assert np.shape(result.loss) == np.shape(result.error) == (2, 2, 3)
    assert result.models == 12
    losses = np.array(result.loss)
    assert (losses[:, 0] > 0.9).all()  # two steps teach nothing
    assert (losses[0, 1] < 0.5).all()  # fifty do
    assert not folder.chunks.exists()
    assert folder.status().state == "finished"


def test_attention_before_training_is_the_closed_form(tmp_path: Path) -> None:
    """With W_Q = W_K = 1 and no noise a query gives e to each token of its own pattern and 1 to every other."""
    recipe = AttentionRecipe(
        data=Tokens(noise=0.0, relevant=0.4, confusion=0.1, patterns=3),
        model=Shallow(delta=0.0, sigma=0.0),
        train=Descent(step_size=0.6),
        curve=AttentionCurve(iterations=2, trials=1, test_samples=10),
    )
    with torch.inference_mode():
        curves = attention.plan(recipe, 20).chunks[0].run(torch.device("cpu"))[0]
    relevant, confusion, other = 8, 2, 10
    e = math.e
    by_query = {
        relevant: relevant * e / (relevant * e + confusion + other),
        confusion: relevant / (relevant + confusion * e + other),
        other: relevant / (relevant + confusion + other * e),
    }
    assert curves[0][0] == pytest.approx(sum(n * share for n, share in by_query.items()) / 20, abs=1e-5)
    assert curves[1][0] == pytest.approx(by_query[relevant], abs=1e-5)
    assert [curves[i][0] for i in (2, 3, 4, 5)] == pytest.approx([1, 1, 1, 1])


def test_attention_result_has_a_curve_per_trial(tmp_path: Path) -> None:
    folder = _run("attention", "attention", "curve.trials=2", "curve.iterations=25", runs_dir=tmp_path)
    result = folder.theory_result()
    assert isinstance(result, AttentionResult)
    assert result.iterations == (0, 10, 20, 25)
    assert np.shape(result.attention) == np.shape(result.key_norm_other) == (2, 4)


def test_sparsify_shares_the_unpruned_models_among_methods(tmp_path: Path) -> None:
    folder = _run(
        "sparsify",
        "sparsify",
        *("data.count=12", "removal.trials=2", "removal.removed=[0,3]", "removal.curve_samples=40"),
        *("removal.samples=[8,40]", "removal.complexity_removed=3", "removal.test_samples=10"),
        runs_dir=tmp_path,
    )
    result = folder.theory_result()
    assert isinstance(result, SparsifyResult)
    assert result.loss["random"][0] == result.loss["magnitude"][0] == result.complexity["none"][1]
    assert result.models == 2 * (1 + 4 + 1 + 4)  # nothing is trained twice
    assert result.relevant["irrelevant"][1] > result.relevant["irrelevant"][0] == result.relevant["noisy"][0]


def test_time_stops_at_the_first_test_that_is_passed(tmp_path: Path) -> None:
    overrides = ("convergence.trials=2", "convergence.values=[0.8]", "convergence.step_sizes=[1.2,1e-6]")
    folder = _run("time", "time", *overrides, "convergence.iterations=200", runs_dir=tmp_path)
    result = folder.theory_result()
    assert isinstance(result, TimeResult)
    slow, fast = result.iterations
    assert all(count is not None and count % 5 == 0 and 5 <= count < 200 for count in fast[0])
    assert slow == ((None, None),)


class _Killed(Exception):
    pass


class _KillAfter(SimpleNamespace):
    """A reporter that dies when so many cells are done."""

    def count(self, done: int, total: int, what: str = "") -> None:
        if done >= self.cells:
            raise _Killed

    def message(self, text: str) -> None: ...


def test_a_killed_run_loses_a_chunk_at_most_and_ends_with_the_same_numbers(tmp_path: Path) -> None:
    overrides = (*PHASE, "grid.samples=[8,12,16]", "run.memory=1")
    whole = _run("phase", "phase-alpha", *overrides, runs_dir=tmp_path / "whole").theory_result()
    loaded = load_theory_recipe("phase-alpha", "phase", overrides)
    with pytest.raises(_Killed):
        theory_run(loaded, runs_dir=tmp_path / "killed", reporter=_KillAfter(cells=3))
    folder = next((tmp_path / "killed" / "theory").iterdir())
    done = (folder / "chunks.jsonl").read_text()
    assert done.count("\n") >= 2
    assert not (folder / "result.json").exists()
    with (folder / "chunks.jsonl").open("a") as torn:
        torn.write('{"chunk": 5, "chun')  # as a power cut leaves it
    with pytest.raises(TokenpruneError, match="--resume continues"):
        theory_run(loaded, runs_dir=tmp_path / "killed")
    resumed = theory_run(loaded, runs_dir=tmp_path / "killed", resume=True).theory_result()
    assert resumed.loss == whole.loss
    assert resumed.error == whole.error


def test_sigkill_then_resume_ends_with_the_same_numbers(tmp_path: Path) -> None:
    overrides = ["grid.trials=40", "grid.samples=[400]", "grid.values=[4,9,14]", "run.threads=1"]
    words = [word for override in overrides for word in ("--set", override)]
    command = [sys.executable, "-m", "tokenprune", "theory", "phase", "--runs-dir", str(tmp_path / "a"), *words]
    killed = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not any(path.stat().st_size for path in (tmp_path / "a").glob("theory/*/chunks.jsonl")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    loaded = load_theory_recipe("phase-alpha", "phase", overrides)
    resumed = theory_run(loaded, runs_dir=tmp_path / "a", resume=True).theory_result()
    whole = theory_run(loaded, runs_dir=tmp_path / "b").theory_result()
    assert resumed.loss == whole.loss


def test_whole_lines_of_the_wrong_content_are_said_to_be_damage(tmp_path: Path) -> None:
    loaded = load_theory_recipe("phase-alpha", "phase", PHASE)
    with pytest.raises(_Killed):
        theory_run(loaded, runs_dir=tmp_path, reporter=_KillAfter(cells=2))
    chunks = next((tmp_path / "theory").glob("*/chunks.jsonl"))
    entry = json.loads(chunks.read_text().splitlines()[0])
    chunks.write_text(json.dumps({**entry, "output": entry["output"][:-1]}) + "\n")
    with pytest.raises(TokenpruneError, match=r"chunks\.jsonl: damaged; --force starts over"):
        theory_run(loaded, runs_dir=tmp_path, resume=True)


def test_a_run_goes_on_with_another_number_of_threads(tmp_path: Path) -> None:
    def load(threads: int) -> Loaded[TheoryRecipe]:
        overrides = ("curve.trials=12", "curve.iterations=10", f"run.threads={threads}")
        return load_theory_recipe("attention", "attention", overrides)

    with pytest.raises(_Killed):
        theory_run(load(3), runs_dir=tmp_path / "a", reporter=_KillAfter(cells=1))
    resumed = theory_run(load(1), runs_dir=tmp_path / "a", resume=True).theory_result()
    assert resumed.attention == theory_run(load(2), runs_dir=tmp_path / "b").theory_result().attention


def test_time_counts_what_diverged_and_waits_no_longer(tmp_path: Path) -> None:
    overrides = ("convergence.trials=2", "convergence.values=[0.8]", "convergence.step_sizes=[1.2,1e30]")
    result = _run("time", "time", *overrides, "convergence.iterations=200", runs_dir=tmp_path).theory_result()
    assert isinstance(result, TimeResult)
    assert result.diverged == 2
    assert result.iterations[1] == ((None, None),)  # ascending step sizes: the second is the wild one


def test_values_in_any_order_are_one_recipe() -> None:
    one, other = (load_theory_recipe("phase-alpha", "phase", [f"grid.values={v}"]).recipe for v in ([4, 9], [9, 4]))
    assert one.setting() == other.setting()


def test_chunks_of_another_run_are_refused(tmp_path: Path) -> None:
    loaded = load_theory_recipe("phase-alpha", "phase", PHASE)
    with pytest.raises(_Killed):
        theory_run(loaded, runs_dir=tmp_path, reporter=_KillAfter(cells=2))
    chunks = next((tmp_path / "theory").glob("*/chunks.jsonl"))
    chunks.write_text('{"chunk": 0, "chunks": 99, "seconds": 1, "output": []}\n')
    with pytest.raises(TokenpruneError, match=r"chunks\.jsonl: not the chunks of this run"):
        theory_run(loaded, runs_dir=tmp_path, resume=True)


def test_a_chunk_shrinks_to_the_memory_it_is_given() -> None:
    def most(*overrides: str) -> int:
        recipe = load_theory_recipe("phase-alpha", "phase", overrides).recipe
        return max(chunk.models for chunk in phase.plan(recipe, 20).chunks)

    assert most() == 20
    assert most("run.memory=10") < 20
    assert most("run.memory=1", "data.count=400") == 1


def test_diverging_cells_are_null_and_the_rest_go_on(tmp_path: Path) -> None:
    """The starting error is one of the axes; one so large that scores overflow ruins its own column only."""
    overrides = ("grid.trials=2", "grid.values=[0.1,1e30]", "grid.samples=[8]", "grid.test_samples=10")
    result = _run("phase", "phase-start", *overrides, runs_dir=tmp_path).theory_result()
    assert isinstance(result, PhaseResult)
    assert result.lost == 2
    assert None not in result.loss[0][0]
    assert json.loads((next((tmp_path / "theory").iterdir()) / "result.json").read_text())["loss"][1] == [[None, None]]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.relevant=0.7", "data.confusion=0.4"], r"relevant \+ confusion is 1.1, must be at most 1"),
        (["data.relevant=0"], "data.relevant=0: found 0, must be greater than 0"),
        (["data.patterns=2"], "data.patterns=2: found 2, must be greater than or equal to 3"),
        (["data.patterns=11"], "11 orthonormal patterns do not fit into dim 10"),
        (["grid.samples=[2,40]"], "N = 2 is smaller than train.batch_size 4"),
        (["data.confusion=0.4", "data.relevant=0.3"], "0.4 is not below relevant 0.3"),
        (["grid.values=[4,0.5]"], "alpha_\\*\\^-2 must be at least 1"),
        (["grid.values=[400]"], "grid.values=\\[400\\]: 400 on axis alpha: confusion: 0.05 is not below"),
        (["grid.samples=[40,80,40]"], "grid.samples=.*40 is given twice"),
        (
            ["grid.axis=confusion", "data.relevant=0.4", "grid.values=[0.36]"],
            "0.36 of 20 tokens is up to 8, and relevant",
        ),
        (["model.value_dim=4"], "value_dim=4: 4 is less than data.patterns 5"),
        (["grid.axes=alpha"], "grid.axes=alpha: unknown key: did you mean axis"),
    ],
)
def test_bad_recipes_end_in_a_line_that_says_what_and_where(overrides: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_theory_recipe("phase-alpha", "phase", overrides)


def test_a_recipe_of_another_experiment_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="a recipe of `tokenprune theory time`, not of `tokenprune theory phase`"):
        load_theory_recipe("time", "phase", [])


def test_attention_of_a_cnn_is_refused() -> None:
    with pytest.raises(UsageError, match="a cnn has no attention"):
        load_theory_recipe("attention", "attention", ["model.kind=cnn"])


def test_removing_every_token_is_refused() -> None:
    with pytest.raises(UsageError, match="60 of 60 tokens leaves none"):
        load_theory_recipe("sparsify", "sparsify", ["removal.removed=[0,60]"])
