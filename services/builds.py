"""How a service's image is built: `build` and `contexts` of service.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, StrictStr

from services.fields import EnvName, EnvValue, Model

# The program itself passes it to each build.
BASE_IMAGE_ARGUMENT = "BASE_IMAGE"
# Names that a Dockerfile may have after `--from=`. A context with the name of a stage would replace that stage.
STAGE_PATTERN = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
TEST_STAGE, RUNTIME_STAGE = "test", "runtime"


def _stage_name(text: str) -> str:
    if STAGE_PATTERN.fullmatch(text) is None:
        raise ValueError(f"{text!r} cannot name a stage: lower-case letters and digits, with '.', '_', '-' between")
    return text


def _context_name(text: str) -> str:
    if STAGE_PATTERN.fullmatch(text) is None:
        raise ValueError(
            f"{text!r} cannot name a build context: lower-case letters and digits, with '.', '_', '-' between"
        )
    if text in (TEST_STAGE, RUNTIME_STAGE):
        raise ValueError(f"{text!r} is a stage of the Dockerfile, which the context would replace: choose another name")
    return text


def _relative_path(text: str) -> str:
    if not text or text.startswith("/") or "://" in text:
        raise ValueError(f"{text!r} is not in this repository: give a path relative to service.yaml, like '../kit'")
    return text


ContextName = Annotated[StrictStr, AfterValidator(_context_name)]
RelativePath = Annotated[StrictStr, AfterValidator(_relative_path)]
StageName = Annotated[StrictStr, AfterValidator(_stage_name)]
# Of docker-build's own; pods run on Linux. https://www.pulumi.com/registry/packages/docker-build/api-docs/image/#platform
Platform = Literal[
    "linux/386",
    "linux/amd64",
    "linux/arm",
    "linux/arm64",
    "linux/mips64",
    "linux/mips64le",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
]


class Build(Model):
    """How the image is built, with the keys of Docker and Compose.

    `context` and `dockerfile` are paths from service.yaml. `secrets` are ids of `RUN --mount=type=secret`, `ssh` those
    of `--mount=type=ssh`. `test_target` is None for a service without unit tests.
    """

    context: RelativePath = "."
    dockerfile: RelativePath = "Dockerfile"
    args: dict[EnvName, EnvValue] = {}
    secrets: list[EnvName] = []
    ssh: list[StageName] = []
    platforms: list[Platform] = []
    target: StageName = RUNTIME_STAGE
    test_target: StageName | None = TEST_STAGE
