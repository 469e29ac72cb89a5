"""Kubernetes quantities in the form the API server stores them (k8s.io/apimachinery/pkg/api/resource/quantity.go)."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal, localcontext

_FORM = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]))?$")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {exponent: suffix for suffix, exponent in _BINARY.items()}
_NANO = Decimal("1e-9")


def canonical(text: str | int | float) -> str:
    """The canonical form, such as `500m` for `0.5`; text that is no quantity comes back unchanged."""
    match = _FORM.match(str(text))
    if not match:
        return str(text)
    number, exponent, suffix = match.groups()
    with localcontext() as context:
        context.prec = 60
        if exponent:
            return _decimal(_rounded(Decimal(number + exponent)), exponential=True)
        if suffix in _BINARY:
            return _binary(_rounded(Decimal(number) * 1024 ** _BINARY[suffix]))
        return _decimal(_rounded(Decimal(number).scaleb(_DECIMAL[suffix or ""])), exponential=False)


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(_NANO, rounding=ROUND_UP)


def _binary(amount: Decimal) -> str:
    """As a multiple of a power of 1024; a fraction, or less than 1024, has no such form and is written decimally."""
    if amount != amount.to_integral_value() or abs(amount) < 1024:
        return _decimal(amount, exponential=False)
    whole, power = int(amount), 0
    while whole % 1024 == 0 and power < 6:
        whole, power = whole // 1024, power + 1
    return f"{whole}{_BINARY_SUFFIX.get(power, '')}"


def _decimal(amount: Decimal, *, exponential: bool) -> str:
    """As a whole number of the largest power of 1000 that fits."""
    if not amount:
        return "0"
    for exponent in (18, 15, 12, 9, 6, 3, 0, -3, -6, -9):
        scaled = amount.scaleb(-exponent)
        if scaled == scaled.to_integral_value():
            suffix = f"e{exponent}" if exponential and exponent else _DECIMAL_SUFFIX[exponent]
            return f"{int(scaled)}{suffix if exponent else ''}"
    return str(amount)
