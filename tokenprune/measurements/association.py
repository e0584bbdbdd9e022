"""Patch association: whether patches that lie side by side have position codes that are alike.

Jelassi, Sander & Li 2022 (arXiv 2210.09221), definition 2.2: of patch i the C largest <p_i, p_j> are those of its own
set. On images the neighbours in the grid, up to eight, stand for the set.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tokenprune.errors import UsageError
from tokenprune.measurements.subject import Subject
from tokenprune.measurements.through import square
from tokenprune.runs import Values


def measure_run(subject: Subject) -> dict[str, Values]:
    """How far the learned positions of patches say which are neighbours, [patch] row by row in the grid.

    `overlap`: share of a patch's C neighbours among the C patches of largest inner product with it. `chance`: what it
    is for codes that have nothing to do with places. `exact`: share of patches whose overlap is 1. `inner product`
    [patch, other] with all others and itself, in units of the mean squared length.

    Where data.shuffle moves tiles of a patch's size, neighbours are those of the image before. Raises UsageError for a
    model without learned positions.
    """
    vit, side = subject.model.vit, square(subject.model)
    if vit.pos_embed is None:
        raise UsageError("this model has no learned positions of its own")
    codes = vit.pos_embed.detach().float()[0, -(side**2) :]
    tiles = subject.dataset.tiles
    if tiles is not None:
        if len(tiles) != side**2:
            raise UsageError(f"data.shuffle moves {len(tiles)} tiles, and there are {side**2} patches")
        codes = codes[tiles.argsort().to(codes.device)]  # the code of what was there
    products = codes @ codes.T
    shares, chance = overlap(products, side)
    scale = float(products.diagonal().mean())
    return {
        "overlap": Values(unit="share", axes=("patch",), values=shares.tolist()),
        "chance": Values(unit="share", axes=("patch",), values=chance.tolist()),
        "mean overlap": Values(unit="share", axes=(), values=float(shares.mean())),
        "mean chance": Values(unit="share", axes=(), values=float(chance.mean())),
        "exact": Values(unit="share", axes=(), values=float((shares == 1).mean())),
        "inner product": Values(
            unit="1", axes=("patch", "other"), values=(products / scale).round(decimals=4).tolist()
        ),
    }


def overlap(products: Float[Tensor, "t t"], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Each patch's share of its C neighbours among its C largest products, and that by chance, C / (t - 1)."""
    count = side * side
    place = torch.arange(count)
    down, right = (each[:, None] - each[None] for each in (place // side, place % side))
    near = (torch.maximum(down.abs(), right.abs()) == 1).numpy()
    others = products.cpu().double().numpy().copy()
    np.fill_diagonal(others, -np.inf)
    order = np.argsort(-others, axis=1, kind="stable")
    sizes = near.sum(axis=1)
    shares = np.array([near[i, order[i, : sizes[i]]].mean() for i in range(count)])
    return shares, sizes / (count - 1)
