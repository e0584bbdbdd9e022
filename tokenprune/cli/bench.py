"""`tokenprune bench`: speed as ratios against a plain implementation in the same run."""

from enum import StrEnum
from typing import Annotated

import typer

from tokenprune.cli.interrupt import at_once
from tokenprune.cli.options import Json


class Part(StrEnum):
    step = "step"
    epoch = "epoch"
    forward = "forward"
    sharing = "sharing"
    methods = "methods"
    startup = "startup"
    report = "report"
    theory = "theory"
    sweep = "sweep"


_WHAT = (
    "step and epoch of training; forward of a pruned model, and of what sparsify makes; sharing of one pass by many "
    "curves; methods, each against its FLOPs; startup of the command, and reading a folder of photographs; report; "
    "theory; sweep"
)


def bench(
    parts: Annotated[list[Part] | None, typer.Argument(metavar="PART", help=f"{_WHAT} (default: all).")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes and few rounds, as a check.")] = False,
    as_json: Json = False,
) -> None:
    """Measure speed against a plain implementation, side by side.

    Example: tokenprune bench --quick --json
    """
    with at_once():
        from tokenprune import bench as benchmarks

    benchmarks.run([part.value for part in parts or ()], json=as_json, quick=quick)
