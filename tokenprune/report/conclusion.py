"""What stands above the matrix: three sentences of conclusion, and what the models were."""

from collections.abc import Iterable, Sequence

from tokenprune.report.collect import Report
from tokenprune.report.matrix import Matrix
from tokenprune.report.numbers import percent
from tokenprune.report.series import Trained
from tokenprune.report.theory.words import pretty


def sentences(matrix: Matrix) -> list[str]:
    """How much was decided, what holds, what does not. Empty where nothing was measured."""
    supported, refuted, undecided = (matrix.told(verdict) for verdict in ("supported", "refuted", "undecided"))
    count = len(supported) + len(refuted) + len(undecided)
    if not count:
        return []
    near = sum(cell.near for _, cell in undecided)
    said = [
        f"Of {count} comparisons {len(supported)} support their claim, {len(refuted)} refute it and {len(undecided)} "
        "decide nothing" + (f", {near} of them with an interval that alone would." if near else ".")
    ]
    for word, cells in (("Supported", supported), ("Refuted", refuted)):
        depths: dict[str, list[int]] = {}
        for row, cell in cells:
            depths.setdefault(pretty(row.claim.name), []).append(cell.judged.depth)
        places = [f"{name} (depth {', '.join(map(str, sorted(set(found))))})" for name, found in depths.items()]
        said.append(f"{word}: {'; '.join(places)}." if places else f"{word}: nothing.")
    return said


def models(report: Report) -> list[dict[str, str]]:
    """By kind of images and depth, the models trained on all tokens or, where there is none, all of them."""
    groups: dict[tuple[str, int], list[Trained]] = {}
    for run in report.trained:
        groups.setdefault((run.images, run.result.model.depth), []).append(run)
    rows = []
    for (images, depth), runs in sorted(groups.items()):
        whole = [run for run in runs if run.result.pruner == "none"] or runs
        rows.append(
            {
                "images": images,
                "depth": str(depth),
                "models": str(len(whole)),
                "accuracy": _range([100 * run.result.test_accuracy for run in whole], ".1f"),
                "steps": _range([run.steps for run in whole if run.steps], ",.0f"),
                "train": _range([run.result.data.train_count for run in whole], ",d"),
                "test": _range([run.result.test_count for run in whole], ",d"),
                "chance": percent(1 / min(len(run.result.data.classes) for run in whole)),
            }
        )
    return rows


def _range(values: Iterable[float], form: str) -> str:
    found: Sequence[float] = sorted(values)
    if not found:
        return "–"
    first, last = f"{found[0]:{form}}", f"{found[-1]:{form}}"
    return first if first == last else f"{first} to {last}"
