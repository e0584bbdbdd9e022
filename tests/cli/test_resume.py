"""`--resume` with nothing to resume says so, and starts no other run in silence."""

import json
from pathlib import Path

import pytest
from factories import make_run

from tokenprune.errors import TokenpruneError
from tokenprune.runs import RunFolder, check_resumable
from tokenprune.theory.folder import TheoryFolder


def interrupted(runs_dir: Path, **how) -> RunFolder:
    folder = make_run(runs_dir, finished=False, **how)
    folder.resume.touch()
    return folder


def test_an_interrupted_run_of_other_keys_is_named_with_its_command(tmp_path: Path) -> None:
    there = interrupted(tmp_path, seed=1, overrides=["train.batch_size=64"])
    wanted = RunFolder(tmp_path / "shallow-00000000-s1")
    with pytest.raises(TokenpruneError) as refused:
        check_resumable(wanted)
    command = f"tokenprune train --recipe {there.recipe} --set train.batch_size=64 --runs-dir {tmp_path} --resume"
    assert f"`{command}` continues it" in str(refused.value)
    assert not wanted.path.exists()


def test_its_command_finds_the_images_where_they_were(tmp_path: Path) -> None:
    there = interrupted(tmp_path, seed=1, overrides=["train.batch_size=64"])
    for words in (["--data-dir", "my images"], ["--data-dir=my images"]):
        there.environment.write_text(json.dumps({"command": ["tokenprune", "train", *words]}))
        assert "--data-dir 'my images' --resume`" in str(there.train_command("--resume") + "`")
    for damaged in ('{"command": 3}', "[]", "{"):
        there.environment.write_text(damaged)
        assert "--data-dir" not in there.train_command("--resume")


def test_other_seeds_recipes_and_whole_runs_are_no_reason_to_stop(tmp_path: Path) -> None:
    interrupted(tmp_path, seed=0)
    interrupted(tmp_path, seed=1, recipe="deep")
    make_run(tmp_path, seed=1).resume.touch()
    check_resumable(RunFolder(tmp_path / "shallow-00000000-s1"))


def test_a_run_that_was_begun_is_itself_to_be_resumed(tmp_path: Path) -> None:
    interrupted(tmp_path, seed=1)
    check_resumable(interrupted(tmp_path, seed=1, overrides=["train.batch_size=64"]))


def test_runs_of_the_laboratory_too(tmp_path: Path) -> None:
    begun = TheoryFolder(tmp_path / "theory" / "time-11111111-s0")
    begun.path.mkdir(parents=True)
    begun.chunks.touch()
    begun.resolved.write_text("experiment: time\n")
    with pytest.raises(TokenpruneError, match=r"`tokenprune theory time --recipe .* --runs-dir .* --resume`"):
        check_resumable(TheoryFolder(tmp_path / "theory" / "time-22222222-s0"))
