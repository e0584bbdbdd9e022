"""Image files decoded to uint8, as timm evaluates: resized, and cut to the square in the centre.

Shapes: s x s pixels.
"""

import errno
import math
import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tokenprune import files
from tokenprune.errors import TokenpruneError
from tokenprune.recipe import Data

#: A folder beside those of the classes, with a mask for every image.
RELEVANCE = "relevance"
#: Decoded images that wait, per core, for one before them in the order.
_AHEAD = 16
#: Errors of a disk, or of too many open files, that say nothing of the file.
_PASSING = (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
#: Longer side over shorter from which on only what the square needs is resized.
_ELONGATED = 16


def picture(path: Path, side: int, spec: Data) -> UInt8[np.ndarray, "s s 3"]:
    """One picture as an image of a folder is read. Raises TokenpruneError if it cannot be read."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice as large is an error
        found = _open(path, "RGB")
    if found is None:
        missing = "a folder, not a picture" if path.is_dir() else "no such file"
        raise TokenpruneError(f"{path}: {'no image that can be read' if path.is_file() else missing}")
    return np.array(_square(found, side, spec.crop, spec.interpolation))


def decoded(
    spec: Data, side: int, root: Path, names: Sequence[str], masked: bool
) -> Iterator[UInt8[np.ndarray, "c s s"] | None]:
    """The files in their order, by a thread per core, a few at a time; None for one that cannot be read.

    With masks c is 4: the last channel is 1 where a pixel is label-relevant, else 0.

    Raises TokenpruneError for a mask that is missing, or no mask of its image.
    """

    def row(name: str) -> UInt8[np.ndarray, "c s s"] | None:
        image = _open(root / name, "RGB")
        if image is None:
            return None
        channels = np.asarray(_square(image, side, spec.crop, spec.interpolation)).transpose(2, 0, 1)
        if masked:
            mask = _square(_mask(mask_of(root, name), image.size), side, spec.crop, "nearest")
            channels = np.concatenate([channels, (np.asarray(mask) > 127)[None]], dtype=np.uint8)
        return np.ascontiguousarray(channels)

    from PIL import Image

    cores = os.cpu_count() or 1
    waiting: deque[Future[UInt8[np.ndarray, "c s s"] | None]] = deque()
    with ThreadPoolExecutor(cores) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice as large is an error, and left out
        try:
            for name in names:
                waiting.append(pool.submit(row, name))
                if len(waiting) > _AHEAD * cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()


def mask_of(root: Path, name: str) -> Path:
    """Where the mask of an image lies."""
    return (root / RELEVANCE / name).with_suffix(".png")


def _square(image: Any, side: int, crop: float, interpolation: str) -> Any:
    """timm's evaluation: the shorter side to `side / crop`, then the square in the centre.

    Of a very elongated image only what the square needs is resized, which is the same but for rounding: whole, a line
    of 20 x 20,000 pixels would be as large as ten thousand squares.
    """
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    short, cut = math.floor(side / crop), CenterCrop(side)
    if max(image.size) < _ELONGATED * min(image.size):
        return cut(Resize(short, InterpolationMode(interpolation))(image))
    from PIL import Image

    along = int(image.width < image.height)  # the axis of the longer side
    length, width = image.size[along], image.size[1 - along]
    resized = int(short * length / width)  # as torchvision rounds it
    start = round((resized - side) / 2)
    size, box = [short, short], [0, 0, *image.size]
    size[along] = side
    box[along], box[along + 2] = start * length / resized, (start + side) * length / resized
    return cut(image.resize(size, Image.Resampling[interpolation.upper()], box))


def _mask(path: Path, size: tuple[int, int]) -> Any:
    """A mask, as an image of grey levels."""
    found = _open(path, "L")
    if found is None or found.size != size:
        what = "no mask that can be read" if found is None else f"a mask of {found.size} pixels"
        raise TokenpruneError(f"{path}: {what}; {RELEVANCE}/ holds one for every image, as large: of {size}")
    if 0 < np.asarray(found).max() < 128:
        raise TokenpruneError(f"{path}: its lightest pixel is dark; relevant pixels are white (255)")
    return found


def _open(path: Path, mode: str) -> Any:
    """A photograph upright, in that mode; None where it cannot be read."""
    from PIL import Image, ImageOps

    try:
        with files.opened(path) as file, Image.open(file) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I;16"):  # which PIL would clip to white
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return None if upright.mode in ("I", "F") else upright.convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # PIL's own for damaged bytes
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise TokenpruneError(f"{path}: cannot be read now: {error.strerror}") from None
        return None
