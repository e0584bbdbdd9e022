"""Errors that a user can correct: one message, one exit status, no traceback."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, TypeVar

#: Prefix of a warning: work goes on, and the line is printed under --quiet too.
WARNING = "warning: "

#: Problems of one thing that are shown, a line each.
_SHOWN = 20

_Problem = TypeVar("_Problem")


class TokenpruneError(Exception):
    """Something failed and the message says what, where and what to do. Exit status 1."""

    exit_status = 1


class UsageError(TokenpruneError):
    """What was asked for is wrong: a recipe, an option, a name. Exit status 2.

    A file that a recipe names, and that is missing or damaged, is no such thing: exit status 1 everywhere.
    """

    exit_status = 2


def shortened(text: str, most: int = 60) -> str:
    """Input as quoted in messages: cut, since it may be a megabyte."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def bounded(line: str, most: int = 1000) -> str:
    """A line, shortened in its middle."""
    return line if len(line) <= most else f"{line[: most // 2]}…{line[-most // 2 :]}"


def first_of(problems: Sequence[_Problem]) -> tuple[Sequence[_Problem], list[str]]:
    """The first problems, and a line that counts the rest, if there are more."""
    more = len(problems) - _SHOWN
    return problems[:_SHOWN], [f"and {more:,} more"] if more > 0 else []


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to what was typed, or None if nothing is near."""
    if len(name) > 200:  # the comparison takes time that grows with it
        return None
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to put into a message, with the space after it; empty if nothing is near."""
    guess = nearest(name, known)
    return f"did you mean {guess}? " if guess else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for an unknown name, with the nearest known one and the first of all."""
    names = sorted(known)
    guess = nearest(name, names)
    hint = f"did you mean {guess!r}? " if guess else ""
    shown, more = first_of(names)
    return UsageError(f"unknown {kind} {shortened(name)!r}: {hint}known: {', '.join([*shown, *more]) or 'none'}")


def refused_options(of: str, function: Callable[..., Any], options: Mapping[str, Any], why: TypeError) -> UsageError:
    """The error for keyword arguments, as typed, that a function did not take. of: the function's name for the user."""
    taken = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    known = [each.name for each in signature(function).parameters.values() if each.kind in taken]
    strange = [name for name in options if name not in known]
    if strange and "unexpected keyword argument" in str(why):
        return unknown(f"option of {of}", strange[0], known)
    return UsageError(f"{of} does not take options {shortened(str(dict(options)))}: {shortened(str(why), 200)}")


def printable(text: str) -> bool:
    """Whether it can be encoded in UTF-8; arguments from a shell may hold bytes that cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def counted(number: int, what: str) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch has no class of its own for that on a CPU."""
    words = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in words or "out of memory" in words
