"""How methods look in a figure of all: six colours and seven markers, so that forty-two of them look different."""

from collections.abc import Mapping
from typing import Any

from tokenprune.claims.methods import CEILING
from tokenprune.drawing.style import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, RED, SKY

_COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
_MARKERS = "oDPXv<*"
#: Floors, with their markers.
_GREY = {"random": "s", "downsample": "v", "l1": "p", "l2": "h", "linf": "d"}


def method_looks(methods: Mapping[str, str]) -> dict[str, tuple[Any, str, Any]]:
    """(colour, marker, dash) by the name of a line; floors grey and dashed, the oracle black and dotted.

    methods: by that name.
    """
    names = sorted(methods)
    chosen = [name for name in names if methods[name] not in (*_GREY, CEILING)]
    found: dict[str, tuple[Any, str, Any]] = dict.fromkeys(names, (INK, "^", (0, (1, 1.2))))  # the oracle
    for i, name in enumerate(chosen):
        found[name] = (_COLORS[i % len(_COLORS)], _MARKERS[i % len(_MARKERS)], "-")
    for name in names:
        if methods[name] in _GREY:
            found[name] = (MUTED, _GREY[methods[name]], (0, (4, 1.5)))
    return found
