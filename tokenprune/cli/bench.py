"""`tokenprune bench`: speed as ratios against a plain implementation in the same run."""

from typing import Annotated

import typer

from tokenprune.cli.options import Json


def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Benchmarks (default: all).")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes and few rounds: does it run at all?")] = False,
    as_json: Json = False,
) -> None:
    """Measure speed against a plain implementation, side by side.

    Example: tokenprune bench --quick --json
    """
    from tokenprune import bench as benchmarks

    benchmarks.run(names or [], json=as_json, quick=quick)
