"""Standard output: tables that fit 80 columns, or JSON."""

import json as _json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenprune.errors import counted

if TYPE_CHECKING:
    from rich.table import Table

    from tokenprune.pipeline import DryRun, Seen
    from tokenprune.recipe import Loaded
    from tokenprune.runs import MeasureResult, PruneResult, RunFolder


DASH = "–"  # in ranges, and for missing values

#: Words are whole wherever lines are wrapped.
_WHOLE: Any = {"break_long_words": False, "break_on_hyphens": False}


def json(value: Any) -> None:
    print(_json.dumps(value, indent=2, allow_nan=False))


def fields(values: Mapping[str, object]) -> None:
    """Names and values, a line each, in a narrow terminal more."""
    print(_block(list(values), list(map(str, values.values())), columns() or sys.maxsize))


def rows(
    names: Sequence[str], values: Sequence[Sequence[str]], *, numbers: Sequence[str] = (), title: str = ""
) -> None:
    """A table as wide as the terminal; in a pipe as wide as its content, up to 120 columns. Nothing is cut.

    Words are never broken: where the longest of all columns do not fit side by side, each row is a block of lines.
    """
    most, gap = columns() or 120, 1 if numbers else 2
    if title:
        print(textwrap.fill(title, most, **_WHOLE))
    cells = list(zip(names, *values, strict=True))
    least = [max(len(word) for cell in column for word in cell.split() or [""]) for column in cells]
    if sum(least) + 2 * len(names) > most:
        print("\n" * bool(title) + "\n\n".join(_block(names, row, most) for row in values))
        return
    widths = [max(map(len, column)) for column in cells]
    while sum(widths) + gap * (len(names) - 1) > most:  # the widest gives way
        widest = max((i for i in range(len(names)) if widths[i] > least[i]), key=widths.__getitem__)
        widths[widest] -= 1

    def show(row: Sequence[str]) -> None:
        wrapped = [textwrap.wrap(cell, width, **_WHOLE) for cell, width in zip(row, widths, strict=True)]
        for line in zip_longest(*wrapped, fillvalue=""):
            cells = zip(names, line, widths, strict=True)
            padded = [cell.rjust(width) if name in numbers else cell.ljust(width) for name, cell, width in cells]
            print((" " * gap).join(padded).rstrip())

    show(names)
    print("─" * (sum(widths) + gap * (len(names) - 1)))
    for row in values:
        show(row)


def columns() -> int | None:
    """Columns of the terminal; None where a pipe has no width."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else None


def _block(names: Sequence[str], row: Sequence[str], width: int) -> str:
    """A row of a table as lines of a name and a value each."""
    left = min(max(map(len, names)) + 2, width // 2)
    look: Any = {**_WHOLE, "subsequent_indent": " " * left}
    return "\n".join(
        textwrap.fill(f"{name:<{left - 1}} {cell}", width, **look)
        for name, cell in zip(names, row, strict=True)
        if cell
    )


def tables(renderables: Sequence[Any]) -> None:
    """A report's tables, which are made for 80 columns: in fewer each row is a block of lines."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    for renderable in renderables:
        if console.width < 80 and isinstance(renderable, Table):
            print(_blocks(renderable, console.width))
        else:
            console.print(renderable)
        console.print()


def _blocks(table: "Table", width: int) -> str:
    names = [str(column.header).replace("\n", " ") for column in table.columns]
    values = zip(*(map(str, column.cells) for column in table.columns), strict=True)
    ends = [textwrap.fill(str(text), width, break_on_hyphens=False) for text in (table.title, table.caption) if text]
    blocks = [_block(names, row, width) for row in values]
    return "\n\n".join([*ends[:1], *blocks, *ends[1:]])


def train(run: "RunFolder", *, as_json: bool) -> None:
    result = run.result()
    if as_json:
        json({"run": run.name, "path": str(run.path), **result.model_dump(mode="json")})
        return
    fields(
        {
            "run": run.path,
            "accuracy": f"{result.test_accuracy:.2%} ({result.test_correct} of {result.test_count} test images)",
            "loss": f"{result.test_loss:.4f}",
            "trained": (
                f"{counted(result.epochs, 'epoch')} in {result.seconds:.0f} s" if result.epochs else "elsewhere"
            )
            + f", {result.precision} on {result.device}",
            **({"note": result.data.note} if result.data.note else {}),
        }
    )


def dry_run(loaded: "Loaded", dry: "DryRun", *, as_json: bool) -> None:
    if as_json:
        json({"recipe": loaded.name, "setting": loaded.recipe.setting(), **vars(dry)})
        return
    for note in dry.notes:
        print(note, file=sys.stderr)
    fields(
        {
            "recipe": f"{loaded.name}, setting {loaded.recipe.setting()}, family {loaded.recipe.family()}",
            "model": f"depth {dry.depth}, {dry.parameters:,} parameters, {dry.patches} patch tokens",
            "forward": f"{dry.flops / 1e6:.1f} MFLOPs per image",
            "memory": f"{dry.memory_bytes / 2**20:.0f} MiB at peak, images included",
            "data": f"{dry.train_count:,} training and {dry.test_count:,} test images",
            "steps": f"{dry.steps_per_epoch:,} an epoch, {counted(loaded.recipe.train.epochs, 'epoch')}",
            "runs on": f"{dry.device} in {dry.precision}",
            "loss": f"{dry.loss:.4f} on the first batch",
        }
    )


_LEGEND = """\
acc %, 95 % CI (Wilson): of all test images. diff, p (McNemar): against the
unpruned model{control} on the same images. rel.: label-relevant share of the kept
tokens. left: share of the patches. gain/ideal: speed-up measured, and by FLOPs."""


def prunes(results: "Sequence[tuple[Path, PruneResult]]", *, as_json: bool) -> None:
    if as_json:
        json([{"path": str(path), **result.model_dump(mode="json")} for path, result in results])
        return
    for path, result in results:
        prune(path, result)
    epochs = {result.finetune_epochs for _, result in results} - {0}
    control = f", trained {counted(epochs.pop(), 'epoch')} longer as well," if epochs else ""
    print(textwrap.fill(_LEGEND.format(control=control), 80))
    points = [point for _, result in results for point in result.points]
    if any(point.seed for point in points):
        print("p of several draws: the largest. --json has each draw.")
    if any(_removes_none(point.keep_ratio, point.realised[-1]) for point in points):
        print(f"{_NONE} removes no token: as keep 1.")
    if any(result.method == "oracle" and result.points[0].kept_relevance is None for _, result in results):
        print("oracle: by the true label's gradient, which leaks the label: it may beat\nthe unpruned model.")
    for why in sorted({result.untimed for _, result in results if result.untimed}):
        print(textwrap.fill(why, 80))


_NONE = "="  # beside a keep ratio


def _removes_none(keep_ratio: float, kept: float) -> bool:
    return keep_ratio < 1 and kept == 1


def prune(path: Path, result: "PruneResult") -> None:
    """One method's curve; of a random one the mean over its draws."""
    from tokenprune.claims.units import signed
    from tokenprune.experiments.series import marks

    found = marks([result.points], result.count)
    draws = max(mark.draws for mark in found)
    names = ["keep", "acc %", "95 % CI", "diff", "p", "rel.", "left", "MFLOPs", "img/s", "gain/ideal"]
    rows(
        names,
        [
            [
                f"{mark.keep}{_NONE if _removes_none(mark.keep_ratio, mark.kept) else ''}",
                f"{100 * mark.accuracy.value:.2f}",
                f"{100 * (mark.accuracy.low or 0):.1f}{DASH}{100 * (mark.accuracy.high or 0):.1f}",
                signed(100 * mark.difference.value, 2),
                f"{mark.p_high:.1g}",
                number(mark.kept_relevance.value if mark.kept_relevance else None, ".2f"),
                f"{mark.kept:.2f}",
                f"{mark.flops / 1e6:.1f}",
                number(mark.images_per_second, ".0f"),
                f"{number(mark.speedup, '.2f')}/{mark.ideal_speedup:.2f}",
            ]
            for mark in found
        ],
        numbers=names,
        title=f"{result.method} at {result.written_site}{f', mean of {draws} draws' if draws > 1 else ''}: {path}",
    )
    for point in result.points:
        if point.tokens is not None and not point.seed:
            least, first, middle, third, most = point.tokens
            print(f"keep {point.asked}: {least} to {most} patch tokens, quartiles {first}, {middle}, {third}")
    print()


def measured(path: Path, result: "MeasureResult", *, as_json: bool) -> None:
    """Every number of a measurement: a row for each place on the axes, a column for each array that has the same."""
    import numpy as np

    if as_json:
        json(result.model_dump(mode="json"))
        return
    tables: dict[str, list[str]] = {}
    for name, array in result.arrays.items():
        like = _json.dumps([array.axes, array.labels, np.shape(array.values)])
        tables.setdefault(like, []).append(name)
    for names in tables.values():
        first = result.arrays[names[0]]
        labels = {
            axis: first.labels.get(axis) or {axis: tuple(range(size))}
            for axis, size in zip(first.axes, np.shape(first.values), strict=True)
        }
        shown = [
            (axis, name)
            for axis, columns in labels.items()
            for name, column in columns.items()
            if len(columns) == 1 or len(set(column)) > 1  # what is alike everywhere is in --json
        ]
        values = [f"{name} [{result.arrays[name].unit}]" for name in names]
        table = [
            [_label(labels[axis][name][place[first.axes.index(axis)]]) for axis, name in shown]
            + [f"{np.asarray(result.arrays[name].values)[place]:.6g}" for name in names]
            for place in np.ndindex(np.shape(first.values))
        ]
        words = {name for axis, name in shown if any(isinstance(label, str) for label in labels[axis][name])}
        heads = [*(name for _, name in shown), *values]
        rows(heads, table, numbers=[name for name in heads if name not in words])
    if result.threads is not None:
        print(
            f"{result.processor}, {result.threads} threads, {result.precision} on {result.device}, torch {result.torch}"
        )
    for note in result.notes:
        print(textwrap.fill(note, 80, **_WHOLE))
    print(path)


def _label(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def seen(found: "Sequence[Seen]", out: Path, *, as_json: bool) -> None:
    """What each method leaves of a picture at each ratio, and what the model then says."""
    if as_json:
        json(
            [
                {
                    "method": each.method,
                    "keep": each.keep,
                    "tokens": each.tokens,
                    "owner": each.owner[-1].tolist(),
                    "probability": [list(pair) for pair in each.likely],  # classes may share a name
                }
                for each in found
            ]
        )
        return
    names = ["method", "keep", "tokens", "says", "probability", "then"]
    table = []
    for each in found:
        first, sure = (each.likely[0][0], f"{each.likely[0][1]:.0%}") if each.likely else (DASH, DASH)
        then = f"{each.likely[1][0]} {each.likely[1][1]:.0%}" if len(each.likely) > 1 else DASH
        table.append([each.method, str(each.keep), str(each.tokens), first, sure, then])
    rows(names, table, numbers=["keep", "tokens", "probability"])
    print(out)


def number(value: float | None, form: str) -> str:
    return DASH if value is None else f"{value:{form}}"
