"""timm Vision Transformers, and running them with pruning sites."""

from tokenprune.models.attention import has_codes, set_attention
from tokenprune.models.checkpoint import Weights, classes_in, load_pruner, load_weights, mean_and_std, read_checkpoint
from tokenprune.models.maps import runnable
from tokenprune.models.neighbours import Neighbours
from tokenprune.models.signals import BatchInfo
from tokenprune.models.sparse import Ranked, SparseViT, Trace, images_of
from tokenprune.models.vit import architecture_of, build, take_smaller_images

__all__ = [
    "BatchInfo",
    "Neighbours",
    "Ranked",
    "SparseViT",
    "Trace",
    "Weights",
    "architecture_of",
    "build",
    "classes_in",
    "has_codes",
    "images_of",
    "load_pruner",
    "load_weights",
    "mean_and_std",
    "read_checkpoint",
    "runnable",
    "set_attention",
    "take_smaller_images",
]
