"""A setting of the theory laboratory: its results over seeds, its name, and the commands that would add to them."""

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from operator import getitem
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from tokenprune import theory
from tokenprune.errors import counted
from tokenprune.recipe import shipped_recipes
from tokenprune.theory.load import load_theory_recipe
from tokenprune.theory.result import TheoryResult

Array = np.ndarray
Result = TypeVar("Result", bound=TheoryResult)

_WORDS = {
    "data.count": "L = {}",
    "data.dim": "d = {}",
    "data.patterns": "M = {}",
    "data.relevant": "alpha_* = {}",
    "data.confusion": "alpha_# = {}",
    "data.noise": "tau = {}",
    "data.noisy_share": "noisy share {}",
    "data.noisy": "noise of noisy tokens {}",
    "data.patches": "{} patches",
    "data.set_size": "sets of {}",
    "data.flips": "q = {}",
    "model.kind": "{}",
    "model.neurons": "m = {}",
    "model.scale": "xi = {}",
    "model.sigma": "sigma = {}",
    "model.delta": "delta = {}",
    "train.batch_size": "batch {}",
    "train.step_size": "step {}",
    "train.epochs": "{} epochs",
}
_ALWAYS = ("data.count", "model.neurons", "train.batch_size", "train.step_size")
#: Of longer lists only the ends are shown.
_LONG = 4

#: Computes an analysis once per study: its claim, figures and tables ask for the same.
once = lru_cache(maxsize=500)

DEFAULT = "default setting"

_SECTIONS = ("data.", "model.", "train.")
#: Of the experiments' own sections: how a model is judged, not which models there are.
_JUDGED = ("success", "test_samples")


@dataclass(frozen=True, eq=False)
class LaboratoryStudy(Generic[Result]):
    """Results of one experiment that differ only by seed, and the names of the folders they were read from.

    It has what a `TrainedStudy` has; here family and setting are one.
    The classes for each experiment (`tokenprune.claims.theory.trials`) hold the trials of all seeds as arrays.
    """

    laboratory: ClassVar[bool] = True
    depth: ClassVar[int] = 1
    guesses: ClassVar[None] = None
    place: ClassVar[tuple[Any, ...]] = ()
    size: ClassVar[tuple[int, int]] = (0, 0)
    folders: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def first(self) -> Result:
        return self.results[0]

    @property
    def experiment(self) -> str:
        return str(self.first.recipe["experiment"])

    @property
    def setting(self) -> str:
        return self.first.setting

    @property
    def family(self) -> str:
        return self.first.setting

    @property
    def recipe(self) -> str:
        return self.first.name

    @property
    def models(self) -> int:
        return sum(result.models for result in self.results)

    @property
    def trials(self) -> int:
        """Models in a cell, or curves, of all seeds."""
        return sum(result.trials for result in self.results)

    @property
    def time_per_sample(self) -> float:
        """eta epochs / batch: N times this counts the steps of SGD by their size."""
        train = self.first.recipe["train"]
        return float(train["step_size"] * train["epochs"] / train["batch_size"])

    def pooled(self, field: str, *keys: str, trials: int = -1) -> Array:
        """A table of the results with the trials of all seeds along the axis `trials`; nan for null.

        keys: of the table, where the field is a dictionary of tables.
        """
        tables = [reduce(getitem, keys, getattr(result, field)) for result in self.results]
        return np.concatenate([np.asarray(table, float) for table in tables], axis=trials)

    @property
    def title(self) -> str:
        """L, m, batch and step, and whatever else is not the schema's default."""
        here, default = flat(self.first.recipe), defaults(self.experiment)
        always = [key for key in _ALWAYS if not (self.experiment == "time" and key == "train.step_size")]
        other = [key for key in here if key not in _ALWAYS and here[key] != default.get(key)]
        return ", ".join(said(key, here[key]) for key in (*always, *other) if key in here)

    @property
    def label(self) -> str:
        """Keys with other values than the default recipe, in words."""
        return label(self.first.recipe)

    @property
    def name(self) -> str:
        return f"{self.recipe}: {self.label}"

    @property
    def default(self) -> bool:
        return self.label == DEFAULT

    def differences(self, other: Any) -> str:
        """Keys with other values in `other`, in words; except the number of trials."""
        here, there = flat(self.first.recipe), flat(other.first.recipe)
        return ", ".join(
            said(key, value) for key, value in there.items() if here.get(key) != value and key != "grid.trials"
        )

    def command(self, overrides: Mapping[str, object] | None = None, seed: int | None = None) -> str:
        """Runs this setting, changed by `overrides`, from the shipped recipe that is nearest to it."""
        wanted = flat(self.first.recipe) | dict(overrides or {})
        name, changes = _nearest(self.experiment, self.first.name, wanted)
        words = ["tokenprune", "theory", self.experiment, *(["--recipe", name] if name else [])]
        words += [word for key, value in changes.items() for word in ("--set", f"{key}={_yaml(value)}")]
        return shlex.join([*words, *(["--seed", str(seed)] if seed is not None else [])])

    def further(self, have: int, wanted: int) -> list[str]:
        """Commands for seeds that bring `wanted` trials where there are `have`; at most five are written out."""
        if wanted <= have:
            return []
        more = math.ceil((wanted - have) * len(self.results) / have) if have else 1
        there = {result.seed for result in self.results}
        fresh = [seed for seed in range(len(there) + min(more, 5)) if seed not in there][: min(more, 5)]
        said = f"About {wanted - have} more trials at this spread, that is {counted(more, 'more seed')}:"
        rest = [f"# and {more - len(fresh)} more like these"] if more > len(fresh) else []
        return [said, *(self.command(seed=seed) for seed in fresh), *rest]


def flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Keys with their dotted paths; lists and tuples alike."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = list(value) if isinstance(value, tuple) else value
    return found


@cache
def defaults(experiment: str) -> dict[str, Any]:
    """Keys of an experiment's recipe where nothing is set."""
    return flat(theory.experiment(experiment).recipe.model_validate({"experiment": experiment}).science())


@cache
def _shipped(experiment: str) -> dict[str, dict[str, Any]]:
    """Keys and values of the shipped recipes of an experiment, by name."""
    found = {}
    for name, path in shipped_recipes("theory").items():
        if f"\nexperiment: {experiment}\n" in "\n" + path.read_text(encoding="utf-8"):
            found[name] = flat(load_theory_recipe(name, experiment).recipe.science())
    return found


def _nearest(experiment: str, name: str, wanted: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The recipe to start from (its own if two are as near), and what to change; None where none is shipped."""
    candidates: dict[str | None, dict[str, Any]] = dict(_shipped(experiment).items())
    changes = {
        source: {key: value for key, value in wanted.items() if said.get(key) != value}
        for source, said in (candidates or {None: defaults(experiment)}).items()
    }
    best = min(changes, key=lambda source: (len(changes[source]), source != name))
    return best, changes[best]


def label(recipe: dict[str, Any]) -> str:
    """Keys with other values than the default recipe, in words."""
    standard = defaults(recipe["experiment"])
    words = [_words(key, value, standard[key]) for key, value in _differences(recipe).items()]
    return ", ".join(words) or DEFAULT


def rank(recipe: dict[str, Any]) -> tuple[int, list[int]]:
    """Settings with fewer differences first, then by the order of the keys in a recipe."""
    keys = list(flat(recipe))
    found = [keys.index(key) for key in _differences(recipe)]
    return len(found), found


def _differences(recipe: dict[str, Any]) -> dict[str, Any]:
    standard = defaults(recipe["experiment"])
    return {
        key: value
        for key, value in flat(recipe).items()
        if key in standard and value != standard[key] and _counts(recipe["experiment"], key)
    }


def _counts(experiment: str, key: str) -> bool:
    if key == "model.kind" or (experiment == "time" and key == "train.step_size"):  # an axis there
        return False
    return key.startswith(_SECTIONS) or key.rpartition(".")[2] in _JUDGED


def _words(key: str, value: Any, standard: Any) -> str:
    if key == "train.step_size":  # experiments differ in theirs
        ratio = value / standard
        return {0.5: "half the step size", 2.0: "twice the step size"}.get(ratio, f"step size times {ratio:.3g}")
    last = key.rpartition(".")[2]
    if last == "test_samples":
        return f"{value} test samples"
    return f"success at {value:g}" if last == "success" else said(key, value)


def said(key: str, value: object) -> str:
    """A key and its value in words: `batch 8`."""
    return _WORDS.get(key, f"{key} {{}}").format(_short(value))


def _short(value: object) -> str:
    if isinstance(value, list):
        shown = [_short(part) for part in value]
        return f"{shown[0]} .. {shown[-1]} ({len(shown)})" if len(shown) > _LONG else f"[{', '.join(shown)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _yaml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
