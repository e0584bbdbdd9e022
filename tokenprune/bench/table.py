"""The benchmarks by name, running them, and the table of their results."""

import json as json_
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tokenprune import hardware, runs
from tokenprune.bench import pruning, startup, training
from tokenprune.bench.timing import Ratio


def _steps(quick: bool) -> list[Ratio]:
    rounds, depths = (2, (1,)) if quick else (9, (1, 6, 12))
    return [training.ceiling(rounds), *(training.step(depth, rounds) for depth in depths)]


def _epochs(quick: bool) -> list[Ratio]:
    rounds, count, depths = (1, 256, (1,)) if quick else (3, 2560, (1, 6, 12))
    return [training.epoch(depth, rounds, count) for depth in depths]


def _forward(quick: bool) -> list[Ratio]:
    if quick:
        return [pruning.forward(2, 0.5, rounds=2, batch=16)]
    return [pruning.forward(12, keep, rounds=15) for keep in (0.7, 0.5, 0.25)]


def _sharing(quick: bool) -> list[Ratio]:
    if quick:
        return [pruning.sharing(2, 1, 1.0, images=16, rounds=1)]
    return [pruning.sharing(12, block, target, images=128, rounds=3) for block, target in ((3, 0.7), (6, 0.45))]


#: By name: what `tokenprune bench NAME` runs.
BENCHMARKS: dict[str, Callable[[bool], list[Ratio]]] = {
    "step": _steps,
    "epoch": _epochs,
    "forward": _forward,
    "sharing": _sharing,
    "startup": lambda quick: startup.answers(rounds=1 if quick else 9),
}


def run(names: Sequence[str] = (), *, json: bool = False, quick: bool = False) -> list[Ratio]:
    """Run the benchmarks named (none: all) and print their results."""
    found: list[Ratio] = []
    for name in names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found += BENCHMARKS[name](quick)
    if json:
        print(json_.dumps({"machine": machine(), "quick": quick, "ratios": [r.as_json() for r in found]}, indent=2))
    else:
        Console().print(table(found))
    return found


def machine() -> dict[str, Any]:
    """The machine that the ratios were measured on."""
    device = hardware.choose_device("auto")
    return runs.describe(hardware.device_name(device), hardware.set_threads(None), {})


def table(found: Sequence[Ratio]) -> Table:
    shown = Table(box=None, pad_edge=False, caption="medians of interleaved rounds", caption_justify="left")
    for column, justify in (("benchmark", "left"), ("ratio", "right"), ("promise", "right"), ("", "left")):
        shown.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    shown.add_column("what")
    for ratio in found:
        promise = "" if ratio.target is None else f"{'<=' if ratio.at_most else '>='} {ratio.target:g}"
        verdict = {None: "", True: "met", False: "missed"}[ratio.met]
        shown.add_row(ratio.name, f"{ratio.ratio:.2f}", promise, verdict, ratio.what)
    return shown
