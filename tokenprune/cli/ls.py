"""`tokenprune ls`: lists of recipes, runs, claims and the like."""

import sys
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tokenprune.cli.options import DataDir, Json, RunsDir

if TYPE_CHECKING:
    from tokenprune.errors import TokenpruneError

_Record = TypeVar("_Record")


class Kind(StrEnum):
    recipes = "recipes"
    pruners = "pruners"
    datasets = "datasets"
    runs = "runs"
    claims = "claims"
    measurements = "measurements"


def ls(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = Kind.runs,
    runs_dir: RunsDir = Path("runs"),
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List runs, recipes, pruners, data sets, claims or measurements.

    Example: tokenprune ls recipes
    """
    from tokenprune.cli import show

    found = {
        Kind.recipes: _recipes,
        Kind.pruners: _pruners,
        Kind.datasets: lambda: _datasets(data_dir),
        Kind.runs: lambda: _runs(runs_dir),
        Kind.claims: _claims,
        Kind.measurements: _measurements,
    }[kind]()
    if as_json:
        show.json(found)
    elif found:
        for names in dict.fromkeys(tuple(row) for row in found):  # runs of two kinds are two tables
            show.rows(list(names), [[_cell(cell) for cell in row.values()] for row in found if tuple(row) == names])
    else:
        print(f"no {kind} here", file=sys.stderr)


def _cell(value: object) -> str:
    """Shares as everywhere else in tables: in per cent."""
    from tokenprune.cli.show import DASH

    if value is None:
        return DASH
    return f"{value:.2%}" if isinstance(value, float) else str(value)


def _recipes() -> list[dict[str, Any]]:
    from tokenprune.shipped import KINDS, shipped_recipes, summary

    return [
        {"recipe": f"{kind}/{name}" if kind else name, "what": summary(path)}
        for kind in ("", *KINDS)
        for name, path in shipped_recipes(kind).items()
    ]


def _pruners() -> list[dict[str, Any]]:
    from tokenprune.pruners.registry import described_pruners

    return [{"pruner": name, "what it does": what} for name, what in described_pruners().items()]


def _datasets(data_dir: Path | None) -> list[dict[str, Any]]:
    from tokenprune.images import data_folder, present
    from tokenprune.recipe import SOURCES

    where = data_folder(data_dir)
    print(f"looked in {where}; --data-dir or $TOKENPRUNE_DATA names another folder", file=sys.stderr)
    return [
        {"source": name, "found": "always" if name == "patterns" else present(name, where), "what": what}
        for name, what in SOURCES.items()
    ]


def _runs(runs_dir: Path) -> list[dict[str, Any]]:
    from tokenprune.runs import all_runs
    from tokenprune.theory.folder import theory_runs

    rows = []
    for run in [*all_runs(runs_dir), *theory_runs(runs_dir)]:
        damaged: list[TokenpruneError] = []
        result: Any = _tried(run.record, damaged) if run.finished else None
        status = _tried(run.status, damaged) if result or not run.finished else None
        curves = [_tried(partial(run.curve, path), damaged) for path in run.prune_folders()]
        for problem in damaged:
            print(f"warning: {problem}", file=sys.stderr)
        state = "finished" if result else status.state if status else "damaged" if damaged else "unknown"
        if run.place:  # of the laboratory
            row = {
                "theory run": f"{run.place}/{run.name}",
                "state": state,
                "experiment": result.recipe["experiment"] if result else None,
                "models": result.models if result else None,
            }
        else:
            row = {
                "run": run.name,
                "state": state,
                "epoch": status.epoch if status else result.epochs if result else None,
                "test accuracy": round(result.test_accuracy, 4) if result else None,
                "pruned by": ", ".join(sorted({curve.method for curve in curves if curve})) or None,
            }
        rows.append(row)
    return rows


def _tried(read: Callable[[], _Record], damaged: "list[TokenpruneError]") -> _Record | None:
    """The value of `read`; None where it fails, and the error is added to `damaged`."""
    from tokenprune.errors import TokenpruneError

    try:
        return read()
    except TokenpruneError as error:
        damaged.append(error)
        return None


def _measurements() -> list[dict[str, Any]]:
    from tokenprune.measurements import MEASUREMENTS

    return [{"measurement": name, "what": what} for name, what in MEASUREMENTS.items()]


def _claims() -> list[dict[str, Any]]:
    from tokenprune.experiments import CLAIMS

    return [{"of": claim.experiment, "claim": claim.id, "statement": claim.statement} for claim in CLAIMS]
