"""The benchmarks by name, running them, and the table of their results."""

import json as json_
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from tokenprune.bench.timing import Ratio
from tokenprune.errors import unknown


def _steps(quick: bool) -> list[Ratio]:
    from tokenprune.bench import training

    rounds, depths = (2, (1,)) if quick else (9, (1, 6, 12))
    return [training.ceiling(rounds), *(training.step(depth, rounds) for depth in depths)]


def _epochs(quick: bool) -> list[Ratio]:
    from tokenprune.bench import training

    if quick:
        return [training.epoch(1, rounds=1, count=256)]
    return [training.epoch(depth, rounds=3, count=2560) for depth in (1, 6, 12)]


def _forward(quick: bool) -> list[Ratio]:
    from tokenprune.bench import pruning

    if quick:
        return [pruning.forward(2, 0.5, rounds=2, batch=16), pruning.wrapped(2, rounds=2, batch=16)]
    return [*(pruning.forward(12, keep, rounds=15) for keep in (0.7, 0.5, 0.25)), pruning.wrapped(12, rounds=31)]


def _methods(quick: bool) -> list[Ratio]:
    from tokenprune.bench import methods
    from tokenprune.pruners import BUILT_IN

    names = list(BUILT_IN)
    if quick:
        found = methods.forwards(names, 2, 0.5, rounds=1, batch=4)
        return [*(replace(ratio, target=None) for ratio in found), methods.crossover(2, 0.5, 1, (1, 2))]
    found = [ratio for keep in (0.7, 0.5) for ratio in methods.forwards(names, 12, keep, rounds=7)]
    return [*found, *(methods.crossover(12, keep, 15, (1, 2, 4, 8, 16, 32, 64, 128)) for keep in (0.7, 0.5))]


def _sharing(quick: bool) -> list[Ratio]:
    from tokenprune.bench import pruning

    if quick:
        return [pruning.sharing(2, 1, 1.0, images=16, rounds=1)]
    return [pruning.sharing(12, block, target, images=128, rounds=3) for block, target in ((3, 0.7), (6, 0.45))]


def _startup(quick: bool) -> list[Ratio]:
    from tokenprune.bench import folder, startup

    read = folder.decoding(40, 64) if quick else folder.decoding(2000, 384)
    return [*startup.answers(rounds=1 if quick else 9), read]


def _report(quick: bool) -> list[Ratio]:
    from tokenprune.bench import startup

    layouts = [(1, 2, 3)] if quick else [(1, 5, 40), (5, 8, 5)]
    return [startup.report(*layout) for layout in layouts]


def _theory(quick: bool) -> list[Ratio]:
    from tokenprune.bench import theory

    return theory.diagrams(1, 1, rounds=1) if quick else theory.diagrams(20, 1, rounds=3)


def _sweep(quick: bool) -> list[Ratio]:
    import torch

    from tokenprune.bench import sweep

    if quick:
        return [sweep.overhead(1, cells=2, epochs=1)]
    shared = [sweep.together(depth, cells=8, epochs=40, per_gpu=4) for depth in (1, 2) if torch.cuda.is_available()]
    return [sweep.overhead(2, cells=6, epochs=16), *shared]


#: By name: what `tokenprune bench NAME` runs.
BENCHMARKS: dict[str, Callable[[bool], list[Ratio]]] = {
    "step": _steps,
    "epoch": _epochs,
    "forward": _forward,
    "sharing": _sharing,
    "methods": _methods,
    "startup": _startup,
    "report": _report,
    "theory": _theory,
    "sweep": _sweep,
}


def run(names: Sequence[str] = (), *, json: bool = False, quick: bool = False) -> list[Ratio]:
    """Run the benchmarks named (none: all) and print their results. Raises UsageError for an unknown name."""
    for name in names:
        if name not in BENCHMARKS:
            raise unknown("benchmark", name, BENCHMARKS)
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
    from tokenprune import hardware, runs

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
