"""Latency: milliseconds of whole forward passes, unpruned and pruned, at several batch sizes.

All models take turns in each round, on the same test images; the images change from round to round, since adaptive
methods leave as many tokens as an image needs. Weights, images and the choice of images are the same for all. What is
timed ends with the logits on the device; reading and normalising images is not part of it.
"""

import itertools
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from tokenprune.data import Batch
from tokenprune.errors import UsageError, out_of_memory, shortened
from tokenprune.evaluation import inference
from tokenprune.evaluation.timing import Watch, in_turns
from tokenprune.measurements.subject import Pruned, Pruning, Subject, labels, listed, whole
from tokenprune.runs import Values

#: Its result depends on the machine.
TIMED = True
#: Rounds that are made however long they take: of fewer the 90th percentile would be the slowest.
LEAST = 5


def measure_run(
    subject: Subject,
    *,
    methods: object = None,
    keep: object = None,
    site: object = None,
    batch: object = (1, 8, 64, 256),
    repeats: object = 50,
    seconds: object = 120.0,
) -> dict[str, Values]:
    """Median and 90th percentile [point, batch] in ms, and how many times as fast as unpruned; the first point is that.

    methods, keep, site: as in `Subject.prunings`. batch: images a pass. repeats: rounds at each batch size, at most.
    seconds: after which no further round at a batch size begins; but at least five are made, or none, where the
    unpruned model's time says that five take longer.

    A percentile lies straight between the two nearest of the sorted times (numpy.percentile's default). The speed-up is
    the median over rounds of the unpruned model's time over the point's in the same round. A batch size that is left
    out is named in the notes. Raises UsageError for options of the wrong kind, and where every batch size is left out.
    """
    sizes = sorted({whole("batch", each) for each in listed("batch", batch)})
    rounds = whole("repeats", repeats)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise UsageError(f"option seconds: found {shortened(repr(seconds))}, must be a number above 0")
    prunings = subject.prunings(methods, keep, site)
    models: dict[Pruning | None, Pruned] = {None: subject.unpruned()}
    models |= {each: subject.pruned(each) for each in prunings}
    taken = {}
    with inference(subject.model.vit, subject.precision, subject.device):
        for i, size in enumerate(sizes):
            try:
                found = _at(size, subject, list(models.values()), rounds, float(seconds))
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                found = "out of memory"
            if isinstance(found, str):
                subject.notes.append(f"batch {size} is left out: {found}")
            else:
                taken[size] = found
            subject.progress(i + 1, len(sizes))
    if not taken:
        raise UsageError(f"nothing measured: {'; '.join(subject.notes)}")
    return _arrays(taken, labels(list(models)))


def _at(size: int, subject: Subject, models: Sequence[Pruned], rounds: int, seconds: float) -> "np.ndarray | str":
    """Seconds [round, model] at a batch size, or why there are none."""
    count = len(subject.dataset.test)
    if size > count:
        return f"there are {count} test images"
    order = torch.from_numpy(np.random.default_rng(size).permutation(count))  # they may lie class by class
    starts = (turn * size % (count - size + 1) for turn in itertools.count())
    batches = subject.batches_at(order[start : start + size] for start in starts)
    current: list[Batch] = []

    def begin() -> None:
        current[:] = [next(batches)]

    watch = Watch(subject.device)
    begin()
    first, second = (watch.seconds_of(lambda: models[0](current[0])) for _ in range(2))  # the first may load kernels
    least = min(first, second) * len(models) * (1 + min(LEAST, rounds))
    if least > seconds:
        return (
            f"{len(models)} models take about {least:.0f} s, more than seconds={seconds:g}; "
            "choose fewer by methods= and keep=, or give more seconds"
        )
    runs = {i: partial(lambda model: model(current[0]), model) for i, model in enumerate(models)}
    found = in_turns(runs, watch, rounds, least=min(LEAST, rounds), seconds=seconds, begin=begin)
    return np.array(list(found.values())).T


def _arrays(taken: "dict[int, np.ndarray]", columns: dict[str, tuple[str | float, ...]]) -> dict[str, Values]:
    """taken: seconds [round, point] by batch size."""
    axes = {"point": columns, "batch": {"batch": tuple(taken)}}
    milliseconds = [1000 * each for each in taken.values()]
    found = {
        "median": ("ms", [np.median(each, axis=0) for each in milliseconds]),
        "p90": ("ms", [np.percentile(each, 90, axis=0) for each in milliseconds]),
        "speed-up": ("x", [np.median(each[:, :1] / each, axis=0) for each in milliseconds]),
    }
    arrays = {
        name: Values(unit=unit, axes=("point", "batch"), values=np.stack(rows, axis=1).tolist(), labels=axes)
        for name, (unit, rows) in found.items()
    }
    repeats = [len(each) for each in milliseconds]
    return arrays | {"repeats": Values(unit="1", axes=("batch",), values=repeats, labels={"batch": axes["batch"]})}
