"""Resources as a program declares them, and their problems."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CONTENT_HASH = re.compile(r"-[0-9a-f]{8}$")


class _Unknown:
    """The one instance of this class stands for a value that is not known before the update."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


@dataclass(frozen=True)
class Options:
    """Resource options that rules check. Timeouts are in seconds, `None` if the program sets none. `dependencies` are
    URNs, `None` if they are not known. `default_namespace` is that of the resource's provider.
    """

    protect: bool = False
    create_timeout_seconds: float | None = None
    update_timeout_seconds: float | None = None
    dependencies: frozenset[str] | None = None
    default_namespace: Any = None


@dataclass(frozen=True)
class Resource:
    """A resource as it is declared: Pulumi's type token and name, and the inputs as plain data.

    Inputs hold `UNKNOWN` for values that only the update decides, and a secret's value if it is known.
    """

    type: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    urn: str = ""
    options: Options = Options()

    @property
    def kind(self) -> str:
        """The last word of the type token, such as `Deployment`."""
        return self.type.rsplit(":", 1)[-1]

    @property
    def ref(self) -> str:
        """Its name for people, messages and waivers: `Deployment/user-service`. It leaves out the hash of a name by
        content, because that changes with the content.
        """
        named_by_content = self.inputs.get("immutable") is True
        return f"{self.kind}/{CONTENT_HASH.sub('', self.name) if named_by_content else self.name}"


@dataclass(frozen=True)
class Problem:
    """Where and how a resource breaks a rule: what was found, what is allowed. Never the value of a secret."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message
