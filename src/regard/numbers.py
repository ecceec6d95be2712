"""Numbers as people write them, and the one of 95% intervals."""

from __future__ import annotations

NORMAL_95 = 1.959964
"""Deviations to either side of the mean within which 95% of a normal distribution lie."""


def readable(value: float, digits: int = 4, *, signed: bool = False) -> str:
    """A number of some digits, with an exponent only where a person would write one.

    Args:
        value: any number; NaN and infinite ones are named.
        digits: that are kept.
        signed: whether a number above 0 begins with a plus.

    Examples:
        >>> readable(971.4, 2), readable(-3204.0, 2, signed=True), readable(0.00123456), readable(2.5e9)
        ('970', '-3200', '0.001235', '2.5e+09')
    """
    rounded = float(f"{value:.{digits}g}") + 0.0  # no minus before a zero
    sign = "+" if signed and rounded > 0 else ""
    plain = 1e-4 <= abs(rounded) < 1e7 or rounded == 0
    return sign + (f"{rounded:.15g}" if plain else f"{rounded:.{digits}g}")
