"""The theory's symbols as people read them on a page; the terminal and files keep plain ASCII."""

import re

_SYMBOLS = (("alpha_*", "α*"), ("alpha_#", "α#"), ("N50^-1/2", "1/√N50"), ("N^-1/2", "1/√N"))
_GREEK = {"tau": "τ", "sigma": "σ", "eta": "η", "xi": "ξ", "delta": "δ", "Theta": "Θ", "mu_j": "μ_j"}
_RAISED = str.maketrans("-0123456789ghkp", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹ᵍʰᵏᵖ")

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


def pretty(text: str) -> str:
    """`alpha_*^-2` as α*⁻²"""
    for plain, symbol in _SYMBOLS:
        text = text.replace(plain, symbol)
    text = re.sub(rf"\b({'|'.join(_GREEK)})\b", lambda match: _GREEK[match[1]], text)
    return re.sub(r"\^(-?\d+|-[ghkp])(?![\w/])", lambda match: match[1].translate(_RAISED), text)


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
