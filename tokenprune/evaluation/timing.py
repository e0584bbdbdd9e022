"""Seconds on a device: of each part of evaluation, in the pass that evaluates; of models that take turns."""

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any, TypeVar

import torch

from tokenprune.runs.records import TIMED_BATCHES

_Key = TypeVar("_Key", bound=Hashable)


class Watch:
    """Wall clock on a CPU, and on mps, which is waited for; events on CUDA."""

    def __init__(self, device: torch.device) -> None:
        self.cuda, self.mps = device.type == "cuda", device.type == "mps"

    def seconds_of(self, run: Callable[[], object]) -> float:
        """From an idle device until all that `run` asked of it is done."""
        self._wait()
        start = self._now()
        run()
        end = self._now()
        self._wait()
        return self._between(start, end)

    def _wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

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


class Clock(Watch):
    """Times parts of a pass, on CUDA without waiting before the end.

    A part is any key; a batch may run it several times, or never, and parts may lie in others. The first batch warms up
    and is not counted, nor are batches that are not full.
    """

    def __init__(self, device: torch.device, batch_size: int) -> None:
        super().__init__(device)
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
        self._wait()
        timed = [i for i, size in enumerate(self.sizes) if i > 0 and size == self.batch_size]
        if len(timed) < TIMED_BATCHES - 1:
            return None
        return median(sum(self._between(*mark) for key in keys for mark in self.marks[key][i]) for i in timed)


def in_turns(
    variants: Mapping[_Key, Callable[[], object]],
    watch: Watch,
    rounds: int,
    *,
    warm_up: int = 1,
    least: int = 1,
    seconds: float = float("inf"),
    begin: Callable[[], object] = lambda: None,
) -> dict[_Key, list[float]]:
    """Seconds of each variant, round by round: all take turns, so that a slow moment of the machine hits all alike.

    warm_up: first rounds, which do not count. seconds: when so much was spent, warm-up included, no further round
    begins; but `least` of them are made. begin: called before each round, outside of all times.
    """
    taken: dict[_Key, list[float]] = {name: [] for name in variants}
    spent = 0.0
    for turn in range(warm_up + rounds):
        if spent >= seconds and turn >= warm_up + least:
            break
        begin()
        for name, run in variants.items():
            each = watch.seconds_of(run)
            spent += each
            if turn >= warm_up:
                taken[name].append(each)
    return taken
