"""`tokenprune report`: what all runs in a folder say together."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tokenprune.cli.interrupt import at_once
from tokenprune.cli.options import Json, Methods, Runs, RunsDir, Sites

REFUTED = 3


def report(
    run: Runs = None,
    site: Sites = None,
    method: Methods = None,
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the page, figures, CSV.")] = Path(
        "report"
    ),
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The measured points as CSV on standard output.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 3 if a claim is refuted.")] = False,
) -> None:
    """Write tables, figures and verdicts over all runs.

    Example: tokenprune report --out report --strict
    """
    if as_json and as_csv:
        raise typer.BadParameter("give one of --json and --csv")
    with at_once():
        from tokenprune import report as reports
        from tokenprune.cli import show

    methods = None if method and "all" in method else method
    found = reports.write(runs_dir, out, runs=run, sites=site, methods=methods)
    for problem in found.problems:
        print(f"warning: {problem}", file=sys.stderr)
    if as_json:
        show.json(reports.as_json(found))
    elif as_csv:
        print((out / ("points.csv" if found.runs else "theory.csv")).read_text(encoding="utf-8"), end="")
    else:
        show.tables(reports.table(found))
    pages = [*(["index.html"] if found.runs else []), *(["theory.html"] if found.laboratory else [])]
    print(f"written: {', '.join(str(out / page) for page in pages)}", file=sys.stderr)
    outcomes = [each.verdict for each in found.verdicts] + [each.verdict for each in found.laboratory.verdicts]
    if strict and "refuted" in outcomes:
        raise typer.Exit(REFUTED)
