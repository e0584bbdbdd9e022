"""resume.pt: everything an interrupted run needs to go on as if it had not been interrupted."""

import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from tokenprune.errors import TokenpruneError
from tokenprune.runs import atomic


class Checkpoint:
    """A file of tensors and plain values, written whole, read without running any code in it.

    run: what the file must belong to (setting and seed); another run's file is refused.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self.run = run

    def save(self, state: dict[str, Any]) -> None:
        """Raises TokenpruneError if it cannot be saved; the previous checkpoint is then kept."""
        content = io.BytesIO()  # torch.save does not say that the disk is full
        torch.save({"run": self.run, **state}, content)
        atomic.write_bytes(self.path, content.getbuffer())

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The saved state, on `device`; None if there is no file. Raises TokenpruneError if it is damaged."""
        if not self.path.is_file():
            return None
        start_over = "delete it to train from the beginning"
        try:
            with zipfile.ZipFile(self.path) as archive:  # torch does not check the checksums
                damaged = archive.testzip()
            if damaged is None:
                with warnings.catch_warnings():  # of pickles, which are refused
                    warnings.simplefilter("ignore")
                    state = torch.load(self.path, map_location=device, weights_only=True)
        except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError):
            raise TokenpruneError(f"{self.path}: not a whole checkpoint (truncated or damaged); {start_over}") from None
        except pickle.UnpicklingError:
            raise TokenpruneError(
                f"{self.path}: holds more than tensors and plain values, so it is not read; {start_over}"
            ) from None
        if damaged is not None:
            raise TokenpruneError(f"{self.path}: damaged: checksum of {damaged} differs; {start_over}")
        if not isinstance(state, dict) or state.get("run") != self.run:
            raise TokenpruneError(f"{self.path}: a checkpoint of another run, not of {self.run}; {start_over}")
        return state
