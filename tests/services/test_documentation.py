"""docs/ describes service.yaml as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from services.catalog import allowed_keys, json_schema

DOCS = Path(__file__).resolve().parents[2] / "docs"


def leaves(path: tuple[str, ...] = ()) -> Iterator[str]:
    for key in allowed_keys(path):
        inner = (*path, key)
        if allowed_keys(inner):
            yield from leaves(inner)
        else:
            yield ".".join(inner)


def test_the_json_schema_for_editors_is_current() -> None:
    written = json.loads((DOCS / "service.schema.json").read_text())
    assert written == json_schema(), "write it anew with `python -m services.catalog > docs/service.schema.json`"


def test_every_key_is_described_and_no_other() -> None:
    described = set(re.findall(r"^\| `([\w.]+)` \|", (DOCS / "service.md").read_text(), re.MULTILINE))
    keys = set(leaves())
    groups = {key.split(".")[0] for key in keys}
    assert keys <= described
    assert described <= keys | groups
