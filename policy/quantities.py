"""Kubernetes' ways of writing amounts: quantities such as `128Mi`, and numbers that may be percentages."""

from __future__ import annotations

import math
import re

from policy.view import View
from services.quantities import quantity_value

PERCENT = re.compile(r"(\d+)%")


def amount(quantity: View) -> float | None:
    """The quantity as a plain number; `None` if it is missing or no quantity."""
    value = quantity.read()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        return quantity_value(value) if isinstance(value, str) else None
    except ValueError:
        return None


def share(value: View, of: float, *, round_up: bool) -> float | None:
    """A number, or a percentage `of` something as Kubernetes rounds it; `None` if it is missing or neither."""
    number = value.number()
    if number is not None:
        return number
    text = value.text() or ""
    if match := PERCENT.fullmatch(text):
        exact = int(match[1]) * of / 100
        return math.ceil(exact) if round_up else math.floor(exact)
    return float(text) if text.isdecimal() else None
