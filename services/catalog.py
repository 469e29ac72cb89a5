"""Finds, validates and orders the services of this repository."""

from __future__ import annotations

import copy
import difflib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from services.builds import Build, build_problems
from services.contradictions import contradictions
from services.files import MountedFile, is_utf_8, mounted_files, readable
from services.spec import ServiceSpec
from services.workloads import MIGRATION_SUFFIX
from services.yaml_source import (
    CONTAINER_LISTS,
    DEFAULTS_KEY,
    SERVICES_KEY,
    TEXT_MAPPINGS,
    KeyPath,
    YamlError,
    YamlSource,
    is_odd_number,
    is_text,
    read,
)

SPEC_FILE = "service.yaml"
RESOURCES_FILE = "resources.py"
CATALOG_FOLDER = Path(__file__).resolve().parent


class CatalogError(ValueError):
    """All problems of the services, one per line, each with its file and line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Service:
    """A validated service, its folder, the sources of its image (context, Dockerfile and named contexts), all relative
    to the repository, and the files that its containers get.
    """

    spec: ServiceSpec
    folder: Path
    contexts: Mapping[str, Path] = field(default_factory=dict)
    files: tuple[MountedFile, ...] = ()

    @property
    def context(self) -> Path:
        return _below(self.folder, self.spec.build.context)

    @property
    def dockerfile(self) -> Path:
        return _below(self.folder, self.spec.build.dockerfile)

    @property
    def name(self) -> str:
        return self.spec.name


@dataclass(frozen=True)
class Overrides:
    """Values that one environment overrides, by service name, and the file they were read from."""

    services: Mapping[str, Mapping[str, Any]]
    defaults: Mapping[str, Any]
    source: YamlSource | None = None
    key: str = SERVICES_KEY
    defaults_key: str = DEFAULTS_KEY

    def where(self, path: KeyPath) -> str:
        if self.source is None:
            return ".".join(map(str, (self.key, *path)))
        return f"{self.source.file}:{self.source.line(('config', self.key, *path))}"


def load(root: Path = CATALOG_FOLDER, overrides: Overrides | None = None) -> tuple[Service, ...]:
    """Every service under `root`, each one after the services that it calls.

    Raises CatalogError with all problems at once.
    """
    overrides = overrides or Overrides(services={}, defaults={})
    problems: list[str] = []
    found: list[tuple[Service, YamlSource]] = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if not (folder / SPEC_FILE).exists() and not (folder / "Dockerfile").exists():
            continue
        try:
            found.append(_read_service(folder, root, overrides))
        except (CatalogError, YamlError) as error:
            problems.extend(str(error).splitlines())
    names = [service.name for service, _ in found]
    # A service with problems is not in `names`, so unknown names are reported only if no service has problems.
    if not problems:
        for name in overrides.services:
            if name not in names:
                problems.append(f"{overrides.where((name,))}: no service is named `{name}`; {_others(name, names)}")
    problems.extend(_clashes(found))
    is_complete = not problems
    without_port = {service.name: service.spec.kind for service, _ in found if not service.spec.has_port}
    for service, source in found:
        for index, callee in enumerate(service.spec.calls):
            where = f"{source.file}:{source.line(('calls', index))}"
            if kind := without_port.get(callee):
                problems.append(f"{where}: calls `{callee}`, which is a {kind} and has no port; remove the call")
            if is_complete and callee not in names:
                problems.append(f"{where}: calls `{callee}`, which is not a service; {_others(callee, names)}")
    if problems:
        raise CatalogError(problems)
    return _callees_first(found)


def _read_service(folder: Path, root: Path, overrides: Overrides) -> tuple[Service, YamlSource]:
    shown = folder.relative_to(root.parent)
    if not is_utf_8(folder.name):
        why = "its name is not UTF-8, which Pulumi and BuildKit require"
        raise CatalogError([f"{readable(shown)}: {why}; rename the folder"])
    if folder.is_symlink():
        where = f"only folders in {root.name}/ are built and approved; move the folder here"
        raise CatalogError([f"{shown}: it is a symbolic link to {folder.readlink()}, and {where}"])
    if not (folder / SPEC_FILE).is_file():
        raise CatalogError([f"{shown}: has a Dockerfile and no {SPEC_FILE}; write one, or remove the folder"])
    source = read(folder / SPEC_FILE, shown_as=shown / SPEC_FILE)
    written, misread = _as_written(source)
    if misread:
        raise CatalogError(misread)
    name = source.data.get("name")
    override = overrides.services.get(str(name), {})
    try:
        spec = ServiceSpec.model_validate(_merge(_merge(overrides.defaults, written), override))
    except ValidationError as error:
        raise CatalogError(_explain(error, source, overrides, str(name))) from error
    problems = [
        f"{_where(path, source, overrides, spec.name)}: {text}"
        for path, text in contradictions(spec, {*written, *override})
    ]
    contexts = {name: _below(shown, location) for name, location in spec.contexts.items()}
    files, unusable = mounted_files(spec, folder, root)
    service = Service(spec, shown, contexts, files)
    found = [*unusable, *(() if problems or spec.image else _build_problems(service, root))]
    problems.extend(f"{_where(path, source, overrides, spec.name)}: {text}" if path else text for path, text in found)
    if problems:
        raise CatalogError(problems)
    return service, source


def _below(folder: Path, location: str) -> Path:
    return Path(os.path.normpath(folder / location))


def _build_problems(service: Service, root: Path) -> Iterator[tuple[KeyPath, str]]:
    """Problems of the sources of the image; only files below services/ are approved."""
    build, main = service.spec.build, service.context
    folders = {("contexts", name): (name, service.spec.contexts[name], at) for name, at in service.contexts.items()}
    for path, (shown, location, folder) in {("build", "context"): ("context", build.context, main), **folders}.items():
        text, allowed = f"`{shown}` is {location!r}", f"allowed: a folder below {root.name}/, like '../kit'"
        if problem := _place_problem(folder, root):
            yield path, f"{text}, {problem}; {allowed}"
        elif not (root.parent / folder).is_dir():
            yield path, f"{text}, and there is no folder {folder}; {allowed}"
        elif path[0] == "contexts" and (folder == main or folder in main.parents or main in folder.parents):
            yield path, f"{text}, which overlaps the build context and is already in the build; {allowed}"
    dockerfile = root.parent / service.dockerfile
    if problem := _place_problem(service.dockerfile, root):
        yield ("build", "dockerfile"), f"`dockerfile` is {build.dockerfile!r}, {problem}"
    elif not dockerfile.is_file():
        how = "; or name an `image` that is built elsewhere" if build.dockerfile == Build().dockerfile else ""
        yield (
            (),
            f"{service.folder}: {build.dockerfile} is missing; the image of {service.name!r} is built from it{how}",
        )
    else:
        yield from build_problems(build, dockerfile, service.dockerfile)


def _place_problem(path: Path, root: Path) -> str:
    if path.parts[:1] != (root.name,) or len(path.parts) == 1:
        return f"which is outside of {root.name}/"
    if (root.parent / path).resolve() != root.parent.resolve() / path:
        return "which is a symbolic link"
    return ""


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`; mappings merge, everything else replaces."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merge(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged


def _as_written(source: YamlSource) -> tuple[dict[str, Any], list[str]]:
    """The data of the file, numbers and dates in TEXT_MAPPINGS as they are written, and problems of other numbers.

    YAML reads `01234` as 668 and `12:30` as 750.
    """
    problems = [
        f"{source.file}:{source.line(path)}: `{'.'.join(map(str, path))}` is written {text}, which YAML reads as "
        "another number; write it in plain decimal digits"
        for path, text in source.unquoted.items()
        if not is_text(path) and is_odd_number(text) and not isinstance(_value_at(source.data, path), str | date)
    ]
    data = copy.deepcopy(source.data)
    mappings: list[KeyPath] = [*TEXT_MAPPINGS]
    for kind in CONTAINER_LISTS:
        listed = data.get(kind)
        mappings += [(kind, index, "env") for index in range(len(listed) if isinstance(listed, list) else 0)]
    for mapping in mappings:
        texts = _value_at(data, mapping)
        if not isinstance(texts, dict):
            continue
        for key, value in texts.items():
            path = (*mapping, str(key))
            if isinstance(value, bool) or not isinstance(value, int | float | date):
                continue
            if path in source.unquoted:
                texts[key] = source.unquoted[path]
            else:  # from an anchor: how it is written is not known here
                shown = ".".join(map(str, path))
                problems.append(f"{source.file}:{source.line(path)}: YAML reads `{shown}` as {value}; put it in quotes")
    return data, problems


def _value_at(data: Any, path: KeyPath) -> Any:
    for part in path:
        known = isinstance(part, int) if isinstance(data, list) else isinstance(data, dict) and part in data
        data = data[part] if known else None
    return data


def _explain(error: ValidationError, source: YamlSource, overrides: Overrides, name: str) -> list[str]:
    problems = []
    for detail in error.errors():
        # Brackets are pydantic's: `[key]` for the key itself, or the tag of the type that a value was taken for.
        path: KeyPath = tuple(part for part in detail["loc"] if not str(part).startswith("["))
        key = ".".join(map(str, path))
        message = detail["msg"].removeprefix("Value error, ").replace("Input should", "it should")
        if detail["type"] == "extra_forbidden":
            allowed = allowed_keys(path[:-1])
            text = f"unknown key `{key}`; {_did_you_mean(str(path[-1]), allowed)}Allowed here: {', '.join(allowed)}"
        elif detail["type"] == "missing":
            text = f"`{key}` is missing"
        elif detail["type"] == "value_error":
            text = f"`{key}`: {message}"
        else:
            text = f"`{key}` is {detail['input']!r}; {message}"
        problems.append(f"{_where(path, source, overrides, name)}: {text}")
    return problems


def _where(path: KeyPath, source: YamlSource, overrides: Overrides, name: str) -> str:
    """File and line of the value that counts for a service at `path`, or the environment's key that has it."""
    if overrides.source is not None and overrides.source.has(("config", overrides.key, name, *path)):
        return overrides.where((name, *path))
    if not source.has(path) and _present(overrides.defaults, path):
        return overrides.defaults_key
    return f"{source.file}:{source.line(path)}"


def _present(data: Any, path: KeyPath) -> bool:
    for part in path:
        if not isinstance(data, Mapping) or part not in data:
            return False
        data = data[part]
    return bool(path)


def _others(name: str, names: list[str]) -> str:
    """What to write instead of a name that no service has."""
    return f"{_did_you_mean(name, names)}The services: {', '.join(names)}"


def _did_you_mean(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean `{near[0]}`? " if near else ""


def allowed_keys(path: KeyPath) -> list[str]:
    """Keys that `service.yaml` may have in the mapping at `path`, as written in the file; none if they are free,
    and none if there is no mapping.
    """
    annotation: Any = ServiceSpec
    for part in path:
        if isinstance(part, int):
            continue
        if free := _mapping_in(annotation):
            annotation = get_args(free)[1]
        elif model := _model_in(annotation):
            fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
            annotation = fields.get(str(part))
        else:
            return []
    found = None if _mapping_in(annotation) else _model_in(annotation)
    return sorted(field.alias or name for name, field in found.model_fields.items()) if found else []


def _mapping_in(annotation: Any) -> Any:
    """The `dict` among the types of an annotation."""
    if get_origin(annotation) is dict:
        return annotation
    if isinstance(annotation, type):
        return None
    return next((found for inner in get_args(annotation) if (found := _mapping_in(inner))), None)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := _model_in(inner))), None)


def _clashes(found: list[tuple[Service, YamlSource]]) -> Iterator[str]:
    """Names, node ports, Ingress addresses and claims that two services both have."""
    claimed: dict[tuple[str, str], Path] = {}
    for service, source in found:
        spec = service.spec
        claims: list[tuple[KeyPath, str, str]] = [(("name",), "the name", spec.name)]
        if spec.migration:  # the name of its pods
            claims.append((("migration",), "the name", f"{spec.name}{MIGRATION_SUFFIX}"))
        if spec.service.node_port:
            claims.append((("service", "nodePort"), "the node port", str(spec.service.node_port)))
        if spec.ingress:
            claims.append((("ingress",), "the address", spec.ingress.host + spec.ingress.path))
        for index, volume in enumerate(spec.volumes):
            if claim := spec.claim_name(volume):
                claims.append((("volumes", index), "the PersistentVolumeClaim", claim))
        for path, what, value in claims:
            first = claimed.setdefault((what, value), source.file)
            if first != source.file:
                yield f"{source.file}:{source.line(path)}: {what} `{value}` is already used by {first}; choose another"


def _callees_first(found: list[tuple[Service, YamlSource]]) -> tuple[Service, ...]:
    by_name = {service.name: service for service, _ in found}
    try:
        order = list(TopologicalSorter({name: service.spec.calls for name, service in by_name.items()}).static_order())
    except CycleError as error:
        circle = [str(name) for name in reversed(error.args[1])]
        source = next(source for service, source in found if service.name == circle[0])
        raise CatalogError(
            [
                f"{source.file}:{source.line(('calls',))}: services call each other in a cycle: "
                f"{' -> '.join(circle)}; a rollout needs an order, so remove one of the calls"
            ]
        ) from error
    return tuple(by_name[name] for name in order)


def json_schema() -> dict[str, Any]:
    """JSON Schema of `service.yaml`, for editors."""
    return TypeAdapter(ServiceSpec).json_schema(by_alias=True)


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))  # noqa: T201 (the schema is what is asked for)
