"""Variance of feature maps over the picture, half-block by half-block.

Park & Kim 2022 (arXiv 2202.06709), figure 9: over patches, mean over images and channels. Theirs attention lowers it,
convolutions and MLPs raise it.
"""

from tokenprune.measurements.subject import Subject
from tokenprune.measurements.through import by_half_block
from tokenprune.pruners.base import TokenState
from tokenprune.runs import Values


def measure_run(
    subject: Subject, *, methods: object = None, keep: object = None, site: object = None, images: object = 1000
) -> dict[str, Values]:
    """Variance over the patch tokens present [point, half-block], in squared units of the features; prefix left out.

    methods, keep, site: prunings beside the unpruned model, as in `Subject.prunings`. images: test images.
    """
    asked = {"methods": methods, "keep": keep, "site": site, "images": images}
    return {"variance": by_half_block(subject, spread, unit="1", **asked)}


def spread(state: TokenState) -> float:
    """Variance over the patch tokens of each image, padding left out: mean over channels, sum over images."""
    tokens, there = state.patches.float(), (state.weights > 0).float()[:, :, None]
    count = there.sum(dim=1, keepdim=True)
    mean = (tokens * there).sum(dim=1, keepdim=True) / count
    return float(((tokens - mean).square() * there / count).sum(dim=1).mean(dim=1).sum())
