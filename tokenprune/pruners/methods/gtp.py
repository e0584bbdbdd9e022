"""Drop tokens of little attention, after passing them on to their neighbours in a graph (GTP).

Xu et al., GTP-ViT: efficient vision transformers via graph-based token propagation (WACV 2024). Score: the largest over
heads of A_h[j, j] times the largest over heads of the sum over all queries of A_h[i, j]. Selection: the largest stay.
Site: after attention, in every block, P a block (`r`). The rest: passed on to those that stay, x_stay += `alpha` W
x_gone, then dropped; sizes likewise, so that weights of attention grow by `alpha` W (the published code can leave sizes
out).

W is made once, of the patches at the embedding, D^(-1/2) G D^(-1/2) with D the row sums of G, and between the tokens
present it is that of their patches: `spatial` joins the 8 neighbours in the grid, `semantic` each token to the
`neighbours` others of largest cosine, as the receiver counts them, `mixed` both. A token none of whose neighbours stays
is lost. The paper's alpha is .1 to .4 by model; the default is the published code's. Making attention maps sparser,
which the published code offers, is left out. The score is of one map, so any number may leave at once; at small `keep`
few have a neighbour left to pass to.
"""

from dataclasses import replace

import torch
from torch import Tensor

from tokenprune.pruners import options
from tokenprune.pruners.base import Pruner, Shape, Signals, TokenState, parted, rows
from tokenprune.pruners.matching import cosine
from tokenprune.pruners.registry import register


@register("gtp")
class GTP(Pruner):
    """Propagation along a graph of the embedding.

    graph: spatial, semantic or mixed. neighbours: of a token in the semantic graph. alpha: how much is passed on.
    """

    near: Tensor

    def __init__(self, graph: str = "spatial", neighbours: int = 8, alpha: float = 0.1) -> None:
        super().__init__()
        self.graph = options.one_of("gtp", "graph", graph, ("spatial", "semantic", "mixed"))
        self.neighbours = options.whole("gtp", "neighbours", neighbours, 1)
        self.alpha = options.number("gtp", "alpha", alpha, 0)

    def setup(self, shape: Shape, sites: tuple[int, ...]) -> None:
        place = torch.cartesian_prod(torch.arange(shape.grid[0]), torch.arange(shape.grid[1]))
        steps = (place[:, None] - place[None]).abs().amax(dim=2)
        self.register_buffer("near", steps == 1, persistent=False)

    def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
        if keep == state.count:
            return state
        with torch.no_grad():
            maps = signals.attention_maps()[:, :, :, state.prefix :]
            itself = maps[:, :, state.prefix :].diagonal(dim1=2, dim2=3).amax(dim=1)
            score = itself * maps.sum(dim=2).amax(dim=1)
            stay, gone = parted(score, keep)
            to, of = state.position.gather(1, stay), state.position.gather(1, gone)
            edges = state.memory["edges"] if "edges" in state.memory else self.edges(state)
            weight = rows(edges, to).gather(2, of[:, None].expand(-1, keep, -1))
        taken = state.take(stay)
        passed = weight.to(state.tokens.dtype) @ rows(state.patches, gone)
        sizes = state.weights.to(weight.dtype)
        grown = sizes.gather(1, stay) + self.alpha * (weight * sizes.gather(1, gone)[:, None]).sum(dim=2)
        patches = (taken.patches + self.alpha * passed).to(state.tokens.dtype)
        tokens = torch.cat([state.tokens[:, : state.prefix], patches], dim=1)
        return replace(taken, tokens=tokens, weight=grown, memory={**state.memory, "edges": edges})

    def edges(self, state: TokenState) -> Tensor:
        """W of all patches of each image, [b t t], from giver (column) to receiver (row)."""
        assert state.embedded is not None
        joined = self.near[None]
        if self.graph != "spatial":
            likeness = cosine(state.embedded, state.embedded)
            itself = torch.eye(likeness.shape[1], dtype=torch.bool, device=likeness.device)
            order = likeness.masked_fill(itself, -torch.inf).argsort(dim=2, descending=True, stable=True)
            most = order[:, :, : min(self.neighbours, likeness.shape[1] - 1)]
            like = torch.zeros_like(likeness, dtype=torch.bool).scatter_(2, most, True)
            joined = like if self.graph == "semantic" else like | joined
        weight = joined.to(torch.promote_types(state.tokens.dtype, torch.float32))
        degree = weight.sum(dim=2).clamp(min=1).rsqrt()
        return (weight * degree[:, :, None] * degree[:, None]).expand(state.tokens.shape[0], -1, -1)
