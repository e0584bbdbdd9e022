"""The grid of an image's patches: where they lie, and the fixed patterns that keep those around its centre.

Shapes: b images, n tokens present, t patches of the image, row by row.
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tokenprune.pruners.base import ScorePruner, Shape, Signals, TokenState

#: Rows and columns.
Grid = tuple[int, int]


def cell_of_patch(grid: Grid, cells: Grid, device: torch.device) -> Int[Tensor, " t"]:
    """The cell of a coarser grid that most of each patch's area lies in; of two halves the first. Cells row by row.

    No cell is without a patch where it is at least as large as one.
    """
    row, column = (_interval(patches, over, device) for patches, over in zip(grid, cells, strict=True))
    return (row[:, None] * cells[1] + column).flatten()


def _interval(patches: int, cells: int, device: torch.device) -> Int[Tensor, " patches"]:
    """Along one side: the interval that holds each patch's middle, (2 i + 1) / 2 patches, in whole numbers."""
    return ((2 * torch.arange(patches, device=device) + 1) * cells - 1) // (2 * patches)


class CentralPruner(ScorePruner):
    """Keeps the patches nearest to the grid's centre, of equals the first: the same in every image.

    order: of the norm that distance is measured in. A token that holds several patches has their mean distance.
    """

    order: ClassVar[float]
    distance: Tensor

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        rows, columns = (torch.arange(side) - (side - 1) / 2 for side in shape.grid)
        offset = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).flatten(1)
        self.register_buffer("distance", torch.linalg.vector_norm(offset, self.order, dim=0), persistent=False)

    def score(self, state: TokenState, signals: Signals) -> Float[Tensor, "b n"]:
        patches = self.distance.to(state.owner.device).expand(state.owner.shape)
        nearest = state.mean_of(patches).argsort(dim=1, stable=True)
        return -nearest.argsort(dim=1).float()  # ranks, which have no ties
