"""Pictures with the patches that pruning removed, and the groups that merging made.

Shapes: h x w pixels, t patches in a square grid, row by row.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from tokenprune.drawing.style import INK, blank, render

_GREY = np.array([190.0, 190.0, 190.0])


def greyed(image: UInt8[np.ndarray, "h w 3"], kept: Bool[np.ndarray, " t"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image with every patch that is not kept blended to light grey; patches are a square grid, row by row.

    Raises ValueError if so many patches do not tile the image.
    """
    side = math.isqrt(len(kept))
    height, width = image.shape[:2]
    if side * side != len(kept) or height % side or width % side:
        raise ValueError(f"{len(kept)} patches do not tile an image of {height} x {width} pixels as a square grid")
    mask = kept.reshape(side, side).repeat(height // side, axis=0).repeat(width // side, axis=1)
    faded = 0.12 * image.mean(axis=2, keepdims=True) + 0.88 * _GREY
    return np.where(mask[:, :, None], image, faded.round()).astype(np.uint8)


def borders(owner: Int[np.ndarray, " t"]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Lines between neighbouring patches that live in different tokens, in patches from the top left: (x, y) to (x, y).

    None where every patch that is left has a token of its own: there is nothing to tell apart.
    """
    alive = owner[owner >= 0]
    if len(np.unique(alive)) == len(alive):
        return []
    side = math.isqrt(len(owner))
    grid, found = owner.reshape(side, side), []
    for y in range(side):
        for x in range(side):
            if x + 1 < side and grid[y, x] != grid[y, x + 1]:
                found.append(((x + 1, y), (x + 1, y + 1)))
            if y + 1 < side and grid[y, x] != grid[y + 1, x]:
                found.append(((x, y + 1), (x + 1, y + 1)))
    return found


def grouped(picture: UInt8[np.ndarray, "h w 3"], owner: Int[np.ndarray, " t"]) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with patches that share a token in the mean colour of all of them, as ToMe draws it."""
    side = math.isqrt(len(owner))
    edge = picture.shape[0] // side
    whose = owner.reshape(side, side).repeat(edge, axis=0).repeat(edge, axis=1)
    found = picture.copy()
    for token, count in zip(*np.unique(owner, return_counts=True), strict=True):
        if token >= 0 and count > 1:
            found[whose == token] = picture[whose == token].mean(axis=0).round()
    return found


def tiles(
    picture: UInt8[np.ndarray, "h w 3"],
    rows: Sequence[tuple[str, Sequence[tuple[str, Int[np.ndarray, " t"]]]]],
) -> tuple[str, bytes]:
    """(SVG, PNG) of a picture, a row for each method: its name, and what stands below each tile with its owners."""
    figure = blank(1.35 * max(len(tiles) for _, tiles in rows) + 0.5, 1.6 * len(rows))
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03)
    axes = figure.subplots(len(rows), max(len(tiles) for _, tiles in rows), squeeze=False)
    for line, (name, shown) in zip(axes, rows, strict=True):
        for ax, (text, owner) in zip(line, shown, strict=True):
            _tile(ax, picture, owner)
            ax.set_xlabel(text, fontsize=7)
        line[0].set_ylabel(name, fontsize=8)
    return render(figure)


def groupings(
    pictures: UInt8[np.ndarray, "b h w 3"], rows: Sequence[tuple[str, Int[np.ndarray, "b t"]]]
) -> tuple[str, bytes]:
    """(SVG, PNG) of pictures side by side: as they are, then a row for each way to group patches, with its name."""
    figure = blank(1.2 * len(pictures) + 0.5, 1.25 * (len(rows) + 1))
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03)
    axes = figure.subplots(len(rows) + 1, len(pictures), squeeze=False)
    apart = np.arange(rows[0][1].shape[1])  # every patch a token of its own
    whole = ("image", np.tile(apart, (len(pictures), 1)))
    for line, (name, owners) in zip(axes, [whole, *rows], strict=True):
        for ax, picture, owner in zip(line, pictures, owners, strict=True):
            _tile(ax, picture, owner)
        line[0].set_ylabel(name, fontsize=8)
    return render(figure)


def _tile(ax: Any, picture: UInt8[np.ndarray, "h w 3"], owner: Int[np.ndarray, " t"]) -> None:
    edge = picture.shape[0] / math.isqrt(len(owner))
    ax.imshow(
        greyed(grouped(picture, owner), owner >= 0),
        interpolation="none",
        extent=(0, picture.shape[1], picture.shape[0], 0),
    )
    for (x, y), (to_x, to_y) in borders(owner):
        ax.plot([x * edge, to_x * edge], [y * edge, to_y * edge], color="white", linewidth=1.4, solid_capstyle="butt")
        ax.plot([x * edge, to_x * edge], [y * edge, to_y * edge], color=INK, linewidth=0.6, solid_capstyle="butt")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
