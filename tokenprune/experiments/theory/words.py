"""How the laboratory's figures and tables say things, and the looks of what they show."""

from typing import Any

from tokenprune.drawing.style import BLUE, GREEN, INK, ORANGE, PURPLE, RED

#: What the columns of a phase diagram vary.
AXES = {"alpha": "α*⁻²", "noise": "token noise τ", "start": "starting error σ", "confusion": "confusion tokens α#"}
METHODS = {
    "none": "before removal",
    "random": "random",
    "irrelevant": "label-irrelevant",
    "noisy": "noisy",
    "magnitude": "magnitude",
}
KINDS = {"vit": "ViT", "cnn": "CNN"}

#: (colour, marker, dash). Magnitude often keeps what label-irrelevant keeps: both lines must show.
METHOD_LOOKS: dict[str, tuple[str, str, Any]] = {
    "none": (INK, "v", "-"),
    "random": (ORANGE, "s", "-"),
    "irrelevant": (GREEN, "^", "-"),
    "noisy": (PURPLE, "D", "-"),
    "magnitude": (BLUE, "o", (0, (4, 1.5))),
}
#: (colour, marker)
KIND_LOOKS = {"vit": (BLUE, "o"), "cnn": (RED, "s")}


def lost(count: int, then: str) -> str:
    """A sentence on models that diverged, and what became of them; none where none did."""
    if not count:
        return ""
    return f" {count} model{'' if count == 1 else 's'} diverged: {then}."


def trials(count: int) -> str:
    return f"{count} trial" + ("" if count == 1 else "s")


def spread(counts: set[int]) -> str:
    """`20 trials`, or `4 to 20 trials`"""
    low, high = min(counts), max(counts)
    return trials(low) if low == high else f"{low} to {high} trials"
