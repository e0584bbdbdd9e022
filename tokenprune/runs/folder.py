"""One run's folder: its files, its lock, its checks. Nothing here imports torch."""

import contextlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import filelock

from tokenprune import files
from tokenprune.errors import TokenpruneError
from tokenprune.runs import atomic, packed
from tokenprune.runs.records import Epoch, PruneResult, Result, Status, TrainResult
from tokenprune.runs.results import (
    changed,
    check_curve,
    check_training,
    epochs_of,
    parse_record,
    read_record,
    read_result,
    read_text,
    save_result,
    whole,
)

#: Heads a line of a run's copy of its recipe.
_SET = "# --set "


@dataclass
class Progress:
    """Epochs and steps that a run has finished."""

    epoch: int = 0
    step: int = 0


class RunFolder:
    """The folder of a run. Making the object touches nothing on disk.

    A finished run that is trained again is kept until the new one is finished: that is a run folder of its own, `anew`,
    within it. As soon as its result is there it is the run, even before its files are moved up.
    """

    #: Where such runs lie in the folder of runs.
    place: ClassVar[str] = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self._find()

    def _find(self) -> None:
        anew = self.path / atomic.ANEW
        settling = (anew / "result.json").is_file() and whole(anew / "result.json")

        def at(name: str) -> Path:
            return anew / name if settling and (anew / name).exists() else self.path / name

        self._at = at
        self.recipe = at("recipe.yaml")
        self.resolved = at("resolved.yaml")
        self.environment = at("environment.json")
        self.weights = at("weights.safetensors")
        self.pruner = at("pruner.safetensors")
        self.resume = self.path / "resume.pt"
        self.predictions = at("predictions.npz")
        self.curves = (anew if settling else self.path) / "prune"
        self.measurements = (anew if settling else self.path) / "measure"
        self._status = at("status.json")
        self.metrics = at("metrics.jsonl")
        self._result = at("result.json")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder; Busy if another process has the lock. What a killed process left half moved is completed.

        A folder in which nothing was written is removed again, with the folder of runs if that was made for it.
        """
        packed.check_writable(self.path)
        first = not self.path.parent.exists()
        busy = "is working in this run folder; wait for it, or choose another --runs-dir"
        try:
            with atomic.alone(self.path, "**/.*.part", busy):  # waits a moment: `status` takes the lock for one
                for folder in list(self.curves.glob("*")):
                    settle_prune(folder)
                self.settle()
                yield
        finally:
            if first:
                with contextlib.suppress(OSError):  # another run may be there by now
                    self.path.parent.rmdir()

    @property
    def unfinished(self) -> Self:
        """The folder to train in: this one, or `anew` if this one has a result."""
        if not self.finished:
            return self
        folder = type(self)(self.path / atomic.ANEW)
        folder.name = self.name
        return folder

    def due(self, *, resume: bool, force: bool, say: Callable[[str], None]) -> bool:
        """Whether there is something to train; `say` reports a run that is finished already.

        Raises TokenpruneError where it was begun and neither `resume` nor `force` is given.
        """
        begun = self.unfinished.begun
        if self.finished and not force and not (resume and begun):
            more = ", which was begun: --resume continues that" if begun else ""
            say(f"{self.path} is finished already; --force makes it again{more}")
            return False
        if begun and not (resume or force):
            raise TokenpruneError(f"{self.path} was begun and not finished: --resume continues, --force starts over")
        return True

    def settle(self) -> None:
        """Replace the run, and what was measured on it, by the one trained again, if that is finished."""
        if whole(self.path / atomic.ANEW / "result.json"):
            atomic.settle(self.path, old=("prune", "finetuned", "measure"))
        self._find()
        if self.finished and not self.unfinished.begun:
            atomic.forget(self.path / atomic.ANEW)  # killed before there was anything to go on with

    def status(self) -> Status | None:
        """None where no run was started; finished where it has a result; interrupted where a kill left it running."""
        if not self._status.is_file():
            return None
        status = read_record(self._status, Status)
        if self.finished:
            return status.model_copy(update={"state": "finished"})
        if status.state == "finished" or (status.state == "running" and not self.held()):
            return status.model_copy(update={"state": "interrupted", "message": "killed"})
        return status

    def held(self) -> bool:
        """Whether a process holds the lock; true for a lock that cannot be tried."""
        file = self.path / ".lock"
        if not file.is_file():
            return False
        try:
            with filelock.FileLock(file, timeout=0):
                return False
        except (filelock.Timeout, OSError):
            return True

    def set_status(self, state: str, epoch: int, step: int, message: str | None = None) -> None:
        record = Status.model_validate(
            {
                "state": state,
                "epoch": epoch,
                "step": step,
                "message": message,
                "updated": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
        atomic.write_json(self._status, record.model_dump(mode="json"))

    @contextlib.contextmanager
    def watched(self) -> Iterator[Progress]:
        """Records in status.json what ends the run, and at which epoch and step: those of the progress it yields."""
        progress = Progress()
        try:
            yield progress
        except KeyboardInterrupt:
            self.set_status("interrupted", progress.epoch, progress.step, "asked to stop; --resume continues")
            raise
        except Exception as error:
            with contextlib.suppress(TokenpruneError):  # a full disk: its first error is raised below
                self.set_status("failed", progress.epoch, progress.step, str(error) or type(error).__name__)
            raise

    def epochs(self) -> list[Epoch]:
        if not self.metrics.is_file():
            return []
        return [parse_record(self.metrics, line, Epoch) for line in read_text(self.metrics).splitlines()]

    def finished_epochs(self, result: TrainResult) -> list[Epoch]:
        """The epochs behind a result. Raises TokenpruneError where they are damaged, missing or another run's."""
        return epochs_of(self.metrics, self.epochs(), result)

    def set_epochs(self, epochs: list[Epoch]) -> None:
        """Write metrics.jsonl anew: it is small, and so a line is never half there."""
        atomic.write_text(self.metrics, "".join(epoch.model_dump_json() + "\n" for epoch in epochs))

    def set_recipe(self, text: str, overrides: Sequence[str]) -> None:
        """Save the recipe as given, under a head with its overrides, which replaces such a head of its own."""
        _, body = _split(text)
        atomic.write_text(self.recipe, "".join(f"{_SET}{override}\n" for override in overrides) + body)

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint that --resume continues from."""
        return self.resume.is_file()

    @property
    def verb(self) -> tuple[str, ...]:
        """The verb of `tokenprune` for such a run."""
        return ("train",)

    def train_command(self, option: str) -> str:
        """The command that makes this run, from its own copy of the recipe, with that option."""
        try:
            source, overrides = self.recipe, _split(files.read_text(self.recipe))[0]
        except (OSError, UnicodeDecodeError):
            source, overrides = self.resolved, []
        words = ["tokenprune", *self.verb, "--recipe", str(source)]
        words += [word for override in overrides for word in ("--set", override)]
        runs_dir = self.path.parents[len(self.verb) - 1]  # the laboratory's runs lie one folder deeper
        words += [] if runs_dir == Path("runs") else ["--runs-dir", str(runs_dir)]
        return shlex.join([*words, *self.data_dir_words(), option])

    def data_dir_words(self) -> list[str]:
        """`--data-dir` and its folder as the run was started; empty where not given or not known."""
        try:
            record = files.parse_json(read_text(self.environment))
            return data_dir_words(record["command"])
        except (OSError, ValueError, TypeError, KeyError, TokenpruneError):
            return []

    @property
    def started(self) -> bool:
        """Whether a run was started here; true also where its status or result was lost."""
        return any(path.exists() for path in (self._status, self._result, self.resolved))

    @property
    def finished(self) -> bool:
        """Whether it has a result, be that damaged: a folder or a pipe of that name is one."""
        return self._result.exists()

    def result(self) -> TrainResult:
        if not self.finished:
            raise TokenpruneError(
                f"{self.path}: this run is not finished; `{self.train_command('--resume')}` continues it"
            )
        result = read_result(self._result, TrainResult, f"train it again with `{self.train_command('--force')}`")
        check_training(self.path, result)
        return result

    def record(self) -> Result:
        """The result of a run of any kind. Raises TokenpruneError if it is missing or damaged."""
        return self.result()

    def changed(self, result: Result) -> dict[str, str]:
        """An error message for each file that is not the one its result belongs to, by name."""
        return changed(self.path, result, self._at)

    def check_recipe(self) -> None:
        """Raises TokenpruneError where the recipe or environment is not the one that its result belongs to."""
        broken = self.changed(self.result())
        for path in (self.resolved, self.environment):
            if path.name in broken:
                again = self.train_command("--force")
                raise TokenpruneError(f"{broken[path.name]}; train this run again with `{again}`")

    def set_result(self, result: TrainResult) -> None:
        """Seal what is in the folder: the last step of a training."""
        beside = (self.resolved, self.environment, self.metrics, self.predictions)
        save_result(self._result, result, [file.name for file in beside])

    def check_weights(self) -> Path:
        """The weights file, checked against the sha256 in the result."""
        return self._checked(self.weights, self.result().weights_sha256)

    def check_pruner(self) -> Path | None:
        """The file of the pruner's own parameters, checked as the weights are; None where it has none."""
        expected = self.result().pruner_sha256
        return None if expected is None else self._checked(self.pruner, expected)

    def _checked(self, path: Path, expected: str) -> Path:
        again = self.train_command("--force")
        if not path.is_file():
            raise TokenpruneError(f"{path}: missing; train this run again with `{again}`")
        if files.sha256(path) != expected:
            raise TokenpruneError(
                f"{path}: damaged: its bytes are not those that training wrote (sha256 differs); "
                f"train this run again with `{again}`"
            )
        return path

    def images(self) -> dict[str, str]:
        """sha256 of the images of a run, by their part; without parts that its environment does not record.

        source: training and test images. background: photographs behind them. start: images of its pretraining.
        Raises TokenpruneError if the environment record cannot be read.
        """
        try:
            record = files.parse_json(read_text(self.environment))
            start = (record.get("start") or {}).get("images") or {}
            started = {"start": " ".join(str(start[key]) for key in sorted(start))} if start else {}
            return image_hashes(record["data"]) | started
        except (ValueError, KeyError, IndexError, AttributeError, TypeError):
            raise TokenpruneError(f"{self.environment}: not an environment record; the file is damaged") from None

    def check_images(self, provenance: Mapping[str, Any]) -> None:
        """Raises TokenpruneError unless `provenance` is that of the images this run was trained on.

        Parts that its environment does not record, such as folders of backgrounds in older ones, are not compared.
        """
        then, now = self.images(), image_hashes(provenance)
        for what, found in now.items():
            if then.get(what, found) != found:
                raise TokenpruneError(
                    f"{self.path}: trained on other images: {what} had sha256 {then[what][:12]}, what is found now has "
                    f"{found[:12]}; point --data-dir, or the recipe's path, at the ones it was trained with"
                )

    def prune_folder(self, method: str, identity: str) -> Path:
        return self.curves / f"{method}-{identity}"

    def prunes(self) -> list[tuple[Path, PruneResult]]:
        """Every finished prune of this run, in the order of folder names."""
        return [(path, self.curve(path)) for path in self.prune_folders()]

    def prune_folders(self) -> list[Path]:
        """Folders of finished prunes, by name."""
        return [path.parent for path in sorted(self.curves.glob("*/result.json"))]

    def curve(self, path: Path) -> PruneResult:
        """The result in a prune's folder. Raises TokenpruneError if it is damaged or not of this run."""
        result = read_result(path / "result.json", PruneResult)
        check_curve(path, result, self.name)
        return result


def run_paths(runs_dir: Path) -> list[Path]:
    """Folders in `runs_dir` that a run was started in, by name; also those whose status was lost."""
    here = packed.folder(runs_dir)
    return [path for path in sorted(here.iterdir()) if RunFolder(path).started] if here.is_dir() else []


def data_dir_words(command: Sequence[object]) -> list[str]:
    """`--data-dir` and its folder, if a command has them."""
    option, words = "--data-dir", [str(word) for word in command]
    for place, word in enumerate(words):
        if word == option and place + 1 < len(words):
            return [option, words[place + 1]]
        if word.startswith(f"{option}="):
            return [option, word.partition("=")[2]]
    return []


def image_hashes(provenance: Mapping[str, Any]) -> dict[str, str]:
    """sha256 of the images (`source`), the photographs behind them (`background`) and the file that names a
    classifier's outputs (`classes`), where there are any.
    """
    parts = {"source": provenance, **{what: provenance.get(what) or {} for what in ("background", "classes")}}
    return {what: part["sha256"] for what, part in parts.items() if part.get("sha256")}


def settle_prune(folder: Path) -> None:
    """Replace a prune by the one measured again if that is complete; remove that if it is not."""
    if whole(new := folder / atomic.ANEW / "result.json"):
        own = read_result(new, PruneResult).files
        atomic.settle(folder, old=[name for name in ("examples.npz",) if name not in own])
    atomic.forget(folder / atomic.ANEW)


def _split(text: str) -> tuple[list[str], str]:
    """Overrides and recipe, from a run's copy."""
    lines = text.splitlines(keepends=True)
    count = next((i for i, line in enumerate(lines) if not line.startswith(_SET)), len(lines))
    return [line.removeprefix(_SET).strip() for line in lines[:count]], "".join(lines[count:])
