"""Average the grid of tokens down to a coarser one: no choice at all, the floor for every method.

Benchmarks of vision-language models found that many methods lose to it at equal tokens. Site: any, several too; the
tokens carry their position code as they are there, so that it is averaged with them. Score and selection: none. The
rest: every cell of the coarser grid is the average of the tokens by the area that they share with it (fractions count;
torch's own `area` interpolation takes whole patches, some of them twice). A patch belongs to the cell that most of its
area lies in, of two halves to the first. Weights stay away: a cell counts as one token, as a smaller image's would.

The coarser grid has at most as many cells as may stay, and is one row or column off the image's aspect ratio at most;
of such grids the one with most cells is taken, of equals the one nearer to the aspect ratio, then with more columns. So
fewer may stay than were asked for: of 8 x 8, keep 32 leaves 5 x 6 = 30.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from tokenprune.errors import UsageError
from tokenprune.pruners.base import Pruner, Shape, Signals, TokenState
from tokenprune.pruners.grid import Grid, cell_of_patch
from tokenprune.pruners.registry import register


@register("downsample")
class Downsample(Pruner):
    """Averages by area."""

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self.grid, self.first = shape.grid, sites[0]

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        cells = coarser(self.grid, keep)
        present = self._present(state, signals)
        rows, columns = (shares(*sides, state.tokens) for sides in zip(present, cells, strict=True))
        patches = torch.kron(rows, columns) @ state.patches
        cell = cell_of_patch(self.grid, cells, state.owner.device).expand_as(state.owner)
        return replace(
            state,
            tokens=torch.cat([state.tokens[:, : state.prefix], patches.to(state.tokens.dtype)], dim=1),
            owner=cell.where(state.alive, -1),
            weight=None,
            entered=None,
            carried={},
        )

    def _present(self, state: TokenState, signals: Signals) -> Grid:
        """The grid that the tokens are: the image's, or the one that an earlier site made of it, known by its count."""
        whole = self.grid[0] * self.grid[1]
        grid = self.grid if state.count == whole else coarser(self.grid, state.count)
        if grid[0] * grid[1] != state.count or (signals.site == self.first and state.count != whole):
            raise UsageError(f"pruner 'downsample': {state.count} tokens are not the image's {whole}: no patch dropout")
        return grid


def coarser(grid: Grid, most: int) -> Grid:
    """The grid of at most so many cells; that of its own number of cells is itself.

    Sides r and c are off the ratio R : C by |c - r C / R| columns or |r - c R / C| rows, whichever is less.
    """
    rows, columns = grid
    near = [
        (r, c)
        for r in range(1, min(rows, most) + 1)
        for c in range(1, min(columns, most // r) + 1)
        if abs(c * rows - r * columns) <= max(grid)
    ]
    return max(near, key=lambda sides: (sides[0] * sides[1], -abs(sides[1] * rows - sides[0] * columns), sides[1]))


def shares(before: int, after: int, like: Tensor) -> Float[Tensor, "after before"]:
    """Along one side: the share of each of the coarser intervals that each of the finer ones covers."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    edges = torch.arange(after + 1, device=like.device, dtype=dtype) * before / after
    left = torch.arange(before, device=like.device, dtype=dtype)
    covered = torch.minimum(edges[1:, None], left + 1) - torch.maximum(edges[:-1, None], left)
    return (covered.clamp(min=0) * after / before).to(like.dtype)
