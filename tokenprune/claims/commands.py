"""The commands that supply missing evidence."""

import json
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from tokenprune import files
from tokenprune.claims.evidence import RunData
from tokenprune.recipe import shipped_recipes
from tokenprune.runs import run_name
from tokenprune.runs.packed import Packed

_ADOPTED = "# nothing was trained here, and one model gets no verdict"
#: Commands for further seeds that are shown of one verdict.
_SHOWN = 10


def train(run: RunData, seed: int, changes: Sequence[str] = ()) -> tuple[str, str]:
    """The command that trains the run's recipe with another seed, and the name of the run it makes.

    changes: `pruner.name=oracle` and the like, in place of what the run says of these keys; the name is without them.
    """
    source, name, overrides = _recipe(run)
    changed = {_key(change) for change in changes}
    overrides = [override for override in overrides if _key(override) not in changed] + list(changes)
    words = ["tokenprune", "train", "--recipe", source]
    words += [word for override in overrides for word in ("--set", override)]
    return shlex.join([*words, "--seed", str(seed), *_where(run)]), run_name(name, run.result.setting, seed)


def prune(
    run: RunData,
    methods: Iterable[str],
    *,
    site: str | None,
    keep: Sequence[float | str] = (),
    finetune_epochs: int = 0,
    draws: int = 0,
    batch_size: int | None = None,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> str:
    """The command that measures pruners on the run, or on the run called `name` beside it; 0, None: as by default.

    options: of the one method. keep: ratios, and what `PrunePoint.keep` says: 0.9/0.7/0.5, r=8.
    """
    removed = [each.removeprefix("r=") for each in keep if isinstance(each, str) and each.startswith("r=")]
    per_site = [each for each in keep if isinstance(each, str) and not each.startswith("r=")]
    ratios = [*(f"{each:g}" for each in sorted((e for e in keep if not isinstance(e, str)), reverse=True)), *per_site]
    words = ["tokenprune", "prune", "--run", name or run.folder.name]
    words += [word for method in methods for word in ("--method", method)]
    words += [word for key, value in (options or {}).items() for word in ("--option", f"{key}={json.dumps(value)}")]
    words += ["--site", site] if site else []
    words += ["--keep", ",".join(ratios)] if ratios else []
    words += ["--r", ",".join(removed)] if removed else []
    words += ["--seeds", str(draws)] if draws else []
    words += ["--finetune-epochs", str(finetune_epochs)] if finetune_epochs else []
    words += ["--batch-size", str(batch_size)] if batch_size else []
    return shlex.join([*words, *_where(run)])


def measure(
    run: RunData, measurement: str, options: Mapping[str, Any], *, name: str | None = None, again: bool = False
) -> str:
    """The command that measures the run, or the run called `name` beside it; a packed run is trained first.

    again: although there is a result of these options.
    """
    words = ["tokenprune", "measure", measurement, "--run", name or run.folder.name]
    words += [word for key, value in options.items() for word in ("--option", f"{key}={json.dumps(value)}")]
    words += ["--force"] if again else []
    first = f"{train(run, run.result.seed)[0]}\n" if name is None and is_packed(run) else ""
    return first + shlex.join([*words, *_where(run)])


@dataclass(frozen=True)
class Need:
    """A study that a finding compares: that of `run`, with `overrides`; trained with `seeds` so far."""

    run: RunData
    overrides: tuple[str, ...] = ()
    seeds: frozenset[int] = frozenset()


def further(runs: Sequence[RunData], wanted: int, alike: Callable[[RunData, str], str]) -> list[str]:
    """Commands that train fresh seeds of a study, so that there are `wanted`, and measure them.

    alike: the command that measures the run of that name as the one given.
    """
    if not runs[0].result.epochs:
        return [_ADOPTED]
    have = {run.result.seed for run in runs}
    lines = []
    for command, name in (train(runs[0], seed) for seed in _fresh(have, wanted - len(have))):
        lines += [command, alike(runs[0], name)]
    return [*lines[:_SHOWN], *_left(len(lines) - _SHOWN)]


def in_all(needs: Sequence[Need], have: int, wanted: int) -> list[str]:
    """Commands that train the same seeds in every study compared: those begun in some, then fresh ones.

    have: seeds that all have.
    """
    if any(not need.run.result.epochs for need in needs):
        return [_ADOPTED]
    there = set[int]().union(*(need.seeds for need in needs))
    begun = sorted(seed for seed in there if any(seed not in need.seeds for need in needs))
    cells = [
        (need, seed)
        for seed in (*begun, *_fresh(there, wanted - have - len(begun)))
        for need in needs
        if seed not in need.seeds
    ]
    lines = [train(need.run, seed, need.overrides)[0] for need, seed in cells[:_SHOWN]]
    return [*lines, *_left(len(cells) - _SHOWN)]


def _fresh(have: Collection[int], wanted: int) -> Iterator[int]:
    """Seeds that are not there yet."""
    return islice((seed for seed in count() if seed not in have), max(0, wanted))


def _left(number: int) -> list[str]:
    """A line for commands that are not shown."""
    return [f"# and {number} more like these"] if number > 0 else []


def _recipe(run: RunData) -> tuple[str, str, list[str]]:
    """(what --recipe takes, the name of runs made so, overrides other than the seed's).

    A shipped recipe by its name, if its text is still what the run was made with; else the run's own copy, which is
    headed by its overrides.
    """
    try:
        text = files.read_text(run.folder.recipe)
    except (OSError, UnicodeDecodeError):
        return run.result.name, run.result.name, []
    header = "# --set "
    lines = text.splitlines(keepends=True)
    given = [line.removeprefix(header).strip() for line in lines if line.startswith(header)]
    body = "".join(line for line in lines if not line.startswith(header))
    overrides = [override for override in given if _key(override) != "run.seed"]
    shipped = shipped_recipes().get(run.result.name)
    if shipped is not None and shipped.read_text(encoding="utf-8") == body:
        return run.result.name, run.result.name, overrides
    return str(run.folder.recipe), run.result.name, overrides


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


def is_packed(run: RunData) -> bool:
    """Whether the run is only read: without its weights, it cannot be measured again."""
    return isinstance(run.folder.path, Packed)


def _where(run: RunData) -> list[str]:
    """Folders of runs and of images. What is missing of packed runs is made in the usual folder."""
    folder = run.folder.path.parent
    runs_dir = [] if str(folder) == "runs" or is_packed(run) else ["--runs-dir", str(folder)]
    return [*runs_dir, *run.folder.data_dir_words()]
