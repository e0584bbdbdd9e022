#!/usr/bin/env python
"""./scripts/readme_figure.py RUN_FOLDER OUT.png: README's figure, docs/results/trained/tokens-kept.png.

Above, two test images and the tokens that the run keeps of them, before block 0; below, accuracy over GFLOPs of the
committed runs. The run is the committed one of depth 6 and seed 0, whose example images were not packed:

    tokenprune sweep trained --only model.depth=6 --only run.seed=0
"""

import gzip
import json
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "trained"
KEEP = (1.0, 0.7, 0.5, 0.3)
PANELS = {
    (1, "before:0"): "depth 1",
    (6, "before:0"): "depth 6, before the first block",
    (6, "before:2"): "depth 6, before the third",
}
IMAGES = (5, 7)  # of the eight example images, chosen by eye
STYLE = {
    "oracle": ("#009e73", "^"),
    "magnitude": ("#0072b2", "o"),
    "tome": ("#cc79a7", "D"),
    "random": ("#e69f00", "s"),
    "downsample": ("#666666", "v"),
}


def tiles(run: Path) -> list[list[np.ndarray]]:
    """Each image at each ratio, removed patches in grey. Images are [h, w, 3], patches a square grid row by row."""
    folders = {path.parent: json.loads(path.read_text()) for path in run.glob("prune/magnitude-*/result.json")}
    (folder,) = (folder for folder, curve in folders.items() if curve["site"] == "before:0")
    ratios = [point["keep_ratio"] for point in folders[folder]["points"]]
    with np.load(folder / "examples.npz") as arrays:
        images, kept = arrays["images"], arrays["owner"][:, :, -1] >= 0
    side = math.isqrt(kept.shape[2])
    scale = images.shape[1] // side
    mask = kept.reshape(*kept.shape[:2], side, side).repeat(scale, axis=2).repeat(scale, axis=3)
    return [
        [np.where(mask[ratios.index(keep), i][:, :, None], images[i], 225).astype(np.uint8) for keep in KEEP]
        for i in IMAGES
    ]


def curves() -> dict[tuple[int, str, str], dict[float, list[tuple[float, float]]]]:
    """(GFLOPs, accuracy in %) of each seed, means over draws, by depth, site and method, then by ratio."""
    found: dict = defaultdict(lambda: defaultdict(list))
    with gzip.open(RESULTS / "runs.jsonl.gz", "rt", encoding="utf-8") as lines:
        runs = [tree["files"] for tree in map(json.loads, lines) if "run" in tree]
    for files in runs:
        depth = files["result.json"]["model"]["depth"]
        for curve in (
            content for name, content in files.items() if name.startswith("prune/") and name.endswith("result.json")
        ):
            for keep in {point["keep_ratio"] for point in curve["points"]}:
                draws = [point for point in curve["points"] if point["keep_ratio"] == keep]
                mean = {name: statistics.mean(point[name] for point in draws) for name in ("flops", "accuracy")}
                found[depth, curve["site"], curve["method"]][keep].append((mean["flops"] / 1e9, 100 * mean["accuracy"]))
    return found


def main(run: Path, out: Path) -> None:
    figure = plt.figure(figsize=(8.4, 4.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 2])
    axes = above.subplots(1, 9, width_ratios=[4, 4, 4, 4, 1, 4, 4, 4, 4])
    axes[4].axis("off")
    for row, start in zip(tiles(run), (0, 5), strict=True):
        for ax, tile, keep in zip(axes[start : start + 4], row, KEEP, strict=True):
            ax.imshow(tile, interpolation="nearest")
            ax.set_title("all tokens" if keep == 1 else f"{keep:.0%} kept", fontsize=9)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
    found = curves()
    for ax, (panel, where) in zip(below.subplots(1, len(PANELS), sharey=True), PANELS.items(), strict=True):
        for method in (method for method in STYLE if (*panel, method) in found):
            colour, marker = STYLE[method]
            seeds = [found[*panel, method][keep] for keep in sorted(found[*panel, method])]
            flops = [statistics.mean(flop for flop, _ in values) for values in seeds]
            accuracies = [[accuracy for _, accuracy in values] for values in seeds]
            lowest, highest = list(map(min, accuracies)), list(map(max, accuracies))
            ax.fill_between(flops, lowest, highest, color=colour, alpha=0.15, linewidth=0)
            ax.plot(flops, list(map(statistics.mean, accuracies)), color=colour, marker=marker, ms=4, label=method)
        ax.set_xlim(left=0)
        ax.set_xlabel("GFLOPs per image")
        ax.set_title(where, loc="left", fontsize=9, fontweight="bold")
        ax.grid(alpha=0.3)
    below.axes[0].set_ylabel("test accuracy, %")
    below.axes[-1].legend(frameon=False, loc="lower right")
    figure.savefig(out, dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    with plt.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        main(Path(sys.argv[1]), Path(sys.argv[2]))
