"""`tokenprune report`: what all runs in a folder say together."""

from pathlib import Path
from typing import Annotated

import typer

from tokenprune.cli.options import Json, RunsDir


def report(
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the page, figures and CSV.")] = Path(
        "report"
    ),
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The measured points as CSV on standard output.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 3 if a claim is refuted.")] = False,
) -> None:
    """Write tables, figures and verdicts over all runs.

    Example: tokenprune report --out report --strict
    """
    raise NotImplementedError
