"""Resources as a program declares them, and what may be wrong with one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CONTENT_HASH = re.compile(r"-[0-9a-f]{8}$")


class _Unknown:
    """The one value of this class stands for whatever is not known before the update."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


@dataclass(frozen=True)
class Options:
    """Resource options that rules ask about. Timeouts are in seconds, `None` where the program sets none;
    `dependencies` are URNs, `None` where nobody says; `default_namespace` is that of the resource's provider.
    """

    protect: bool = False
    create_timeout_seconds: float | None = None
    update_timeout_seconds: float | None = None
    dependencies: frozenset[str] | None = None
    default_namespace: Any = None


@dataclass(frozen=True)
class Resource:
    """A resource as it is declared: Pulumi's type token and name, and the inputs as plain data.

    Inputs hold `UNKNOWN` for what only the update decides, and a secret's value where it is known.
    """

    type: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    urn: str = ""
    options: Options = Options()

    @property
    def kind(self) -> str:
        """The last word of the type token, which is what people call it: `Deployment`."""
        return self.type.rsplit(":", 1)[-1]

    @property
    def ref(self) -> str:
        """How people, messages and waivers name it: `Deployment/user-service`; without the hash in a name that is made
        of its content, as that is another with each content.
        """
        named_by_content = self.inputs.get("immutable") is True
        return f"{self.kind}/{CONTENT_HASH.sub('', self.name) if named_by_content else self.name}"


@dataclass(frozen=True)
class Problem:
    """Where a resource breaks a rule, and how: what was met, what is allowed. Never the value of a secret."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message
