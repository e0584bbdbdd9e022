"""The command `tokenprune`: its verbs, and the handling of errors (one line, a status, no traceback)."""

import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

import tokenprune
from tokenprune.cli.adopt import adopt
from tokenprune.cli.bench import bench
from tokenprune.cli.compare import compare
from tokenprune.cli.cp import cp
from tokenprune.cli.download import download
from tokenprune.cli.explain import explain
from tokenprune.cli.heads import heads
from tokenprune.cli.look import show
from tokenprune.cli.ls import ls
from tokenprune.cli.measure import measure
from tokenprune.cli.pack import pack
from tokenprune.cli.prune import prune
from tokenprune.cli.report import report
from tokenprune.cli.sweep import sweep
from tokenprune.cli.theory import theory
from tokenprune.cli.train import train
from tokenprune.cli.validate import validate
from tokenprune.errors import TokenpruneError, bounded, out_of_memory

app = typer.Typer(
    name="tokenprune",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: it fits any width, and rich costs a fifth of the time --help may take
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: tokenprune train --recipe quickstart; tokenprune prune; tokenprune report",
)
for verb in (
    train,
    adopt,
    prune,
    compare,
    show,
    measure,
    heads,
    sweep,
    theory,
    report,
    explain,
    ls,
    pack,
    cp,
    validate,
    download,
    bench,
):
    app.command()(verb)

INTERRUPTED = 130

# typer carries its own copy of click from 0.20 on; either way this is the class of all its usage errors.
_CommandLineError: Any = typer.BadParameter.__mro__[2]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tokenprune {tokenprune.__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Train Vision Transformers, prune their tokens, and test the claims of the theory."""


def run(arguments: Sequence[str] | None) -> NoReturn:
    """Run a verb and exit with its status; a failure is one line on standard error."""
    try:
        status = app(args=arguments, prog_name="tokenprune", standalone_mode=False)
        sys.stdout.flush()
        if status == INTERRUPTED:  # typer returns so from a KeyboardInterrupt, without a message
            _say("interrupted", status)
    except TokenpruneError as error:
        status = _fail(str(error), error.exit_status)
    except _CommandLineError as error:
        status = _usage(error)
    except (KeyboardInterrupt, typer.Abort):
        status = _say("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output (`| head`) has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        status = _fail(f"{where}{error.strerror or error}", 1)
    except (MemoryError, RuntimeError) as error:
        if "home directory" in str(error):  # pathlib's words
            status = _fail("this user has no home folder; set $HOME", 1)
        elif out_of_memory(error):
            status = _fail("out of memory; use a smaller --batch-size, train.batch_size, model or data set", 1)
        else:
            raise
    sys.exit(status if isinstance(status, int) else 0)


def _usage(error: Any) -> int:
    """A usage error in one line; bare `tokenprune` is no error and prints help."""
    if meant := _by_what_it_takes(error):
        error.possibilities = meant
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        return _say(message, 2)
    message = (
        " ".join(message.split()).replace("Value error, ", "").replace("Input should be", "must be").strip().rstrip(".")
    )
    path = getattr(getattr(error, "ctx", None), "command_path", "tokenprune")
    end = "" if message.endswith("?") else ";"
    return _fail(f"{message[:1].lower()}{message[1:]}{end} `{path} --help` shows what it takes", 2)


def _by_what_it_takes(error: Any) -> list[str]:
    """The option whose value has the name of an unknown one: `--grid VALUES` for --values."""
    word = getattr(error, "option_name", "").lstrip("-").upper()
    command = getattr(getattr(error, "ctx", None), "command", None)
    return [option.opts[0] for option in getattr(command, "params", ()) if word and option.metavar == word]


def _fail(message: str, status: int) -> int:
    for line in map(_brief, message.splitlines()):
        _say(line if status == INTERRUPTED else f"error: {line}", status)
    return status


def _brief(line: str) -> str:
    """The message, with long input shortened: a number of 300 digits, a path longer than the system's limit."""
    return bounded(re.sub(r"\S{300,}", lambda word: bounded(word[0], 100), line))


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status
