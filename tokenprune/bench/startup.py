"""Seconds that the command takes to start."""

import subprocess
import sys
from functools import partial

from tokenprune.bench.timing import Ratio, interleaved


def answers(rounds: int) -> list[Ratio]:
    """`--help` and `ls`, in seconds (the ratio is over 1 second), against a bare `python -c pass`."""

    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, capture_output=True)

    variants = {"python -c pass": ("-c", "pass"), "--help": ("-m", "tokenprune", "--help")}
    variants |= {f"ls {what}": ("-m", "tokenprune", "ls", what) for what in ("recipes", "pruners")}
    seconds = interleaved({name: partial(run, *words) for name, words in variants.items()}, rounds)
    return [
        Ratio(f"startup/{name}", "seconds to start and answer", seconds[name], seconds, 0.3, at_most=True)
        for name in list(variants)[1:]
    ]
