"""Names of files that are not UTF-8, which neither Pulumi nor a builder accepts."""

from __future__ import annotations

import os
from pathlib import Path


def is_utf_8(name: str) -> bool:
    """Whether the bytes of a file's name are UTF-8; Python keeps other bytes as surrogates (PEP 383)."""
    return not any("\udc80" <= character <= "\udcff" for character in name)


def readable(path: Path) -> str:
    """The path with a mark for each byte that is not UTF-8, so that it can be printed."""
    return os.fsencode(path).decode(errors="replace")
