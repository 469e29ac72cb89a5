"""YAML files, with the line of every value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

# Numbers and dates of YAML 1.1 (PyYAML) or 1.2 (Pulumi), in the notations that Pulumi knows.
# https://yaml.org/type/int.html, https://yaml.org/spec/1.2.2/#1032-tag-resolution
NUMBER_PATTERN = re.compile(
    r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?|[-+]?0[xob][\da-fA-F_]+"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)|\d{4}-\d\d?-\d\d?([Tt \t].*)?",
    re.ASCII,
)
# Only in YAML 1.1: `12:30` is 750.
SEXAGESIMAL_PATTERN = re.compile(r"[-+]?\d[\d_]*(:[0-5]?\d)+(\.\d*)?", re.ASCII)
DECIMAL_PATTERN = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?", re.ASCII)
PLAIN_PATTERN = re.compile(r"[A-Za-z][\w.-]*", re.ASCII)
# Longer numbers are rounded on their way through JSON.
DIGITS_KEPT = 15
SERVICES_KEY, DEFAULTS_KEY = "slipway:services", "slipway:defaults"
# Processes and builds get these values as text, exactly as written.
TEXT_MAPPINGS: tuple[tuple[str, ...], ...] = (("env",), ("build", "args"))
# Their items have an `env` of their own, besides the service's.
CONTAINER_LISTS = ("initContainers", "sidecars")
OTHER_SPELLINGS = {"True", "TRUE", "False", "FALSE", "Null", "NULL", "~"}

# In C if there is one: at 50 services the other takes a third of a second more.
SAFE_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

KeyPath = tuple[str | int, ...]


class YamlError(ValueError):
    """The file is no YAML mapping; the message names file and line."""


@dataclass(frozen=True)
class YamlSource:
    """A parsed mapping and the 1-based line of each of its keys, by key path: `("health", "live") -> 12`.

    `unquoted` are the scalars without quotes in the file, letter for letter.
    """

    file: Path
    data: dict[str, Any]
    lines: dict[KeyPath, int]
    unquoted: dict[KeyPath, str] = field(default_factory=dict)

    def line(self, path: KeyPath) -> int:
        """Line of the value at `path`, or of the nearest value around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def has(self, path: KeyPath) -> bool:
        """Whether the file itself has something at this path."""
        return path in self.lines


def read(file: Path, *, shown_as: Path | None = None, example: str = "name: my-service") -> YamlSource:
    """Parse `file`; `shown_as` is the name that messages use, `example` a mapping that it may begin with.

    Raises YamlError for text that is no YAML, for a document that is no mapping and for a key given twice,
    which plain YAML readers would overwrite silently.
    """
    shown = shown_as or file
    try:
        text = file.read_text(encoding="utf-8")
        loader = SAFE_LOADER(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _marked(shown, error) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YamlError(f"{shown}:1: not valid YAML: {error}") from error
    if not isinstance(node, yaml.MappingNode):
        hint = f", as in `{example}`" if example else ""
        raise YamlError(f"{shown}:1: expected a mapping of keys to values here{hint}")
    source = YamlSource(shown, {}, {})
    _collect(node, (), source)
    try:  # after that, because it takes merge keys apart
        source.data.update(loader.construct_document(node))
    except yaml.MarkedYAMLError as error:
        raise _marked(shown, error) from error
    except ValueError as error:  # a date that is in no calendar
        raise YamlError(f"{shown}:{node.start_mark.line + 1}: not valid YAML: {error}") from error
    return source


def _marked(shown: Path, error: yaml.MarkedYAMLError) -> YamlError:
    """The error with the line that the parser names."""
    line = error.problem_mark.line + 1 if error.problem_mark else 1
    return YamlError(f"{shown}:{line}: not valid YAML: {error.problem}")


def scalar(text: str) -> str:
    """A name or a word as it is written in YAML: in quotes where it would be read as something else, as `on` is."""
    is_plain = PLAIN_PATTERN.fullmatch(text) is not None and yaml.safe_load(text) == text
    return text if is_plain else f"'{text}'"


def is_read_as_another(text: str) -> bool:
    """Whether Pulumi, which reads numbers and dates and writes them in its own way, changes this text.

    `01234` becomes `668`, `1.10` becomes `1.1`, a date gets a time.
    """
    if NUMBER_PATTERN.fullmatch(text) is None:
        return text in OTHER_SPELLINGS
    is_short = sum(map(str.isdigit, text)) <= DIGITS_KEPT
    return not (is_short and DECIMAL_PATTERN.fullmatch(text) and not ("." in text and text.endswith("0")))


def is_odd_number(text: str) -> bool:
    """Whether a number is written in a notation that people read as another number: `010` (8), `1:30` (90), `1_0`."""
    is_number = NUMBER_PATTERN.fullmatch(text) or SEXAGESIMAL_PATTERN.fullmatch(text)
    return is_number is not None and DECIMAL_PATTERN.fullmatch(text) is None


def is_text(path: KeyPath) -> bool:
    """Whether the value at a path in a service's description is text, whatever it looks like: a build argument, or a
    variable of one of the containers.
    """
    if any(path[: len(mapping)] == mapping for mapping in TEXT_MAPPINGS):
        return True
    return path[:1] != () and path[0] in CONTAINER_LISTS and path[2:3] == ("env",)


def misread_settings(source: YamlSource) -> list[str]:
    """A problem for each value of a `Pulumi.<environment>.yaml` that Pulumi passes to the program in another form.

    Pulumi rewrites the file in the same way whenever it saves it, so this is checked before Pulumi runs.
    """
    problems = []
    for path, text in source.unquoted.items():
        if path[:1] != ("config",) or len(path) < 2:
            continue
        key = ".".join(map(str, path[1:]))
        text_value = is_text(path[3:] if path[1] == SERVICES_KEY else path[2:] if path[1] == DEFAULTS_KEY else ())
        if (len(path) == 2 or text_value) and is_read_as_another(text):
            problems.append(
                f"{source.file}:{source.line(path)}: `{key}` is written {text}, which Pulumi changes to "
                f"another text; put it in quotes: '{text}'"
            )
        elif path[1] in {SERVICES_KEY, DEFAULTS_KEY} and not text_value and is_odd_number(text):
            problems.append(
                f"{source.file}:{source.line(path)}: `{key}` is written {text}, which Pulumi reads as another "
                "number; write it in plain decimal digits"
            )
    return problems


def _collect(node: yaml.Node, path: KeyPath, source: YamlSource) -> None:
    lines, shown = source.lines, source.file
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode) and not node.style:
        source.unquoted[path] = node.value
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _collect(item, (*path, index), source)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            line = key.start_mark.line + 1
            if here in lines:
                raise YamlError(f"{shown}:{line}: `{key.value}` is given twice, first on line {lines[here]}")
            lines[here] = line
            _collect(value, here, source)
