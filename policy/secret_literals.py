"""Tells what looks like a secret from what does not. Says what it looks like, never what it is."""

from __future__ import annotations

import math
import re
from collections import Counter

# Shapes that vendors gave their tokens so that they can be found.
# https://docs.github.com/en/code-security/secret-scanning/introduction/supported-secret-scanning-patterns
SHAPES = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "a Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "a Stripe key": re.compile(r"\b[rs]k_live_[A-Za-z0-9]{16,}"),
    "a Google API key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}"),
    "an npm token": re.compile(r"\bnpm_[A-Za-z0-9]{36}\b"),
    "a PyPI token": re.compile(r"\bpypi-AgE[A-Za-z0-9_-]{16,}"),
    "a JSON Web Token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    "an address with a password": re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^\s/:@?#]{0,100}:([^\s/@]{1,200})@"),
}
NAME_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# Words may be written as one: `PGPASSWORD`.
PASSWORD_ENDINGS = ("password", "passwd", "passphrase", "pwd")
SECRET_WORDS = frozenset({"secret", "token", "key", "apikey", "credential", "credentials", "auth"})
# `TOKEN_URL`, `SECRET_NAME`, `PUBLIC_KEY`: about a secret, and none.
HARMLESS_LAST_WORDS = frozenset(
    {"file", "path", "dir", "name", "url", "uri", "host", "port", "ttl", "id", "seconds", "timeout", "type", "length"}
    | {"algorithm", "header", "prefix", "enabled", "issuer", "audience"}
)
HARMLESS_WORDS = frozenset({"public", "pub"})
PLACEHOLDER = re.compile(r"\$\(.*\)|\$\{.*\}|\{\{.*\}\}|<.*>|\*+|/.*|true|false|none|null", re.IGNORECASE)
ASSIGNMENT = re.compile(r"^\s*[\"']?([\w.-]{1,80})[\"']?\s*[:=]\s*[\"']?([^\s\"',]{1,500})[\"']?,?\s*$", re.MULTILINE)
RANDOM_LEAST_LENGTH = 12
RANDOM_LEAST_BITS = 3.0


def finding(name: str, value: str | None) -> str:
    """What the value under this name looks like, such as `a JSON Web Token`; empty when it looks harmless."""
    if not value:
        return ""
    for what, shape in SHAPES.items():
        match = shape.search(value)
        if match and not any(PLACEHOLDER.fullmatch(group) for group in match.groups()):
            return what
    if what := _by_name(name, value) or _by_last_word(name, value):
        return what
    if "\n" not in value and len(value) < RANDOM_LEAST_LENGTH:
        return ""
    lines = ((each[1], each[2]) for each in ASSIGNMENT.finditer(value))
    return next((f"{what} (`{key}` in it)" for key, inner in lines if (what := _by_name(key, inner))), "")


def _by_name(name: str, value: str) -> str:
    words = [word.lower() for word in NAME_WORD.findall(name)]
    if not words or words[-1] in HARMLESS_LAST_WORDS or HARMLESS_WORDS & set(words) or PLACEHOLDER.fullmatch(value):
        return ""
    if any(word.endswith(PASSWORD_ENDINGS) for word in words) or (words[-1] == "pass" and not value.isdigit()):
        return "a password"
    return "a secret under a telling name" if SECRET_WORDS & set(words) and _is_random(value) else ""


def _by_last_word(name: str, value: str) -> str:
    """`CLIENT_SECRET` is one, whatever its value looks like; the name of a Secret belongs into `CLIENT_SECRET_NAME`."""
    words = NAME_WORD.findall(name)
    is_secret = bool(words) and words[-1].lower() == "secret" and not PLACEHOLDER.fullmatch(value)
    return "a secret under a telling name" if is_secret else ""


def _is_random(value: str) -> bool:
    """Long, of letters and digits mixed without blanks, and with hardly a pattern: keys, not words."""
    mixed = any(each.isdigit() for each in value) and any(each.isalpha() for each in value)
    if len(value) < RANDOM_LEAST_LENGTH or not mixed or any(each.isspace() for each in value):
        return False
    return _bits_per_character(value) >= RANDOM_LEAST_BITS


def _bits_per_character(text: str) -> float:
    """Shannon entropy."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())
