"""The files that a service's containers get: read from the repository, or marked as secrets."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from services.containers import FileSource
from services.fields import KEY_MAX_LENGTH
from services.spec import OBJECT_MAX_BYTES, ServiceSpec
from services.yaml_source import KeyPath

# https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-object
NOT_IN_KEYS = re.compile(r"[^-._a-zA-Z0-9]")
READABLE, EXECUTABLE = 0o444, 0o555


@dataclass(frozen=True)
class MountedFile:
    """A file of one container: its `content`, or the name of the service's `secret` that is its content.

    `key` is its key in the ConfigMap or Secret that all containers of the service share.
    """

    container: str
    path: str
    key: str
    content: bytes = field(default=b"", repr=False)
    secret: str = ""
    mode: int = READABLE


def mounted_files(
    spec: ServiceSpec, folder: Path, root: Path
) -> tuple[tuple[MountedFile, ...], list[tuple[KeyPath, str]]]:
    """The files of all containers of the service in `folder`, a folder below `root`, and their problems, by the path in
    service.yaml.
    """
    found: list[MountedFile] = []
    problems: list[tuple[KeyPath, str]] = []
    for at, container in spec.containers:
        for mount_path, file in container.files.items():
            here = (*at, "files", mount_path)
            try:
                contents = _contents(file, folder, root)
            except OSError as error:
                problems.append((here, f"`files` has {file.source!r}, which cannot be read: {error.strerror}"))
                continue
            except ValueError as error:
                problems.append((here, f"`files` has {file.source!r}, {error}"))
                continue
            for name, content, mode in contents:
                path = f"{mount_path}/{name}" if name else mount_path
                key = NOT_IN_KEYS.sub("_", (f"{container.name}." if at else "") + path.strip("/").replace("/", "."))
                if len(key) > KEY_MAX_LENGTH:
                    problems.append((here, f"{path} has {len(key)} characters; allowed: {KEY_MAX_LENGTH}"))
                if other := next((each.path for each in found if each.key == key), ""):
                    problems.append((here, f"{path} and {other} would both be key `{key}` of a ConfigMap; rename one"))
                found.append(MountedFile(container.name, path, key, content, file.secret or "", mode))
    if (size := sum(len(file.content) for file in found)) > OBJECT_MAX_BYTES:
        text = (
            f"`files` have {size:,} bytes in all, and a ConfigMap holds {OBJECT_MAX_BYTES:,}; put some into the image"
        )
        problems.append((("files",), text))
    return tuple(found), problems


def _contents(file: FileSource, folder: Path, root: Path) -> list[tuple[str, bytes, int]]:
    """Name below the mount path (none for a single file), content and mode of each file of `file`.

    Raises OSError, and ValueError if it is no file below `root`.
    """
    if file.source is None:
        return [("", (file.content or "").encode(), READABLE)]
    source = Path(os.path.normpath(folder.absolute() / file.source))
    allowed = f"allowed: a file or folder below {root.name}/, given by its path from service.yaml"
    if not source.is_relative_to(root.absolute()) or source == root.absolute():
        raise ValueError(f"which is outside of {root.name}/; {allowed}")
    if not source.exists():
        raise ValueError(f"and there is no {root.name}/{source.relative_to(root.absolute())}; {allowed}")
    files = [source] if source.is_file() else [each for each in sorted(source.rglob("*")) if not each.is_dir()]
    if not files:
        raise ValueError(f"which is an empty folder; {allowed}")
    for each in files:
        # Git and an approval do not see the content behind a symbolic link.
        below_root = [each, *(parent for parent in each.parents if parent.is_relative_to(root.absolute()))][:-1]
        link = next((part for part in below_root if part.is_symlink()), None if each.is_file() else each)
        if link:
            shown = link.relative_to(root.absolute())
            raise ValueError(f"in which {shown} is a symbolic link or not a file; {allowed}")
    return [
        (
            str(each.relative_to(source)) if each != source else "",
            each.read_bytes(),
            EXECUTABLE if each.stat().st_mode & 0o100 else READABLE,
        )
        for each in files
    ]


def is_utf_8(name: str) -> bool:
    """Whether the bytes of a file's name are UTF-8; Python keeps other bytes as surrogates (PEP 383)."""
    return not any("\udc80" <= character <= "\udcff" for character in name)


def readable(path: Path) -> str:
    """The path with a mark for each byte that is not UTF-8, so that it can be printed."""
    return os.fsencode(path).decode(errors="replace")
