"""One point of a curve: predictions and kept tokens, collected batch by batch on the device.

Shapes: b images of a batch, n patch tokens present, t patches of an image.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tokenprune import hardware
from tokenprune.cost import Architecture, Passed, measured
from tokenprune.data import Batch
from tokenprune.evaluation.examples import ExampleStates
from tokenprune.pruners.base import TokenState
from tokenprune.recipe import Keep, Schedule


class PointAccumulator:
    """One ratio of one method and draw, or the unpruned model.

    scores: the clock's part in which its ranking is timed; None for the unpruned model.
    own: the clock's part in which its pruner's other work is timed. asked: signals that its pruner asked for at each
    site.
    """

    def __init__(self, keep: Keep, draw: int | None, scores: Hashable | None = None) -> None:
        self.keep = keep
        self.draw = draw
        self.scores = scores
        self.own = ("own", self)
        self.asked: tuple[tuple[str, ...], ...] = ()
        self._answers: list[Int[Tensor, " b"]] = []
        self.seen: list[ExampleStates] = []
        self._left: list[Int[Tensor, "b sites"]] = []
        self._found: Tensor | None = None  # label-relevant area of the kept tokens, in tokens
        self._kept = torch.zeros(())

    def add(
        self,
        logits: Float[Tensor, "b classes"],
        states: Sequence[TokenState],
        batch: Batch,
        seen: ExampleStates | None = None,
    ) -> None:
        """states: what was present after each site. seen: of the batch's images that are examples."""
        self._answers.append(logits.argmax(dim=1))
        self._left.append(torch.stack([_left(state) for state in states], dim=1))
        alive = states[-1].alive
        if batch.relevance is not None:
            area = (batch.relevance * alive).sum(dtype=hardware.widest(alive.device))
            self._found = area if self._found is None else self._found + area
            self._kept = self._kept.to(alive.device) + alive.sum()
        if seen is not None:
            self.seen.append(seen)

    def answers(self) -> np.ndarray:
        """Predicted class of every image."""
        return torch.cat(self._answers).cpu().numpy()

    def shown(self) -> dict[str, np.ndarray]:
        """What is kept of the examples (see `examples`): integers as int16, shares as float16."""
        owner = torch.cat([each.owner for each in self.seen]).short()
        count = torch.cat([each.count for each in self.seen]).short()
        attention = torch.cat([each.attention for each in self.seen]).half()
        likely = torch.cat([each.probability for each in self.seen]).amax(dim=1).half()
        found = {"owner": owner, "count": count, "attention": attention, "probability": likely}
        return {name: value.cpu().numpy() for name, value in found.items()}

    def realised(self, patches: int) -> tuple[float, ...]:
        """Patch tokens left after each site, in shares of an image's patches."""
        left = torch.cat(self._left)
        return tuple(total / (len(left) * patches) for total in left.sum(0).tolist())

    def spread(self) -> tuple[int, int, int, int, int] | None:
        """Least, quartiles and most patch tokens left after the last site; None where all images have as many."""
        left = torch.cat(self._left)[:, -1].cpu().numpy()
        if left.min() == left.max():
            return None
        least, first, middle, third, most = np.quantile(left, (0, 0.25, 0.5, 0.75, 1), method="nearest").tolist()
        return least, first, middle, third, most

    def cost(self, architecture: Architecture, schedule: Schedule) -> tuple[float, float]:
        """(FLOPs, share of patch tokens present averaged over blocks), each the mean over images."""
        _, scores = schedule.recorded
        asked = self.asked or ((),) * len(schedule.cursors)
        rows, images = torch.cat(self._left).cpu().unique(dim=0, return_counts=True)
        costs = [
            measured(architecture, [Passed(*site) for site in zip(schedule.cursors, row, asked, strict=True)], scores)
            for row in rows.tolist()
        ]
        if len(costs) == 1:
            return costs[0].flops, costs[0].realised_mean
        flops, realised = np.average([(each.flops, each.realised_mean) for each in costs], axis=0, weights=images)
        return float(flops), float(realised)

    def relevance(self, total: float | None) -> tuple[float | None, float | None]:
        """(label-relevant share of the kept tokens' area, share of the images' `total` relevant area that is kept)."""
        if self._found is None or total is None:
            return None, None
        found, kept = float(self._found), float(self._kept)
        return found / kept if kept else None, found / total if total else None


def _left(state: TokenState) -> Int[Tensor, " b"]:
    """Patch tokens of each image, without padding."""
    if state.weight is None:
        return torch.full((len(state.tokens),), state.count, device=state.tokens.device)
    return (state.weight > 0).sum(1)
