"""Seconds of each part of evaluation, measured in the pass that evaluates."""

import time
from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch

from tokenprune.runs.records import TIMED_BATCHES


class Clock:
    """Wall clock on a CPU, and on mps, which is waited for; events on CUDA: no synchronisation before the end.

    A part is any key; a batch may run it several times, or never, and parts may lie in others. The first batch warms up
    and is not counted, nor are batches that are not full.
    """

    def __init__(self, device: torch.device, batch_size: int) -> None:
        self.cuda, self.mps = device.type == "cuda", device.type == "mps"
        self.batch_size = batch_size
        self.sizes: list[int] = []
        self.marks: dict[Hashable, dict[int, list[tuple[Any, Any]]]] = defaultdict(lambda: defaultdict(list))

    def batch(self, images: int) -> None:
        """Begin a batch of that many images."""
        self.sizes.append(images)

    @contextmanager
    def part(self, key: Hashable) -> Iterator[None]:
        start = self._now()
        yield
        self.marks[key][len(self.sizes) - 1].append((start, self._now()))

    def images_per_second(self, *keys: Hashable) -> float | None:
        """Images per second of these parts together, median over batches; None below three timed batches."""
        seconds = self.seconds(*keys)
        return None if seconds is None else self.batch_size / seconds

    def seconds(self, *keys: Hashable) -> float | None:
        """Seconds a batch of these parts together, median over batches; None below three timed batches."""
        if self.cuda:
            torch.cuda.synchronize()
        timed = [i for i, size in enumerate(self.sizes) if i > 0 and size == self.batch_size]
        if len(timed) < TIMED_BATCHES - 1:
            return None
        return median(sum(self._between(*mark) for key in keys for mark in self.marks[key][i]) for i in timed)

    def _now(self) -> Any:
        if not self.cuda:
            if self.mps:
                torch.mps.synchronize()
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) / 1000 if self.cuda else end - start
