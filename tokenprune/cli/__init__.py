"""The command line: one short file per verb, no logic, nothing heavy imported before it is needed."""

import atexit
import codecs
import io
import os
import sys
import unicodedata
from collections.abc import Sequence
from typing import NoReturn

from tokenprune.cli.interrupt import at_once, by_exception, never

_PLAIN = {"−": "-", "–": "-", "—": "-", "─": "-", "…": "...", "·": "*", "×": "x", "→": "->"}
_PLAIN |= {"√": "sqrt ", "≥": ">=", "≤": "<="}


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Handler of encoding errors: signs in ASCII (alpha, 10^-3); \\u escapes of what has no such form."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    written, raised = "", False
    for sign in error.object[error.start : error.end]:
        superscript = unicodedata.decomposition(sign).startswith("<super>")
        written += "^" if superscript and not raised else ""
        raised = superscript
        written += _ascii(sign)
    return written, error.end


def _ascii(sign: str) -> str:
    if sign in _PLAIN:
        return _PLAIN[sign]
    if unicodedata.name(sign, "").startswith(("GREEK SMALL LETTER", "GREEK CAPITAL LETTER")):
        return unicodedata.name(sign).split()[3].lower()
    plain = unicodedata.normalize("NFKC", sign).replace("\u2212", "-")
    return plain if plain.isascii() else sign.encode("ascii", "backslashreplace").decode()


codecs.register_error("tokenprune.plain", _plain)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 3 refuted, 4 cells failed, 130 interrupted."""
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="tokenprune.plain")
    with at_once():
        from tokenprune.cli.app import run
    by_exception()
    try:
        run(arguments)
    finally:
        atexit.register(never)


__all__ = ["main"]
