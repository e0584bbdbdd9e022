"""The commands that repeat what the report shows: as they were given, or as they would be for one run of a sweep."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenprune.claims import RunData
from tokenprune.claims import commands as own
from tokenprune.report.collect import Report
from tokenprune.runs import PruneResult


def train_command(environment: Mapping[str, Any]) -> str | None:
    """The command that the run was started with, where it is known."""
    words = _given(environment)
    return shlex.join(["tokenprune", *words]) if words else None


def sweep_command(environment: Mapping[str, Any]) -> str | None:
    """The sweep that the run was a cell of, if it was."""
    words = _given(environment)
    if words[:1] != ["sweep"]:
        return None
    return shlex.join(["tokenprune", *(word for word in words if word != "--resume")])


class Commands:
    """The commands behind the runs of a report; each is made once."""

    def __init__(self, report: Report) -> None:
        self._environments = report.environments
        self._runs = {run.folder.name: run for run in report.runs}
        self._prunes = {(run.folder.name, path.name): prune for run in report.runs for path, prune in run.prunes}
        self._trains: dict[str, str | None] = {}

    def of(self, evidence: Iterable[str]) -> str:
        """What repeats these, a line each, seeds of one command in a loop. evidence: `RUN` or `RUN/prune/PRUNE`."""
        names = [name.partition("/prune/") for name in evidence]
        runs = [run for run in dict.fromkeys(run for run, _, _ in names) if run in self._runs]
        lines = [(run, line) for run in runs if (line := self._train(run))]
        lines += [
            (run, self._prune(run, self._prunes[run, prune]))
            for run, _, prune in dict.fromkeys(names)
            if (run, prune) in self._prunes
        ]
        sweeps = dict.fromkeys(line for run in runs if (line := sweep_command(self._environments[run])))
        either = [f"# {'the sweep' if len(sweeps) == 1 else 'the sweeps'}, or run by run:"] if sweeps and lines else []
        return "\n".join([*sweeps, *either, *self._loops(lines)])

    def all_of(self, runs: Sequence[RunData]) -> str:
        """What trained and pruned these runs."""
        names = {run.folder.name for run in runs}
        prunes = [f"{run}/prune/{prune}" for run, prune in self._prunes if run in names]
        return self.of([*(run.folder.name for run in runs), *prunes])

    def _train(self, name: str) -> str | None:
        """As it was given; for a cell of a sweep its own."""
        if name not in self._trains:
            self._trains[name] = train_command(self._environments[name])
            if sweep_command(self._environments[name]):
                self._trains[name], _ = own.train(self._runs[name], self._runs[name].result.seed)
        return self._trains[name]

    def _prune(self, name: str, prune: PruneResult) -> str:
        return own.prune(
            self._runs[name],
            [prune.method],
            site=prune.written_site,
            options=prune.options,
            keep=list(dict.fromkeys(point.keep or point.keep_ratio for point in prune.points)),
            finetune_epochs=prune.finetune_epochs,
            draws=len({point.seed for point in prune.points if point.seed is not None}),
            batch_size=prune.batch_size,
        )

    def _loops(self, lines: Sequence[tuple[str, str]]) -> list[str]:
        """(run, command) as commands; those that differ by the seed alone as one loop of the shell."""
        loops: dict[str, dict[int, str]] = {}
        for run, line in lines:
            seed = self._runs[run].result.seed
            loops.setdefault(_without_seed(line, run, seed), {})[seed] = line
        found: list[str] = []
        for looped, by_seed in loops.items():
            if len(by_seed) == 1:
                found += by_seed.values()
            else:
                found.append(f"for seed in {' '.join(map(str, sorted(by_seed)))}; do {looped}; done")
        return found


def _without_seed(line: str, run: str, seed: int) -> str:
    """The command with `$seed` for the seed of the run that it makes or measures."""
    line = re.sub(rf"--seed {seed}(?!\S)", "--seed $seed", line)
    if "'" in line or not run.endswith(f"-s{seed}"):  # the shell expands nothing between quotes
        return line
    return line.replace(run, f"{run.removesuffix(str(seed))}$seed")


def _given(environment: Mapping[str, Any]) -> list[str]:
    """The words that the run was started with, the program's name aside; none where they are not known."""
    words = environment.get("command")
    return [str(word) for word in words[1:]] if isinstance(words, list) else []
