"""How a service's image is built: `build` and `contexts` of service.yaml, and the Dockerfile that has to fit them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, StrictStr

from services.fields import RELATIVE_PATH_PATTERN, EnvName, EnvValue, Model, matching
from services.yaml_source import KeyPath

# The program itself passes it to each build.
BASE_IMAGE_ARGUMENT = "BASE_IMAGE"
# Names that a Dockerfile may have after `--from=`. A context with the name of a stage would replace that stage.
STAGE_PATTERN = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
TEST_STAGE, RUNTIME_STAGE = "test", "runtime"


def _replaces_no_stage(text: str) -> str:
    if text in (TEST_STAGE, RUNTIME_STAGE):
        raise ValueError(f"{text!r} is a stage of the Dockerfile, which the context would replace: choose another name")
    return text


ContextName = Annotated[
    StrictStr,
    matching(STAGE_PATTERN, "cannot name a build context: lower-case letters and digits, with '.', '_', '-' between"),
    AfterValidator(_replaces_no_stage),
]
RelativePath = Annotated[
    StrictStr,
    matching(RELATIVE_PATH_PATTERN, "is not in this repository: give a path relative to service.yaml, like '../kit'"),
]
StageName = Annotated[
    StrictStr,
    matching(STAGE_PATTERN, "cannot name a stage: lower-case letters and digits, with '.', '_', '-' between"),
]
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


# https://docs.docker.com/reference/dockerfile/#format: instructions are not case-sensitive, `\` continues a line.
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(?P<base>\S+)(?:\s+AS\s+(?P<stage>\S+))?\s*$", re.IGNORECASE)
_ARG = re.compile(r"^\s*ARG\s+(?P<names>.+)$", re.IGNORECASE)
_FLAGS = re.compile(r"^\s*(?P<instruction>COPY|RUN)\s+(?P<flags>(?:--\S+\s+)+)", re.IGNORECASE)
_SECRET_MOUNT = re.compile(r"--mount=(?P<options>\S*\btype=secret\b\S*)")
# https://docs.docker.com/reference/dockerfile/#here-documents
_HERE_DOCUMENT = re.compile(r"(?<!\S)\d*<<(?P<tabs>-?)(?P<quote>[\"']?)(?P<end>[^\s<\"']+)(?P=quote)")
# https://docs.docker.com/reference/dockerfile/#escape: with another character, lines continue that here seem to end.
_ESCAPE = re.compile(r"^\s*#\s*escape\s*=", re.IGNORECASE | re.MULTILINE)
# Without an `id` a secret has the name of the file that it is mounted as.
# https://docs.docker.com/reference/dockerfile/#run---mounttypesecret
_TARGETS = ("target", "dst", "destination")


@dataclass(frozen=True)
class Dockerfile:
    """`stages` and `arguments` by name, `secrets` by their ids; each with the first line, from 1, that names it.

    `sources` has, for each stage in lower case, the stages that it begins with or takes files from.
    """

    stages: dict[str, int]
    arguments: dict[str, int]
    secrets: dict[str, int]
    sources: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Dockerfile:
        """Raises OSError if it cannot be read."""
        text = file.read_text(encoding="utf-8", errors="replace")
        found, stage, repeated = cls({}, {}, {}), "", set[str]()
        for number, line in _instructions(text):
            if match := _FROM.match(line):
                stage = (match["stage"] or "").lower()
                repeated |= {stage} & set(found.stages)
                found.stages.setdefault(stage, number)
                found.sources[stage] = found._earlier({match["base"]})
            elif match := _FLAGS.match(line):
                flags = [flag.partition("=")[::2] for flag in match["flags"].split()]
                if match["instruction"].upper() == "COPY":
                    taken = {value for name, value in flags if name == "--from"}
                else:
                    mounts = [_options(value) for name, value in flags if name == "--mount"]
                    # BuildKit ignores `from` of other types, such as tmpfs.
                    mounts = [each for each in mounts if each.get("type", "bind") in ("bind", "cache")]
                    taken = {each["from"] for each in mounts if "from" in each}
                found.sources.setdefault(stage, set()).update(found._earlier(taken) - {stage})
            elif match := _ARG.match(line):
                for declared in match["names"].split():
                    found.arguments.setdefault(declared.partition("=")[0], number)
            for mount in _SECRET_MOUNT.finditer(line):
                options = _options(mount["options"])
                target = next((options[key] for key in _TARGETS if key in options), "")
                found.secrets.setdefault(options.get("id") or PurePosixPath(target).name, number)
        # Two stages with one name, or without a name, cannot be distinguished.
        known = {} if _ESCAPE.search(text) else found.sources
        return replace(found, sources={name: of - repeated for name, of in known.items() if name not in repeated})

    def _earlier(self, names: Collection[str]) -> set[str]:
        """The `names` that are stages so far; a name that no earlier stage has is an image."""
        return {name.lower() for name in names} & set(self.sources)

    def takes_in(self, target: str, stage: str, replaced: Collection[str] = ()) -> bool:
        """Whether a build of stage `target` can only succeed after one of `stage`; `replaced` are stages that a named
        context replaces.

        False if that is not known: if a build argument names the base, for instance.
        """
        seen, waiting = set(replaced), [target.lower()]
        while waiting:
            if (each := waiting.pop()) not in seen:
                seen.add(each)
                waiting += self.sources.get(each, ())
        return stage.lower() in seen - set(replaced)


def _options(mount: str) -> dict[str, str]:
    """The options of a `--mount`: `type=secret,id=token` gives `{"type": "secret", "id": "token"}`."""
    return dict(option.partition("=")[::2] for option in mount.split(","))


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """Instructions, each as one line with the number of its first; comments and here-documents are left out."""
    lines = text.splitlines()
    instruction, first, skipped = "", 0, 0
    for number, line in enumerate(lines, 1):
        if number <= skipped or line.lstrip().startswith("#"):
            continue
        first = first if instruction else number
        instruction += line.removesuffix("\\")
        if line.endswith("\\") and number < len(lines):
            continue
        for document in _HERE_DOCUMENT.finditer(instruction):
            begins = max(number, skipped)
            inside = (each.lstrip("\t") if document["tabs"] else each for each in lines[begins:])
            # Without its end it is no here-document: a word in quotes, for instance.
            skipped = next((at for at, each in enumerate(inside, begins + 1) if each == document["end"]), skipped)
        yield first, instruction
        instruction = ""
    if instruction:
        yield first, instruction


def build_problems(build: Build, file: Path, shown: Path) -> Iterator[tuple[KeyPath, str]]:
    """Contradictions between the Dockerfile and `build` of service.yaml: a key of service.yaml, or none, and the
    problem.
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
