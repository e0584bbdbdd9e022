"""The command line in this process: its status, standard output, and standard error but for "loading"."""

import signal
from dataclasses import dataclass

import pytest

from tokenprune.cli import main


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ended:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
    finally:
        signal.signal(signal.SIGTERM, before)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return Ended(int(ended.value.code or 0), captured.out, captured.err.replace("loading\n", ""))
