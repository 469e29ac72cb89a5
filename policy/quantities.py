"""Kubernetes' ways of writing amounts: quantities such as `128Mi`, and numbers that may be percentages."""

from __future__ import annotations

import math
import re

from policy.view import View

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(m|u|n|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
SCALE = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18} | {
    f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", start=1)
}
PERCENT = re.compile(r"(\d+)%")


def amount(quantity: View) -> float | None:
    """The quantity as a plain number; `None` when it is missing or no quantity."""
    value = quantity.read()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = QUANTITY.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) * SCALE[match[2] or ""] if match else None


def share(value: View, of: float, *, round_up: bool) -> float | None:
    """A number, or a percentage `of` something as Kubernetes rounds it; `None` when it is missing or neither."""
    number = value.number()
    if number is not None:
        return number
    text = value.text() or ""
    if match := PERCENT.fullmatch(text):
        exact = int(match[1]) * of / 100
        return math.ceil(exact) if round_up else math.floor(exact)
    return float(text) if text.isdecimal() else None
