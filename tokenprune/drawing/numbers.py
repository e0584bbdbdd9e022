"""Numbers as people read them; what is missing is an en dash, never 0."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokenprune.claims import units
from tokenprune.statistics import mean_interval

DASH = "–"

_SYMBOLS = (
    *(("alpha_*", "α*"), ("alpha_#", "α#"), ("N50^-1/2", "1/√N50"), ("N^-1/2", "1/√N")),
    *(("->", "→"), (">=", "≥"), ("Omega", "Ω")),
)
_GREEK = {"tau": "τ", "sigma": "σ", "eta": "η", "xi": "ξ", "delta": "δ", "Theta": "Θ", "mu_j": "μ_j"}
_RAISED = str.maketrans("-0123456789ghkp", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹ᵍʰᵏᵖ")


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % bounds; bounds are None where nothing gives them."""

    value: float
    low: float | None
    high: float | None


def over_seeds(values: Sequence[float], bounds: tuple[float, float] | None = None, *, least: float = 0.0) -> Interval:
    """Mean and t interval, cut to what is possible ([least, 1]); `bounds` where there is a single value."""
    mean, low, high = mean_interval(values)
    if low is None or high is None:
        return Interval(mean, *(bounds or (None, None)))
    return Interval(mean, max(low, least), min(high, 1.0))


def over_trials(values: Float[np.ndarray, " t"]) -> Interval | None:
    """Mean with Student's t interval; nan is left out, and None where nothing else is."""
    known = values[np.isfinite(values)].tolist()
    return Interval(*mean_interval(known)) if known else None


def pretty(text: str) -> str:
    """`alpha_*^-2` as α*⁻²: symbols as people write them; the terminal and files keep plain ASCII."""
    for plain_text, symbol in _SYMBOLS:
        text = text.replace(plain_text, symbol)
    text = re.sub(rf"\b({'|'.join(_GREEK)})\b", lambda match: _GREEK[match[1]], text)
    return re.sub(r"\^(-?\d+|-[ghkp])(?![\w/])", lambda match: match[1].translate(_RAISED), text)


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage without its sign: 0.7312 -> 73.1"""
    return DASH if share is None else f"{100 * share:.{digits}f}"


def signed(share: float | None, digits: int = 1) -> str:
    """A difference of shares in points: -0.012 -> −1.2"""
    return DASH if share is None else units.signed(100 * share, digits)


def bounds(interval: Interval | None, digits: int = 1) -> str:
    """73.1–75.0, or a dash where there are no bounds."""
    if interval is None or interval.low is None or interval.high is None:
        return DASH
    return f"{percent(interval.low, digits)}{DASH}{percent(interval.high, digits)}"


def signed_bounds(interval: Interval, digits: int = 1) -> str:
    if interval.low is None or interval.high is None:
        return DASH
    return f"{signed(interval.low, digits)} to {signed(interval.high, digits)}"


def effect(value: float | None, unit: str) -> str:
    """A claim's effect, in points unless it is an exponent: 0.123 -> +12.3, or +0.12"""
    return DASH if value is None else units.effect(value, unit)


def effect_bounds(interval: Interval, unit: str) -> str:
    """+10.1 to +14.5"""
    if interval.low is None or interval.high is None:
        return DASH
    return f"{effect(interval.low, unit)} to {effect(interval.high, unit)}"


def plain(value: float | None, form: str = ".3g") -> str:
    return DASH if value is None else f"{value:{form}}".replace("-", "−")


def p_value(low: float, high: float) -> str:
    """One p, or the range of several."""
    first, last = _p(low), _p(high)
    return first if first == last else f"{first} to {last}"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _p(value: float) -> str:
    return "<0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.995 else "1"
