"""The paper's synthetic experiments: its data model, its shallow ViT, many models trained as one batch."""

from tokenprune.theory.run import theory_run

__all__ = ["theory_run"]
