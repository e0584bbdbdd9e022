"""How far tokens are from all being alike, half-block by half-block.

Dong et al. 2021 (arXiv 2103.03404): attention without skips and MLPs drives tokens to rank one, doubly exponentially in
depth. Their residual X - 1 x^T with the best x, here in the Frobenius norm, in which the best x is the mean token.
"""

from tokenprune.measurements.subject import Subject
from tokenprune.measurements.through import by_half_block
from tokenprune.pruners.base import TokenState
from tokenprune.runs import Values


def measure_run(
    subject: Subject, *, methods: object = None, keep: object = None, site: object = None, images: object = 1000
) -> dict[str, Values]:
    """|X - 1 mean(X)^T| / |X| over the patch tokens present [point, half-block], mean over images: 0 is rank one.

    methods, keep, site: prunings beside the unpruned model, as in `Subject.prunings`. images: test images.
    """
    asked = {"methods": methods, "keep": keep, "site": site, "images": images}
    return {"residual": by_half_block(subject, residual, unit="share", **asked)}


def residual(state: TokenState) -> float:
    """Sum over images; padding left out."""
    there = (state.weights > 0).float()[:, :, None]
    tokens = state.patches.float() * there
    mean = tokens.sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True)
    away = ((tokens - mean) * there).flatten(1).norm(dim=1)
    return float((away / tokens.flatten(1).norm(dim=1).clamp(min=1e-12)).sum())
