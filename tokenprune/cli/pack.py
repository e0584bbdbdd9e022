"""`tokenprune pack`: runs into one file, and back."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def pack(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="A folder of runs, or a packed file.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A packed file, NAME.jsonl.gz, or a folder to unpack into.")
    ],
) -> None:
    """Pack finished runs into one file, to be read as a runs folder.

    Report, explain and ls take it as --runs-dir.

    Runs packed before are kept. If OUT is a folder, RUNS is unpacked into it, and sweeps there continue from it.

    Example: tokenprune pack runs results/runs.jsonl.gz
    """
    from tokenprune import pack as packing
    from tokenprune.errors import UsageError, counted
    from tokenprune.runs.packed import ENDING

    if out.name.endswith(ENDING):
        names, problems = packing.pack(runs, out)
        for problem in problems:
            print(f"warning: {problem}", file=sys.stderr)
        typer.echo(f"{out}: {counted(len(names), 'run')} packed, {out.stat().st_size / 1e6:.1f} MB")
    elif runs.name.endswith(ENDING):
        names = packing.unpack(runs, out)
        typer.echo(f"{out}: {counted(len(names), 'run')} unpacked")
    else:
        raise UsageError(f"one of RUNS and OUT is a packed file, NAME{ENDING}")
