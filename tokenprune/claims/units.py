"""How effects are written, in one unit and one precision everywhere: shares in points with one decimal, with a sign."""

#: The unit of I1's effect.
EXPONENT = "exponent"


def in_points(unit: str) -> bool:
    """Whether effects in that unit are differences of shares: of images answered rightly, of tokens, of attention."""
    return unit == "accuracy" or unit.startswith("share")


def effect(value: float, unit: str) -> str:
    """0.0154 -> +1.5 of a share, 0.02 of I1's exponent, 0.0154 of anything else; rounding errors are 0."""
    value = 0.0 if abs(value) < 1e-9 else value
    if in_points(unit):
        return signed(100 * value, 1)
    return f"{value:{'.2f' if unit == EXPONENT else '.3g'}}".replace("-", "−")


def named(value: float, unit: str) -> str:
    """0.0154 -> +1.5 points of a share; of anything else without its unit."""
    return effect(value, unit) + (" points" if in_points(unit) else "")


def bound(value: float, unit: str) -> str:
    """A bound of what counts as support: 0, −1.0 points, 2."""
    if value and in_points(unit):
        return named(value, unit)
    return f"{value:g}".replace("-", "−")


def signed(value: float, digits: int) -> str:
    """With its sign, which 0 has none of."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")
