"""What one point of a curve answers and keeps, batch by batch; on the device until all is done.

Shapes: b images of a batch, n patch tokens present, t patches of an image, e examples of a batch.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tokenprune.data import Batch
from tokenprune.pruners.base import TokenState


class Tally:
    """One ratio of one method and draw, or the unpruned model.

    scores: the clock's part in which its ranking is timed; None for the unpruned model.
    asked: signals that its pruner asked for at a site.
    """

    def __init__(self, keep: float, draw: int | None, scores: Hashable | None = None) -> None:
        self.keep = keep
        self.draw = draw
        self.scores = scores
        self.asked: tuple[str, ...] = ()
        self._answers: list[Int[Tensor, " b"]] = []
        self._shown: list[Bool[Tensor, "e t"]] = []
        self._images = 0
        self._present: list[int] = []  # patch tokens after each site, summed over images
        self._found: Tensor | None = None  # label-relevant area of the kept tokens, in tokens
        self._kept = torch.zeros(())

    def add(
        self,
        logits: Float[Tensor, "b classes"],
        states: Sequence[TokenState],
        batch: Batch,
        shown: Sequence[int],
    ) -> None:
        """states: what was present after each site. shown: the batch's rows that are examples."""
        self._answers.append(logits.argmax(dim=1))
        self._images += len(logits)
        counts = [state.count * len(logits) for state in states]
        self._present = [a + b for a, b in zip(self._present or [0] * len(counts), counts, strict=True)]
        alive = states[-1].alive
        if batch.relevance is not None:
            area = (batch.relevance * alive).sum(dtype=torch.float64)
            self._found = area if self._found is None else self._found + area
            self._kept = self._kept.to(alive.device) + alive.sum()
        if shown:
            self._shown.append(alive[list(shown)])

    def answers(self) -> np.ndarray:
        """Predicted class of every image."""
        return torch.cat(self._answers).cpu().numpy()

    def shown(self) -> np.ndarray:
        """Which patches of every example are kept: bool [e, t]."""
        return torch.cat(self._shown).cpu().numpy()

    def realised(self, patches: int) -> tuple[float, ...]:
        """Share of an image's patches present after each site."""
        return tuple(total / (self._images * patches) for total in self._present)

    def relevance(self, total: float | None) -> tuple[float | None, float | None]:
        """(label-relevant share of the kept tokens' area, share of the images' `total` relevant area that is kept)."""
        if self._found is None or total is None:
            return None, None
        found, kept = float(self._found), float(self._kept)
        return found / kept if kept else None, found / total if total else None
