"""Finds keys with their values in a text, such as `password=x` or `{"password": "x"}`, anywhere in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Everything is possessive and of bounded length, and no two keys begin within one word: a text of any size takes time
# linear in its length. A longer key or value is cut, and is still recognized.
BLANKS = r"[^\S\n]*+"
KEY = r"[\w.-]{1,80}+"
# JSON within a JSON text has `\"` for a quote. A quoted text with blanks is a label, not a secret.
QUOTED = r"\\*+(?:\"(?P<double>[^\"\s]{1,300}+)|'(?P<single>[^'\s]{1,300}+))(?!\s)"
GROUP = r"\{[^{}\s]{0,100}\}|\{"
# As in .env files, query strings, connection strings, options of a JVM and TOML. Not `==`, `=~`, nor computed values.
ASSIGNED = re.compile(
    rf"(?<![^\s{{,;&?\"'(\[|`])(?<!\$\{{)(?:-D)?(?P<key>{KEY})(?:\\*+[\"'])?{BLANKS}=>?{BLANKS}"
    rf"(?={QUOTED}|(?P<bare>(?![=~>{{\[()\\`])(?!(?<=\s)(?:\#|{KEY}=[^\s=]))(?:{GROUP}|[^\s\"',;&{{}}]{{1,100}}+){{1,3}}+))"
)
# As in YAML and JSON: prose has colons too, so a key begins its line, a mapping or an entry, or is in quotes, and only
# a comment follows a value. A plain value begins with none of YAML's indicators.
# https://yaml.org/spec/1.2.2/#53-indicator-characters
MAPPED = re.compile(
    rf"(?:[\"'](?P<quoted_key>{KEY})\\*+[\"']|(?:^|(?<=[{{,;])(?<!\$\{{)){BLANKS}(?:-[^\S\n]++)?(?P<key>{KEY}))"
    rf"{BLANKS}:{BLANKS}"
    rf"(?={QUOTED}|(?P<bare>(?![|>!&*%@`{{\[#:=(\\?])(?:{GROUP}|[^\s\"',{{}}]{{1,100}}+){{1,6}}+)"
    rf"{BLANKS}(?:[,}}\n#]|\Z))",
    re.MULTILINE,
)
# Stands for a value that is somewhere else: a variable, a placeholder, code that computes it, a pattern.
REFERENCE = re.compile(
    r"[$#%@]\w*[({].*|(?:\${1,2}|[:%])\w+%?|\?|\.[*+].*|(?i:x{3,}|\.{3}|redacted|masked|hidden)"
    r"|[A-Za-z_][\w.]*+[(\[](?:.*[()\[\]])?"
    r"|(?:\w*\.)++\w*?(?i:pass|pwd|secret|token|key|cred)\w*"
    r"|(?:[A-Z0-9]+_)*(?:PASSWORD|PASSWD|PASS|PWD|SECRET|TOKEN|KEY)(?:_[A-Z0-9]+)*"
)


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Each key with its value, cut at some hundred characters; a key whose value is a reference is left out."""
    for pattern in (MAPPED, ASSIGNED):
        for match in pattern.finditer(text):
            found = match.groupdict()
            key = found["key"] or found["quoted_key"]
            value = (found["bare"] or found["double"] or found["single"]).rstrip("\\;")
            if value and not REFERENCE.fullmatch(value):
                yield key, value
