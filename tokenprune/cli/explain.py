"""`tokenprune explain`: one claim, from its statement to the reasons for its verdicts."""

import sys
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from tokenprune.cli.options import ClaimName, Json, RunsDir


def explain(
    claim: ClaimName,
    runs_dir: RunsDir = Path("runs"),
    as_json: Json = False,
    verbose: Annotated[bool, typer.Option("--runs", help="Name the runs behind each verdict.")] = False,
) -> None:
    """Print what a claim says, what was run, and why it was judged so.

    Example: tokenprune explain magnitude-beats-random
    """
    from dataclasses import asdict

    from tokenprune.cli import show
    from tokenprune.errors import counted
    from tokenprune.experiments.explain import explain as explained

    found = explained(claim, runs_dir)
    for problem in found.problems:
        print(f"warning: {problem}", file=sys.stderr)
    if as_json:
        show.json(asdict(found))
        return
    for name in ("claim", "statement", "source", "reads", "test", "rule"):
        print(_hung(f"{name:<11}", getattr(found, name)))
    for line in found.published:
        print(_hung("published  ", line))
    if found.missing:
        print("\n" + _hung("", found.missing))
    told: set[str] = set()
    for judged in found.judged:
        print("\n" + _hung(f"{judged.verdict.upper()}  ", judged.where))
        print(_hung("  ", judged.why))
        lines = (judged.next or "").splitlines()
        new = [line for line in lines if line not in told]
        for line in new or (["the commands above would decide it as well"] if lines else []):
            print(f"  {line}" if line.startswith("tokenprune ") else _hung("  ", line))
        told |= set(new)
        if verbose:
            print(_hung("  runs: ", ", ".join(judged.runs)))
        elif judged.runs:
            print(f"  read: {counted(len(judged.runs), 'result')}; --runs names them")
    for line in found.trends:
        print("\n" + _hung("TREND  ", line))


def _hung(label: str, text: str) -> str:
    """Text beside its label, in at most 80 columns; commands below stay on lines of their own, to be copied."""
    from tokenprune.cli.show import columns

    return textwrap.fill(
        text,
        min(columns() or 80, 80),
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_on_hyphens=False,
        break_long_words=False,
    )
