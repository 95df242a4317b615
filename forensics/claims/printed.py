"""Numbers as a file printed them: how far they reach, and how a message shows them."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from forensics.claims.claim import Number


def half_unit(printed: Any) -> float:
    """Half a unit in the last digit of a number as printed; 0 of a whole number, which is a count."""
    if not isinstance(printed, Decimal):
        return 0.0
    exponent = printed.as_tuple().exponent
    return 0.0 if isinstance(exponent, str) else float(Decimal((0, (5,), exponent - 1)))


def undecimal(value: Any) -> Any:
    """A number, or a list of them, without its printed digits."""
    if isinstance(value, list):
        return [undecimal(each) for each in value]
    return float(value) if isinstance(value, Decimal) else value


def is_finite(number: Number) -> bool:
    """Whether a float can hold it."""
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond what a float holds
        return False


def brief(value: Any) -> str:
    """A value as a message shows it."""
    if value is None:
        return "nothing"
    shown = str(value) if isinstance(value, Decimal) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}\u2026"
