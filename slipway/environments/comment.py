"""The comment on a pull request about its environment: its URLs, until when it stays, or that it was taken down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.environments.temporary import Temporary
from slipway.errors import ConfigurationError, SlipwayError
from slipway.render.markdown_text import fence


def marker(project: str, name: str) -> str:
    """The hidden line by which `slipway comment` finds the comment again."""
    return f"<!-- slipway:preview:{project}:{name} -->\n\n"


def running(project: str, name: str, temporary: Temporary, services: Mapping[str, Any]) -> str:
    """The comment on a running one; `services` is the stack's output: by name, `url` and `image`."""
    rows = [f"| `{service}` | {each.get('url', '')} |" for service, each in sorted(services.items())]
    return marker(project, name) + "\n".join(
        [
            f"## ✅ `{name}` is up",
            "",
            "| service | answers at |",
            "| --- | --- |",
            *rows,
            "",
            f"Like `{temporary.like}`, {temporary.until()}. Every push updates it; closing the pull request takes it "
            "down.",
            "",
        ]
    )


def failed(project: str, name: str, error: SlipwayError) -> str:
    return marker(project, name) + f"## ❌ `{name}` was not updated\n\n{fence(str(error))}\n"


def taken_down(project: str, name: str) -> str:
    return marker(project, name) + f"## `{name}` was taken down\n"


def require_writable(file: Path) -> None:
    """Raise ConfigurationError if the file's folder does not exist, before any other work."""
    if not file.absolute().parent.is_dir():
        raise ConfigurationError(
            f"--markdown {file} cannot be written.", why=f"There is no folder {file.parent}.", next_step="Make it."
        )
