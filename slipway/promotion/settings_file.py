"""Edits `slipway:images` in a `Pulumi.<environment>.yaml`, and nothing else: comments, order and line ends stay."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from services.yaml_source import scalar
from slipway.backend.promotion import BUILD_KEY, IMAGES_KEY, Promotion
from slipway.errors import ConfigurationError, SlipwayError
from slipway.project import NOT_BUILT

FIELDS = ("digest", "from", "update", "commit", "time")
# Fields that Pulumi might read as something else: it reads numbers, dates and words in its own way.
QUOTED = ("commit", "time")
INDENTATION = 2


@dataclass(frozen=True)
class SettingsFile:
    """The settings of an environment as they were read: `text` is the whole file, `images` are the promoted images."""

    file: Path
    text: str = field(repr=False)
    images: Mapping[str, Promotion]
    builds: bool

    @classmethod
    def read(cls, file: Path) -> SettingsFile:
        """Raises ConfigurationError if the file cannot be edited line by line, or its images are invalid."""
        try:
            return cls.of_text(file, file.read_bytes().decode())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file.name} cannot be read.", why=str(error), next_step="Fix it.") from error

    @classmethod
    def of_text(cls, file: Path, text: str) -> SettingsFile:
        """The same for a text that is not, or not yet, in the file."""
        _require_plain(file, text)
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise _refused(file, " ".join(str(error).split())) from error
        config = data.get("config") if isinstance(data, dict) else None
        if not isinstance(config, dict):
            config = {}
        images = config.get(IMAGES_KEY) or {}
        if not isinstance(images, dict):
            raise _refused(file, f"`{IMAGES_KEY}` is {images!r}; allowed: a mapping of services to digests")
        found: dict[str, Promotion] = {}
        for name, value in images.items():
            try:
                found[str(name)] = Promotion.model_validate(value)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, (IMAGES_KEY, name, *first["loc"])))
                raise ConfigurationError(
                    f"{file.name}: `{where}` is {first['input']!r}: {first['msg']}.",
                    why="It was edited by hand.",
                    next_step="Restore the committed file (`git restore`), or remove that service from "
                    f"`{IMAGES_KEY}`; `slipway promote` writes it again.",
                ) from error
        return cls(file, text, found, config.get(BUILD_KEY) not in NOT_BUILT)

    def with_images(self, new: Mapping[str, Promotion]) -> str:
        """The text with `new` under `slipway:images`, beside the services that it already has.

        Raises ConfigurationError if lines cannot be added to the file as it is written.
        """
        text = self.text
        # From the end, so that earlier positions stay valid; of two edits at one place, the first is inserted last.
        for edit in sorted(_edits(self.file, text, new), key=lambda edit: edit.start, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        before, after = yaml.safe_load(self.text) or {}, yaml.safe_load(text)
        images = {name: each.model_dump(by_alias=True) for name, each in {**self.images, **new}.items()}
        expected = {**before, "config": {**(before.get("config") or {}), IMAGES_KEY: images}}
        if after != (expected if new else before):
            raise _refused(self.file, f"`{IMAGES_KEY}` has a format in which lines cannot be changed")
        return text

    def write(self, text: str) -> None:
        """Replace the file with `text` atomically; raises SlipwayError if the file has changed since it was read."""
        file = self.file.resolve()
        if file.read_bytes() != self.text.encode():
            raise SlipwayError(
                f"{self.file.name} was changed during the promotion; that change is kept.",
                next_step="Run the same command again.",
            )
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as written:
            try:
                written.write(text.encode())
                written.flush()
                os.fsync(written.fileno())
                shutil.copymode(file, written.name)
                Path(written.name).replace(file)
            except BaseException:
                Path(written.name).unlink(missing_ok=True)
                raise


@contextlib.contextmanager
def only_promotion(folder: Path) -> Iterator[None]:
    """Hold the lock for promotions in a project's folder; raises SlipwayError if another one holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise SlipwayError(
            "Another promotion is under way in this folder; nothing was changed.",
            next_step="Wait until it is done, then run the same command again.",
        ) from error
    finally:
        os.close(descriptor)


def _require_plain(file: Path, text: str) -> None:
    """Raise ConfigurationError for text in which a line has an effect elsewhere, or columns cannot be relied on."""
    if text.startswith("\ufeff"):
        raise _refused(file, "it begins with a byte order mark")
    for number, line in enumerate(text.splitlines(), 1):
        if "\t" in line:
            raise _refused(file, f"line {number} has a tab; allowed: spaces")
    try:
        tokens = list(yaml.scan(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise _refused(file, " ".join(str(error).split())) from error
    kinds: dict[type[yaml.Token], str] = {
        yaml.AnchorToken: "an anchor",
        yaml.AliasToken: "an alias of an anchor",
        yaml.TagToken: "a tag",
        yaml.DocumentStartToken: "a document start marker",
    }
    for token in tokens:
        if kind := kinds.get(type(token)):
            raise _refused(file, f"line {token.start_mark.line + 1} has {kind}; allowed: each value where it is used")


def _refused(file: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{file.name} cannot be edited: {why}.",
        why="A promotion changes single lines, which this format does not allow. The file is unchanged.",
        next_step="Change the format, and run the same command again.",
    )


@dataclass(frozen=True)
class Edit:
    """Replaces the characters from `start` to `end` with `text`."""

    start: int
    end: int
    text: str


def _edits(file: Path, text: str, new: Mapping[str, Promotion]) -> Iterator[Edit]:
    config = _value_of(yaml.compose(text, Loader=yaml.SafeLoader), "config")
    if not isinstance(config, yaml.MappingNode) or config.flow_style or not config.value:
        raise _refused(file, "`config` is not a mapping with a line for each key")
    column = config.value[0][0].start_mark.column
    images = _value_of(config, IMAGES_KEY)
    present = {key.value: (key, value) for key, value in images.value} if isinstance(images, yaml.MappingNode) else {}
    for name in sorted({*new} & {*present}):
        values = _values(new[name])
        for key, value in present[name][1].value:
            yield Edit(value.start_mark.index, value.end_mark.index, values[key.value])
    added = sorted({*new} - {*present})
    if not added:
        return
    if present and isinstance(images, yaml.MappingNode) and images.flow_style:
        raise _refused(file, f"`{IMAGES_KEY}` is written in braces; allowed: a line for each service")
    if present:  # each after the nearest service that sorts before it
        places: dict[int, list[str]] = defaultdict(list)
        for name in added:
            earlier = [pair for other, pair in present.items() if other < name] or list(present.values())
            places[_last_line(*earlier[-1])] += _entry(
                name, new[name], next(iter(present.values()))[0].start_mark.column
            )
        for line, lines in places.items():
            yield _inserted(text, line, lines)
        return
    lines = [line for name in added for line in _entry(name, new[name], column + INDENTATION)]
    if images is None:
        pairs = {key.value: (key, value) for key, value in config.value}
        where = _last_line(*(pairs.get(BUILD_KEY) or config.value[-1]))
        yield _inserted(text, where, [f"{' ' * column}{IMAGES_KEY}:", *lines])
        return
    # The key has no value, or `{}`.
    key = next(key for key, _ in config.value if key.value == IMAGES_KEY)
    written = len(text[: images.start_mark.index].rstrip(" "))
    yield Edit(written, images.end_mark.index, "")
    yield _inserted(text, key.end_mark.line, lines)


def _value_of(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _entry(name: str, promotion: Promotion, column: int) -> list[str]:
    """The lines of a service, its name at `column`."""
    inner = " " * (column + INDENTATION)
    values = (f"{inner}{field}: {value}" for field, value in _values(promotion).items())
    return [f"{' ' * column}{scalar(name)}:", *values]


def _values(promotion: Promotion) -> dict[str, str]:
    """The values as they are written, by key."""
    values: dict[str, Any] = promotion.model_dump(by_alias=True)
    written = {}
    for key in FIELDS:
        value = values[key]
        if isinstance(value, int):
            written[key] = str(value)
            continue
        if key in QUOTED:
            written[key] = f"'{value}'"
        else:
            written[key] = value if value.startswith("sha256:") else scalar(value)
    return written


def _last_line(*nodes: yaml.Node) -> int:
    """The last line with content of the nodes: in YAML, a block ends where the next begins, after its comments."""
    ends = [(node, node.end_mark) for node in _scalars(nodes)]
    # A literal block ends at the beginning of the line after it.
    return max(end.line - (isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")) for node, end in ends)


def _scalars(nodes: Iterable[yaml.Node]) -> Iterator[yaml.Node]:
    for node in nodes:
        if isinstance(node, yaml.MappingNode) and not node.flow_style:
            yield from _scalars(each for pair in node.value for each in pair)
        elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
            yield from _scalars(node.value)
        else:
            yield node


def _inserted(text: str, line: int, lines: Iterable[str]) -> Edit:
    """Insert `lines` after the line with that number, counted from 0."""
    end = "\r\n" if "\r\n" in text else "\n"
    ends = [found.end() for found in re.finditer("\n", text)]
    added = "".join(f"{each}{end}" for each in lines)
    return Edit(ends[line], ends[line], added) if line < len(ends) else Edit(len(text), len(text), end + added)
