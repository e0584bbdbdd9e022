"""`tokenprune compare`: methods on the same trained models, side by side."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tokenprune.cli.interrupt import at_once
from tokenprune.cli.options import Json, Methods, Runs, RunsDir, Sites


def compare(
    run: Runs = None,
    site: Sites = None,
    method: Methods = None,
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for figures and CSV.")] = Path("compare"),
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The table as CSV on standard output.")] = False,
) -> None:
    """Compare methods on the same trained models.

    Over whole curves, at equal FLOPs and at equal measured speed, from what
    `tokenprune prune` left, and against the latencies of `tokenprune measure
    latency`; runs that differ by their seed alone are replicates.

    Example: tokenprune compare --site before:0 --out compare
    """
    if as_json and as_csv:
        raise typer.BadParameter("give one of --json and --csv")
    with at_once():
        from tokenprune import report as reports
        from tokenprune.cli import show

    methods = None if method and "all" in method else method
    found = reports.compare(runs_dir, out, runs=run, sites=site, methods=methods)
    for problem in found.problems:
        print(f"warning: {problem}", file=sys.stderr)
    if as_json:
        show.json(found.rows)
    elif as_csv:
        print((out / "methods.csv").read_text(encoding="utf-8"), end="")
    else:
        show.tables([table.terminal() for table in found.tables])
        print("In brackets: 95 % intervals, paired by seed and image. No area: the method")
        print("costs too much to come near the least FLOPs of others. All: methods.csv,")
        print("and of latency, where it was measured, method-latency.csv.")
        if not found.timed:
            print("No latencies here: `tokenprune measure latency` adds them, batch by batch.")
    print(f"written: {', '.join(str(out / name) for name in found.files)}", file=sys.stderr)
