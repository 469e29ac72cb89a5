"""Replaces every secret in a resource's properties before anything else sees them, and puts values into words. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

SECRET = "(secret)"  # noqa: S105 -- what stands in its place
UNKNOWN = "(decided at update)"

# The engine's marks in serialized properties: pulumi, sdk/go/common/resource/sig and pkg/resource/stack.
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105
UNKNOWN_MARK = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# A comment on a pull request has more readers than a state: what only looks like a secret is masked too.
KEYWORDS = r"passw(?:or)?d|passphrase|secret|token|credential|(?:api|private|account|access)_?-?key"
SECRET_KEY = re.compile(rf"(?i){KEYWORDS}")
# Most texts have none of it, and are read no further.
HINT = re.compile(rf"(?i){KEYWORDS}|authorization|bearer")
NAMES_A_SECRET = re.compile(r"(?i)(name|names|ref|refs|seconds|path|enabled|key|file)$")
# Of bounded length in front, so that a long line of anything takes no time that anybody would notice.
PASSWORD_IN_URL = re.compile(
    r"(?P<before>\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@]{0,200}:)[^\s/]{1,1000}(?=@)", re.IGNORECASE
)
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
# `password=...`, `"api_key": "..."`, `--token ...`, `Authorization: Bearer ...`, wherever they stand in a log; not
# `TestToken::test`.
SECRET_ASSIGNMENT = re.compile(
    rf"(?i)(?P<before>(?<![\w/.-])[\w.-]{{0,200}}(?:{KEYWORDS})\w{{0,100}}"
    r"[\\\"']*[^\S\n]*(?::?=+|:(?!:))[^\S\n]*[\\\"']*"
    # In Pulumi's own `config set --secret NAME VALUE` the name is none.
    r"|\bconfig set --secret[^\S\n]+[\w.:/-]{1,200}[^\S\n]+"
    r"|(?<![\w-])(?<!config set )--[\w-]{0,40}(?:passw(?:or)?d|secret|token|api-?key)[^\S\n]+"
    r"|\bauthorization[\\\"']*\s*[=:]\s*[\\\"']*(?:\w+\s+)?|\bbearer\s+)"
    r"(?P<value>(?<=\")[^\s\"][^\"\n]{0,1000}(?=\")|(?<=')[^\s'][^'\n]{0,1000}(?=')|[^\s\"',;&\\]+)"
)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
SECRET_KIND = "kubernetes:core/v1:Secret"  # noqa: S105
SECRET_KIND_FIELDS = ("data", "stringData")

SECRET_VALUE = object()
"""Stands for a secret among the properties; no text is equal to it."""


def masked(value: Any, type_: str) -> Any:
    """`value` with every secret replaced, those of a Kubernetes Secret wherever they stand."""
    hidden = SECRET_KIND_FIELDS if type_ == SECRET_KIND else ()
    clean = _masked(value, "")
    for name in hidden:
        if isinstance(clean, dict) and isinstance(clean.get(name), dict):
            clean[name] = dict.fromkeys(clean[name], SECRET_VALUE)
    return clean


def _masked(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        if value.get(SIGNATURE) == SECRET_SIGNATURE:
            return SECRET_VALUE
        named = str(value.get("name", "")) if "value" in value else ""
        return {name: _masked(each, named if name == "value" else name) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, "") for each in value]
    if isinstance(value, str):
        if _is_secret_key(key) and value != UNKNOWN_MARK:
            return SECRET_VALUE
        return masked_text(value)
    return value


def without_keys(text: str) -> str:
    """Text with passwords in addresses and private keys replaced: what is a secret whatever stands around it."""
    return PRIVATE_KEY.sub(SECRET, PASSWORD_IN_URL.sub(rf"\g<before>{SECRET}", text))


def masked_text(text: str) -> str:
    """Free text, such as a log, with all that looks like a secret replaced."""
    text = without_keys(text)
    return SECRET_ASSIGNMENT.sub(rf"\g<before>{SECRET}", text) if HINT.search(text) else text


def without_control(text: str) -> str:
    """Text that does nothing to a terminal but end its lines."""
    return CONTROL.sub("", text)


def _is_secret_key(key: str) -> bool:
    found = SECRET_KEY.search(key)
    return found is not None and (not NAMES_A_SECRET.search(key) or bool(SECRET_KEY.fullmatch(key[found.start() :])))


def as_text(value: Any) -> str:
    """A masked value as a person would write it: texts as they are, anything else as JSON."""
    if value is SECRET_VALUE:
        return SECRET
    if isinstance(value, str):
        return UNKNOWN if value == UNKNOWN_MARK else value
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return as_text(value) if value is SECRET_VALUE or isinstance(value, str) else value
