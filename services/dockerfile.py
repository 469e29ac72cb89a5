"""What a Dockerfile says of its stages, build arguments and build secrets: read before anything is built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from services.builds import Build
from services.yaml_source import KeyPath

# https://docs.docker.com/reference/dockerfile/#format: instructions are not case-sensitive, `\` goes on.
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*\S+(?:\s+AS\s+(?P<stage>\S+))?\s*$", re.IGNORECASE)
_ARG = re.compile(r"^\s*ARG\s+(?P<names>.+)$", re.IGNORECASE)
_SECRET_MOUNT = re.compile(r"--mount=(?P<options>\S*\btype=secret\b\S*)")
# Without an `id` a secret has the name of the file that it is mounted as.
# https://docs.docker.com/reference/dockerfile/#run---mounttypesecret
_TARGETS = ("target", "dst", "destination")


@dataclass(frozen=True)
class Dockerfile:
    """`stages` and `arguments` by name, `secrets` by their ids; each with the first line, from 1, that names it."""

    stages: dict[str, int]
    arguments: dict[str, int]
    secrets: dict[str, int]

    @classmethod
    def read(cls, file: Path) -> Dockerfile:
        """Raises OSError where it cannot be read."""
        found = cls({}, {}, {})
        for number, line in _instructions(file.read_text(encoding="utf-8", errors="replace")):
            if match := _FROM.match(line):
                found.stages.setdefault((match["stage"] or "").lower(), number)
            elif match := _ARG.match(line):
                for declared in match["names"].split():
                    found.arguments.setdefault(declared.partition("=")[0], number)
            for mount in _SECRET_MOUNT.finditer(line):
                options = dict(option.partition("=")[::2] for option in mount["options"].split(","))
                target = next((options[key] for key in _TARGETS if key in options), "")
                found.secrets.setdefault(options.get("id") or PurePosixPath(target).name, number)
        return found


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """Whole instructions on one line each, with the number of their first; comments are left out."""
    begun, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        first = first if begun else number
        begun += line.removesuffix("\\")
        if not line.endswith("\\"):
            yield first, begun
            begun = ""
    if begun:
        yield first, begun


def build_problems(build: Build, file: Path, shown: Path) -> Iterator[tuple[KeyPath, str]]:
    """Where the Dockerfile and `build` of service.yaml contradict each other: a key of service.yaml, or none, and what
    is wrong.
    """
    found = Dockerfile.read(file)
    stages = sorted(filter(None, found.stages))
    for key, stage in (("target", build.target), ("testTarget", build.test_target)):
        if stage is not None and stage.lower() not in found.stages:
            there = f"its stages: {', '.join(stages)}" if stages else "it names no stage (`FROM … AS NAME`)"
            none = "; `build: {testTarget: null}` declares that there are no unit tests" if key == "testTarget" else ""
            yield ("build", key), f"{shown} has no stage `{stage}`; {there}{none}"
    for name in sorted(set(build.args) - set(found.arguments)):
        there = ", ".join(sorted(set(found.arguments))) or "none"
        yield ("build", "args", name), f"{shown} has no `ARG {name}`; it has: {there}"
    for name, line in found.secrets.items():
        if name not in build.secrets:
            yield (
                (),
                f"{shown}:{line}: the build secret `{name}` would be empty; name it in `build.secrets` of service.yaml",
            )
    for index, name in enumerate(build.secrets):
        if name not in found.secrets:
            yield (
                ("build", "secrets", index),
                f"{shown} mounts no secret `{name}` (`RUN --mount=type=secret,id={name}`)",
            )
