"""Reading a folder of photographs: whether decoding keeps every core busy."""

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from tokenprune.bench.timing import Ratio
from tokenprune.data import load
from tokenprune.recipe import Data


def decoding(count: int, side: int) -> Ratio:
    """CPU seconds over wall seconds and cores, of reading so many JPEGs of that side, resized to 112 pixels."""
    from PIL import Image

    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for i in range(count):
            path = Path(folder, f"class {i % 2}", f"{i}.jpg")
            path.parent.mkdir(exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8))
            coarse.resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
        started, used = time.perf_counter(), time.process_time()
        load(Data(source=folder, image_size=112))
        wall, busy = time.perf_counter() - started, time.process_time() - used
    what = f"{count} JPEGs of {side} x {side} to 112 x 112, {cores} cores: {count / wall:,.0f} a second"
    return Ratio("folder/cores-busy", what, busy / wall / cores, {"wall": wall, "processor": busy}, 0.9)
