"""Masks every secret in a resource's properties before other code reads them, and formats values as text. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from slipway.values import Path, Secret, Special, Unknown, mapped

SECRET = "(secret)"  # noqa: S105 -- shown in its place
UNKNOWN = "(decided at update)"

# More people read a comment on a pull request than a state: values that only look like secrets are masked too.
KEYWORDS = r"passw(?:or)?d|passphrase|secret|token|credential|(?:api|private|account|access)_?-?key"
SECRET_KEY = re.compile(rf"(?i){KEYWORDS}")
# Most texts match none of these; no other pattern is tried on them.
HINT = re.compile(rf"(?i){KEYWORDS}|authorization|bearer")
NAMES_A_SECRET = re.compile(r"(?i)(name|names|ref|refs|seconds|path|enabled|key|file)$")
# The part before the password has a bounded length, so that a long line does not make the search slow.
PASSWORD_IN_URL = re.compile(
    r"(?P<before>\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@]{0,200}:)[^\s/]{1,1000}(?=@)", re.IGNORECASE
)
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
# `password=...`, `"api_key": "..."`, `--token ...`, `Authorization: Bearer ...`, anywhere in a log; not
# `TestToken::test`.
SECRET_ASSIGNMENT = re.compile(
    rf"(?i)(?P<before>(?<![\w/.-])[\w.-]{{0,200}}(?:{KEYWORDS})\w{{0,100}}"
    r"[\\\"']*[^\S\n]*(?::?=+|:(?!:))[^\S\n]*[\\\"']*"
    # In Pulumi's own `config set --secret NAME VALUE` the name is not a secret.
    r"|\bconfig set --secret[^\S\n]+[\w.:/-]{1,200}[^\S\n]+"
    r"|(?<![\w-])(?<!config set )--[\w-]{0,40}(?:passw(?:or)?d|secret|token|api-?key)[^\S\n]+"
    r"|\bauthorization[\\\"']*\s*[=:]\s*[\\\"']*(?:\w+\s+)?|\bbearer\s+)"
    r"(?P<value>(?<=\")[^\s\"][^\"\n]{0,1000}(?=\")|(?<=')[^\s'][^'\n]{0,1000}(?=')|[^\s\"',;&\\]+)"
)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
SECRET_KIND = "kubernetes:core/v1:Secret"  # noqa: S105
SECRET_KIND_FIELDS = ("data", "stringData")

SECRET_VALUE = object()
"""Replaces a secret among the properties; not equal to any text."""


def masked(value: Any, type_: str) -> Any:
    """`value` with every secret replaced; of a Kubernetes Secret, all of `data` and `stringData`."""
    hidden = SECRET_KIND_FIELDS if type_ == SECRET_KIND else ()
    clean = mapped(value, lambda each, path: _masked(each, path, value))
    for name in hidden:
        if isinstance(clean, dict) and isinstance(clean.get(name), dict):
            clean[name] = dict.fromkeys(clean[name], SECRET_VALUE)
    return clean


def _masked(value: Any, path: Path, root: Any) -> Any:
    """A text is a secret if its key names one, or if it is the `value` next to a `name` that does."""
    if isinstance(value, Secret):
        return SECRET_VALUE
    if isinstance(value, Special):
        return Special(value.signature, masked(value.fields, ""))
    if not isinstance(value, str):
        return value
    key = path[-1] if path else ""
    if key == "value":
        parent = root
        for part in path[:-1]:
            parent = parent[part]
        key = str(parent.get("name", ""))
    return SECRET_VALUE if isinstance(key, str) and _is_secret_key(key) else masked_text(value)


def without_keys(text: str) -> str:
    """The text with passwords in URLs and private keys replaced: these are secrets in any context."""
    return PRIVATE_KEY.sub(SECRET, PASSWORD_IN_URL.sub(rf"\g<before>{SECRET}", text))


def masked_text(text: str) -> str:
    """Free text, such as a log, with everything that looks like a secret replaced."""
    text = without_keys(text)
    return SECRET_ASSIGNMENT.sub(rf"\g<before>{SECRET}", text) if HINT.search(text) else text


def without_control(text: str) -> str:
    """The text without control characters and terminal escapes; tabs and line ends stay."""
    return CONTROL.sub("", text)


def _is_secret_key(key: str) -> bool:
    found = SECRET_KEY.search(key)
    return found is not None and (not NAMES_A_SECRET.search(key) or bool(SECRET_KEY.fullmatch(key[found.start() :])))


def as_text(value: Any) -> str:
    """A masked value for people to read: texts as they are, all other values as JSON."""
    shown = mapped(
        value, lambda each, _: SECRET if each is SECRET_VALUE else UNKNOWN if isinstance(each, Unknown) else each
    )
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
