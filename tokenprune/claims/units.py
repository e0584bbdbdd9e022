"""How effects are told, in one unit and one precision everywhere: points with one decimal, exponents with two."""

#: The unit of effects that are no share and so are not told in points.
EXPONENT = "exponent"


def effect(value: float, unit: str) -> str:
    """0.0154 -> +1.5, or +0.02 of an exponent."""
    return signed(value, 2) if unit == EXPONENT else signed(100 * value, 1)


def named(value: float, unit: str) -> str:
    """0.0154 -> +1.5 points, or +0.02"""
    return effect(value, unit) + ("" if unit == EXPONENT else " points")


def signed(value: float, digits: int) -> str:
    """With its sign, which 0 has none of."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")
