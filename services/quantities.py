"""Kubernetes quantities and their allowed values: cores of CPU, bytes of memory or of storage.

https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#resource-units-in-kubernetes

The `parse_quantity` of the kubernetes package is not used: importing it imports all of the package, which takes half
a second of every program run. It also accepts `NaN`, `1_0` and `5K` as quantities.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
ANY_QUANTITY_PATTERN = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?", re.ASCII
)
# Of these, the ones a service.yaml may have.
QUANTITY_PATTERN = re.compile(r"(\d+\.?\d*|\.\d+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?", re.ASCII)
SCALE = {"": Decimal(1), "m": Decimal("1e-3"), "u": Decimal("1e-6"), "n": Decimal("1e-9")}
SCALE |= {letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", start=1)}
SCALE |= {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)}
# `100mb`, `1g` and `64 MiB` are no quantities, but their meaning is clear.
NEARLY_BYTES_PATTERN = re.compile(r"(\d+\.?\d*|\.\d+)\s*([kmgtpe])(i?b?|)", re.ASCII | re.IGNORECASE)

# More than any node has: `cpu: 500` is meant to be half a core.
CORES_LIMIT = 256
# Container runtimes refuse to start a container with less, or the kernel kills it while it starts.
MEMORY_MINIMUM = 4 * 1024**2
# A block of a file system: with less, nothing can be written.
STORAGE_MINIMUM = 4 * 1024


def quantity_value(quantity: str) -> float:
    """A Kubernetes quantity as a plain number: `"50m"` is 0.05, `"128Mi"` is 134217728.0.

    Raises ValueError if the text is no quantity.
    """
    return float(parse_quantity(quantity))


def parse_quantity(quantity: str) -> Decimal:
    """The same, exactly."""
    match = ANY_QUANTITY_PATTERN.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a Kubernetes quantity; allowed are forms like 250m, 0.5, 128Mi or 1Gi")
    return Decimal(match[1]) * SCALE[match[2] or ""]


def number_as_text(value: object) -> object:
    """A number of YAML as the text that Kubernetes or a process gets: `cpu: 1`, `PORT: 8080`."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def cores(text: str) -> str:
    """The text itself if it is an amount of CPU; raises ValueError with what was found and is allowed."""
    allowed = "allowed are cores like 0.5 or 2, and thousandths of one like 250m"
    match = QUANTITY_PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an amount of CPU; {allowed}")
    value = parse_quantity(text)
    hint = f"did you mean `{match[1]}m`? " if match[2] != "m" and Decimal(match[1]) >= 1 else ""
    if match[2] not in (None, "m") or value > CORES_LIMIT:
        raise ValueError(f"{text!r} is {value:f} cores; {hint}{allowed}, up to {CORES_LIMIT} cores")
    if value <= 0:
        raise ValueError(f"{text!r} must be more than zero; {allowed}")
    if value * 1000 % 1:
        raise ValueError(f"{text!r} is finer than a thousandth of a core; {allowed}")
    return text


def memory(text: str) -> str:
    """The text itself if a container can start with that much memory; raises ValueError as `cores` does."""
    return _bytes(text, MEMORY_MINIMUM, "4Mi")


def storage(text: str) -> str:
    """The text itself if files fit into that much storage; raises ValueError as `cores` does."""
    return _bytes(text, STORAGE_MINIMUM, "4Ki")


def _bytes(text: str, minimum: int, minimum_text: str) -> str:
    allowed = f"allowed are bytes like 128Mi or 1Gi, at least {minimum_text}"
    match = QUANTITY_PATTERN.fullmatch(text)
    if match is None:
        nearly = NEARLY_BYTES_PATTERN.fullmatch(text)
        hint = f"did you mean `{nearly[1]}{nearly[2].upper()}i`? " if nearly else ""
        raise ValueError(f"{text!r} is not a Kubernetes quantity; {hint}{allowed}")
    value = parse_quantity(text)
    if value <= 0:
        raise ValueError(f"{text!r} must be more than zero; {allowed}")
    if value < minimum or match[2] == "m":
        hint = f"did you mean `{match[1]}Mi`? " if match[2] in (None, "m") and Decimal(match[1]) >= 1 else ""
        raise ValueError(f"{text!r} is {value:f} bytes; {hint}{allowed}")
    return text


Cores = Annotated[str, BeforeValidator(number_as_text), AfterValidator(cores)]
Memory = Annotated[str, BeforeValidator(number_as_text), AfterValidator(memory)]
Storage = Annotated[str, BeforeValidator(number_as_text), AfterValidator(storage)]
