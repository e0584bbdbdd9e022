"""Small sweeps for tests: files that are trained in a second."""

from pathlib import Path

TINY = """
data: {source: patterns, patterns: {image_size: 16, classes: 3, count: 6, train_size: 60, test_size: 40, noise: 0.2}}
model: {depth: 1, dim: 12, heads: 3}
train: {epochs: 2, batch_size: 20, precision: fp32, augment: {crop: 0, flip: false}}
evaluate: {methods: [magnitude], keep: [1.0, 0.5], batch_size: 20, examples: 0}
"""


def write_sweep(folder: Path, text: str, name: str = "mine") -> Path:
    """A sweep, and the recipe `tiny` beside it."""
    (folder / "tiny.yaml").write_text(TINY)
    path = folder / f"{name}.yaml"
    path.write_text(f"base: tiny.yaml\n{text}")
    return path
