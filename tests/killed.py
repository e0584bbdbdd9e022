"""Work that is killed (SIGKILL) just before one of its changes on disk, in a fork of this process."""

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from typing import Any


def killed_at(change: int, work: Callable[[], object]) -> bool:
    """Whether `work` came to its change number `change` and was killed there; it must end well otherwise."""
    child = os.fork()
    if child == 0:
        try:
            _kill_at(change)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status == signal.SIGKILL


def every_kill(begin: Callable[[], object], work: Callable[[], object], step: int = 1) -> Iterator[int]:
    """For every change (or every `step`th) that `work` makes after `begin`: its number, once killed there."""
    change = 0
    while True:
        begin()
        if not killed_at(change, work):
            assert change > step
            return
        yield change
        change += step


def _kill_at(change: int) -> None:
    left = change

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return real(*arguments, **options)

        return call

    for name in ("fsync", "replace", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
