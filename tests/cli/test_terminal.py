"""What a terminal and a pipe are told: that something is loading, in whatever encoding, until the very end."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from factories import make_run
from run_command import run

import tokenprune.cli  # noqa: F401  registers how encoding errors are handled
from tokenprune.cli.interrupt import loading

#: Ends the process when torch is about to be imported.
WITHOUT_TORCH = (
    "import os, sys\n"
    "class Ends:\n"
    "    def find_spec(self, name, *_):\n"
    "        if name == 'torch': os._exit(9)\n"
    "sys.meta_path.insert(0, Ends())\n"
    "from tokenprune.cli import main; main(sys.argv[1:])"
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def until_torch(*arguments: str, stderr: int = subprocess.PIPE) -> subprocess.CompletedProcess:
    words = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=stderr, check=False)


def test_a_user_is_told_before_torch_is_loaded(tmp_path):
    make_run(tmp_path / "runs")
    for verb in (["train", "--recipe", "quickstart"], ["prune"], ["theory", "phase"]):
        ended = until_torch(*verb)
        assert (ended.returncode, ended.stderr.splitlines()[-1]) == (9, b"loading")
        assert until_torch(*verb, "--quiet").stderr == b""


def test_a_terminal_is_told_at_once_and_the_word_goes():
    ours, theirs = pty.openpty()
    ended = until_torch("train", "--recipe", "quickstart", "--set", "model.depth=x", stderr=theirs)
    os.close(theirs)
    told = os.read(ours, 10_000)
    os.close(ours)
    assert ended.returncode == 2
    assert told.startswith(b"loading\r\x1b[Kerror: ")


def test_a_pipe_that_is_told_of_an_error_is_told_of_nothing_else(capsys):
    ended = run(capsys, "train", "--recipe", "quickstart", "--set", "model.depth=x")
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    with loading(quiet=True):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437", "cp1252"])
def test_a_report_is_printed_whole_in_any_encoding(encoding, tmp_path, monkeypatch, capsys):
    """The signs of a table's verdicts, the dash for what is missing and the minus have no place in these."""
    for seed in range(3):
        make_run(tmp_path / "runs", seed=seed, methods={"magnitude": {1.0: 0.6, 0.5: 0.58}})
    monkeypatch.setattr("tokenprune.report.build._MOST", 0)  # figures are another matter
    whole = run(capsys, "report").out
    written = io.TextIOWrapper(io.BytesIO(), encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", written)
        assert run(capsys, "report").status == 0
    lines = written.buffer.getvalue().decode(encoding).splitlines()
    assert len(lines) == len(whole.splitlines()) > 5
    assert not whole.isascii()
    assert not any("\\u" in line or "?" * 3 in line for line in lines)
    plain = str.maketrans("\u2212\u2013|", "-- ")
    pairs = [
        (line.translate(plain), expected.translate(plain))
        for line, expected in zip(lines, whole.splitlines(), strict=True)
    ]
    assert all(line == expected for line, expected in pairs if expected.isascii())


def test_signs_without_a_place_in_an_encoding_are_written_out():
    text = "\u22123.5 \u2013 \u03b1* \u2265 10\u207b\u00b9\u2070 \u03b7 \u4e2d"
    assert text.encode("ascii", "tokenprune.plain") == b"-3.5 - alpha* >= 10^-10 eta \\u4e2d"


def test_a_signal_while_python_shuts_down_does_not_change_the_exit_status():
    code = (
        "import atexit, os, signal\n"
        "atexit.register(lambda: [os.kill(os.getpid(), each) for each in (signal.SIGINT, signal.SIGTERM)])\n"
        "from tokenprune.cli import main; main(['--version'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_no_name_is_broken_in_a_narrow_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    curves = {"magnitude": {0.5: 0.58}, "random": {0.5: 0.5}}
    names = [make_run(tmp_path / "runs", seed=seed, methods=curves).name for seed in range(2)]
    for verb in ("runs", "claims", "recipes", "pruners"):
        shown = run(capsys, "ls", verb).out
        assert all(len(line) <= 40 or len(line.split()) <= 2 for line in shown.splitlines())  # a name beside its title
        assert verb != "runs" or [word for word in shown.split() if word in names] == names
        assert verb != "claims" or "sparsified-magnitude-beats-random" in shown.split()
    for verb in ("ls datasets", "ls measurements", "validate shallow", "report", "explain fewer-samples"):
        shown = run(capsys, *verb.split()).out
        assert [line for line in shown.splitlines() if len(line) > 40 and len(line.split()) > 2] == [], verb
    assert "magnitude-keeps-relevant" in run(capsys, "report").out.split()


def test_a_table_in_a_pipe_is_at_most_120_columns(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    for kind in ("datasets", "recipes", "claims", "pruners", "measurements"):
        assert max(map(len, run(capsys, "ls", kind).out.splitlines())) <= 120, kind


def test_completion_without_a_home_folder_is_an_error_in_a_line(monkeypatch, capsys, tmp_path):
    def nobody(path):
        raise RuntimeError("Could not determine home directory.")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "expanduser", nobody)
        ended = run(capsys, "--install-completion", "bash")
    assert (ended.status, ended.err) == (1, "error: this user has no home folder; set $HOME\n")
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))  # nothing can be written below it
    ended = run(capsys, "--install-completion", "bash")
    assert (ended.status, ended.err.count("\n")) == (1, 1)


def test_a_closed_standard_output_is_no_reason_for_a_traceback(tmp_path):
    make_run(tmp_path / "runs")
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        ended = subprocess.run(f"{sys.executable} -m tokenprune ls runs {closed}", shell=True, capture_output=True)
        assert (ended.returncode, b"Traceback" in ended.stderr) == (0, False)
