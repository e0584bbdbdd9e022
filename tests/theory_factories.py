"""Results of the theory laboratory with chosen numbers, for tests of what reads them. No torch, no training."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import yaml

from tokenprune import runs
from tokenprune.claims import judge, laboratory_studies
from tokenprune.experiments import CLAIMS
from tokenprune.theory import experiment
from tokenprune.theory.attention import AttentionResult
from tokenprune.theory.folder import TheoryFolder
from tokenprune.theory.phase import PhaseRecipe, PhaseResult
from tokenprune.theory.result import TheoryResult
from tokenprune.theory.sparsify import SparsifyResult
from tokenprune.theory.time import TimeResult

#: Half of the trials succeed here, by axis value.
Complexity = Callable[[float], float]


def phase(
    n50: Complexity | None = None,
    *,
    counts: Sequence[Sequence[int]] | None = None,
    slope: float = 4.0,
    seed: int = 0,
    name: str = "phase-alpha",
    **sections: dict,
) -> PhaseResult:
    """From N50 by axis value, trials drawn with a logistic success in log N; or from successes by value, N."""
    recipe = experiment("phase").recipe.model_validate({"experiment": "phase", **sections})
    assert isinstance(recipe, PhaseRecipe)
    grid, rng = recipe.grid, np.random.default_rng([seed, zlib.crc32(name.encode())])
    if counts is None:
        assert n50 is not None
        rates = [[1 / (1 + (n50(value) / n) ** slope) for n in recipe.samples] for value in grid.values]
        counts = rng.binomial(grid.trials, rates).tolist()
    loss = [[[0.0] * k + [0.7] * (grid.trials - k) for k in column] for column in counts]
    return PhaseResult(
        **_known(recipe, name, seed, grid.trials * len(grid.values) * len(recipe.samples)),
        loss=loss,
        error=loss,
    )


def attention(
    curves: Sequence[Sequence[float | None]], iterations: Sequence[int], *, seed: int = 0, **sections: dict
) -> AttentionResult:
    steps = {"iterations": iterations[-1], "every": iterations[1] - iterations[0]}
    sections["curve"] = {"trials": len(curves), **steps, **sections.get("curve", {})}
    recipe = experiment("attention").recipe.model_validate({"experiment": "attention", **sections})
    grown = [[1 + t for t in range(len(iterations))] for _ in curves]
    still = [[1.0 for _ in iterations] for _ in curves]
    return AttentionResult(
        **_known(recipe, "attention", seed, len(curves)),
        attention=curves,
        attention_relevant=curves,
        loss=still,
        query_norm=grown,
        query_norm_other=still,
        key_norm=grown,
        key_norm_other=still,
    )


def sparsify(
    successes: dict[str, Sequence[int]], *, trials: int = 20, seed: int = 0, **removal: object
) -> SparsifyResult:
    """successes: by method, and for "none"; by N."""
    methods = [method for method in successes if method != "none"]
    removal = {"methods": methods, "trials": trials, **removal}
    recipe = experiment("sparsify").recipe.model_validate({"experiment": "sparsify", "removal": removal})
    spec = recipe.science()["removal"]
    flat = {method: [[0.5] * trials for _ in spec["removed"]] for method in methods}
    return SparsifyResult(
        **_known(recipe, "sparsify", seed, 1),
        loss=flat,
        accuracy=flat,
        relevant=flat,
        complexity={
            method: [[0.0] * k + [None] * (trials - k) for k in counts] for method, counts in successes.items()
        },
    )


def time(iterations: Callable[[float, float], Sequence[int | None]], *, seed: int = 0, **sections: dict) -> TimeResult:
    """iterations: of all trials, by eta, alpha_*."""
    recipe = experiment("time").recipe.model_validate({"experiment": "time", **sections})
    spec = recipe.science()["convergence"]
    table = [[list(iterations(eta, alpha)) for alpha in spec["values"]] for eta in spec["step_sizes"]]
    return TimeResult(
        **_known(recipe, "time", seed, spec["trials"] * len(spec["values"]) * len(spec["step_sizes"])),
        iterations=table,
        iterations_to_no_error=table,
    )


def save(runs_dir: Path, result: TheoryResult) -> TheoryFolder:
    """Every file that readers of a finished run look at."""
    name = runs.run_name(result.name, result.setting, result.seed)
    folder = TheoryFolder(runs_dir / TheoryFolder.place / name)
    runs.atomic.make_folder(folder.path)
    folder.resolved.write_text(yaml.safe_dump(result.recipe, sort_keys=False))
    runs.save_result(folder.path / "result.json", result, ["resolved.yaml"])
    folder.set_status("finished", 0, 1)
    return folder


def _known(recipe: object, name: str, seed: int, models: int) -> dict:
    return {
        "name": name,
        "setting": recipe.setting(),
        "seed": seed,
        "recipe": recipe.science(),
        "models": models,
        "seconds": 1.0,
        "device": "cpu",
    }


def studies(*results):
    return laboratory_studies((f"run-{index}", result) for index, result in enumerate(results))


def study(*results):
    """The one study of results that differ by their seed alone."""
    (found,) = studies(*results)
    return found


def judged(*results):
    return judge(studies(*results), CLAIMS)


def only(*results, number, variant=None):
    found = [v for v in judged(*results) if (v.experiment, v.variant) == (number, variant)]
    assert len(found) == 1
    return found[0]
