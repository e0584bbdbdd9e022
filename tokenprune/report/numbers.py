"""Numbers as people read them; what is missing is an en dash, never 0."""

from tokenprune.claims import units
from tokenprune.report.series import Interval

DASH = "–"


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
