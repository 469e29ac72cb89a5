"""An approval kept in a file, so that one machine previews, somebody agrees, and another machine updates just that."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway.deploy.approval import Approval, changed_since_preview, updates_since
from slipway.errors import ConfigurationError, SlipwayError
from slipway.stack import Stack


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    stack: str
    approval: Approval


def require_approved(stack: Stack, file: Path, now: Approval) -> None:
    """Return when `file`, which a preview wrote, is of what is there now; raises SlipwayError, which names what moved.

    Raises ConfigurationError for a file that no preview of this stack wrote.
    """
    before = _read(file, f"{stack.project.name}/{stack}")
    others = () if before.state == now.state else updates_since(stack, before)
    if lines := changed_since_preview(before, now, others):
        raise SlipwayError(
            f"{stack} was not updated: what is there now is not what was approved.",
            why="\n".join(lines),
            next_step=f"`slipway preview -s {stack} --approval {file}` previews it as it is now, for another approval.",
        )


def to_text(approval: Approval, project: str, stack: str) -> str:
    """What `require_approved` reads, on any machine."""
    return _File(stack=f"{project}/{stack}", approval=approval).model_dump_json(indent=1) + "\n"


def _read(file: Path, stack: str) -> Approval:
    try:
        content = _File.model_validate_json(file.read_bytes())
        problem = "" if content.stack == stack else f"It is of {content.stack}."
    except ValidationError as error:
        problem = "\n".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    except OSError as error:
        problem = str(error)
    if problem:
        raise ConfigurationError(
            f"{file} is no approval of {stack}.",
            why=problem,
            next_step=f"`slipway preview -s {stack.rpartition('/')[2]} --approval {file}` writes one.",
        )
    return content.approval
