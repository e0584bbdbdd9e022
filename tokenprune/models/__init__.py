"""timm Vision Transformers, and running them with pruning sites."""

from tokenprune.models.attention import set_attention
from tokenprune.models.signals import Hints
from tokenprune.models.sparse import SparseViT, Trace
from tokenprune.models.vit import architecture_of, build, load_weights

__all__ = ["Hints", "SparseViT", "Trace", "architecture_of", "build", "load_weights", "set_attention"]
