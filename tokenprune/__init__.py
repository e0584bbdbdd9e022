"""Token pruning in Vision Transformers of any depth, and tests of the theory behind it."""

__version__ = "0.1.0"
