"""Ctrl-C and SIGTERM: always one line on standard error and exit status 130, whenever they come."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

from tokenprune.errors import TokenpruneError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(TokenpruneError):
    """Asked to stop; the message says how to go on. Exit status 130."""

    exit_status = 130


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Within it the program ends as soon as it is asked to.

    For imports: a library may swallow a KeyboardInterrupt while it is imported, and nothing is begun that would have to
    be left in order.
    """
    before = {number: signal.signal(number, _leave) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def by_exception() -> None:
    """From here on both signals raise KeyboardInterrupt."""
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)
