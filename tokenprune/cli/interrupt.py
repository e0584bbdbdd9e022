"""Ctrl-C and SIGTERM: always one line on standard error and exit status 130, whenever they come."""

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType

from tokenprune.errors import TokenpruneError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(TokenpruneError):
    """Interrupted; the message says how to continue. Exit status 130."""

    exit_status = 130


def interrupted(verb: str, settings: Iterable[str], given: Mapping[str, object]) -> Interrupted:
    """The error that says how to continue, by the command as it was given with --resume."""
    return Interrupted(f"interrupted; continue with: {command(verb, settings, {**given, '--resume': True})}")


def command(verb: str, settings: Iterable[str], given: Mapping[str, object]) -> str:
    """A command with its overrides. given: further options, None where left out, True of one without a value."""
    words = ["tokenprune", *shlex.split(verb)]
    for name, value in given.items():
        words += [] if value is None else [name] if value is True else [name, str(value)]
    return shlex.join([*words, *(word for override in settings for word in ("--set", override))])


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Within it SIGINT and SIGTERM end the program at once.

    For imports: a library may swallow a KeyboardInterrupt while it is imported, and nothing has to be cleaned up yet.
    """
    before = {number: signal.signal(number, _leave) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def loading(quiet: bool, *, unchecked: bool = False) -> Iterator[None]:
    """`at_once` for imports that take seconds, with a message: in a terminal while they last, elsewhere as a line.

    unchecked: the request may still be wrong, and then the error must be the only line.
    """
    terminal = sys.stderr.isatty()
    silent = quiet or (unchecked and not terminal)
    with at_once():
        if not silent:
            print("loading", end="" if terminal else "\n", file=sys.stderr, flush=True)
        try:
            yield
        finally:
            if terminal and not silent:
                print("\r\033[K", end="", file=sys.stderr, flush=True)


def by_exception() -> None:
    """From here on both signals raise KeyboardInterrupt."""
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler)


def never() -> None:
    """From here on both are ignored: the work is done, and its exit status is kept."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _leave(number: int, frame: FrameType | None) -> None:
    command = shlex.join(["tokenprune", *sys.argv[1:]])
    os.write(2, f"interrupted; start again with: {command}\n".encode(errors="surrogateescape"))
    os._exit(130)
