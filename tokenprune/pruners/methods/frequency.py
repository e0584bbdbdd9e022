"""Keep the tokens that others attend to most, average the rest by windows (frequency-aware).

Lee, Hur, Choi, Yu & Kim, Frequency-aware token reduction for efficient vision transformer (NeurIPS 2025); restated from
the text. Attention is split into A = 1 1^T / n + A_hp, its low-pass and its high-pass part. Score: what a token
contributes to the high-pass part, the mean over heads and queries of its column in A_hp. That is received attention
less a constant, which orders tokens alike. Selection: the largest. Site: after attention; the paper's are `after:3,6,9`
of twelve blocks at keep .7. The rest: the grid is cut into w x w windows, and what is left out in each is averaged into
one more token (DC token); w is 2 at the first site, 1 at later ones. DC tokens are not ranked again: at a later site
they join the DC token of the window that their first patch is in, a mean by the tokens they stand for.

DC tokens are among those that stay (the paper adds them): of k, k - w^2 are tokens of the image. A window of which all
tokens stay has no DC token, and one more token, of next rank, stays for it. w is lowered until w^2 < k; of k = 1 the DC
token is all. A DC token counts for one in attention. The paper also learns factors on A_hp and on the attention to DC
tokens, which change the blocks themselves, and position codes of DC tokens: they are left out. Tokens stay in image
order, DC tokens are last.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tokenprune.pruners import options
from tokenprune.pruners.base import Pruner, Shape, Signals, TokenState, averaged
from tokenprune.pruners.grid import cell_of_patch
from tokenprune.pruners.registry import register

NAME = "frequency"


@register(NAME)
class Frequency(Pruner):
    """High-frequency tokens, and a mean of the others per window.

    windows: along each side of the image, at the first site, the second, ...; the last number serves all further sites.
    """

    def __init__(self, windows: Sequence[int] = (2, 1)) -> None:
        super().__init__()
        self.windows = [options.whole(NAME, "windows", each, 1) for each in options.several(NAME, "windows", windows)]

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        self.grid, self.sites = shape.grid, sites

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        passed = sum(site < signals.site for site in self.sites)
        side = self.windows[min(passed, len(self.windows) - 1)]
        while side > 1 and side**2 >= keep:
            side -= 1
        into, high = self._into(state, keep, side, signals)
        held = state.carried.get(NAME)
        held = torch.zeros_like(state.weights) if held is None else held
        stands_for = held.where(held > 0, state.weights)
        merged = averaged(state.patches, stands_for, into, keep)
        empty = torch.zeros_like(held[:, :keep])
        weight = None
        if state.weight is not None:
            weight = empty.scatter(1, into, state.weight.where(high, torch.ones_like(state.weight)))
        held = empty.scatter_add(1, into, held.where(high, stands_for))
        return replace(state.holding(merged, into, weight), carried={NAME: held})

    @torch.no_grad()
    def _into(self, state: TokenState, keep: int, side: int, signals: Signals) -> tuple[Tensor, Tensor]:
        """Which of the `keep` tokens each becomes part of, and whether it stays as it is. [b, n] both."""
        score = signals.received_attention()
        if NAME in state.carried:
            score = score.masked_fill(state.carried[NAME] > 0, -torch.inf)
        rank = score.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        window = cell_of_patch(self.grid, (side, side), rank.device)[state.position.clamp(min=0)]
        last = rank.new_full((rank.shape[0], side**2), -1).scatter_reduce(1, window, rank, "amax")
        # The first m by rank stay: with the windows that others are in they are m to keep, and never one too many.
        stay = torch.arange(state.count, device=rank.device)
        together = stay + (last[:, None] >= stay[:, None]).sum(dim=2)
        number = (together < keep).sum(dim=1, keepdim=True)
        high = rank < number
        place = number + (last >= number).cumsum(dim=1) - 1
        return (high.cumsum(dim=1) - 1).where(high, place.gather(1, window)), high
