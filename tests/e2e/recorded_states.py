"""Reads what the engine recorded of an end-to-end project, with no help of the code under test."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONTENT_HASH = re.compile(r"-[0-9a-f]{8}$")
SECRET_MARK = "4dabf18193072939515e22adb298388d"
NOT_COMPARED = ("pulumi:", "slipway:", "docker-build:")


def folder(project: Any) -> Path:
    return Path(project.environment["PULUMI_BACKEND_URL"].removeprefix("file://")) / ".pulumi"


def state_file(project: Any) -> Path:
    return folder(project) / "stacks" / "slipway" / "e2e.json"


def checkpoint_files(project: Any) -> list[Path]:
    return sorted((folder(project) / "history" / "slipway" / "e2e").glob("*.checkpoint.json"))


def latest(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text())["checkpoint"]["latest"])


def count(project: Any) -> int:
    """How many updates there are, which is the number of the last."""
    return len(checkpoint_files(project))


def raw(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["urn"]: each for each in state["resources"] if not each.get("delete")}


def recorded(project: Any, number: int) -> dict[str, dict[str, Any]]:
    """The resources that an update left, by URN."""
    return raw(latest(checkpoint_files(project)[number - 1]))


def present(project: Any) -> dict[str, dict[str, Any]]:
    return raw(latest(state_file(project)))


def outputs(project: Any, number: int) -> Any:
    return next(each for each in recorded(project, number).values() if each["type"] == "pulumi:pulumi:Stack")["outputs"]


def object_inputs(resources: dict[str, dict[str, Any]]) -> dict[str, dict[tuple[Any, ...], Any]]:
    """Of each object of the cluster, its recorded inputs as one value per path.

    A secret is encrypted anew at every update, so it counts as one value that is there; the Secret's name is a hash
    over it.
    """
    return {
        urn: dict(_paths(each["inputs"], ()))
        for urn, each in resources.items()
        if each["custom"] and not each["type"].startswith(NOT_COMPARED)
    }


def _paths(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict) and SECRET_MARK in value:
        yield path, "a secret"
    elif isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _paths(each, (*path, key))
    elif isinstance(value, list) and value:
        for index, each in enumerate(value):
            yield from _paths(each, (*path, index))
    else:
        yield path, value


def number_of_inputs(objects: dict[str, dict[tuple[Any, ...], Any]]) -> int:
    return sum(len(each) for each in objects.values())


def masked(value: Any) -> Any:
    """With every secret shown to be one: at each update the engine encrypts all of them anew."""
    if isinstance(value, dict):
        return "a secret" if SECRET_MARK in value else {key: masked(each) for key, each in value.items()}
    return [masked(each) for each in value] if isinstance(value, list) else value


def of_service(resources: dict[str, dict[str, Any]], service: str) -> dict[str, dict[str, Any]]:
    """Those of a service's own components, of whatever type, with all that the engine wrote about them."""
    types = ("slipway:index:Microservice", "slipway:index:ServiceImage")
    names = (service, f"{service}-test", f"{service}-account")
    by_stem = {urn: CONTENT_HASH.sub("", urn.split("::")[3]) for urn in resources if any(each in urn for each in types)}
    mine = (urn for urn, name in by_stem.items() if name in names)
    return {urn: masked(resources[urn]) for urn in mine}


def history(project: Any) -> list[dict[str, Any]]:
    """As `slipway history` gives it to a script, oldest first."""
    shown = project.slipway("history", "-s", "e2e", "--json", "--limit", "100")
    assert shown.code == 0, shown.output
    return list(reversed(json.loads(shown.output[shown.output.index("[") :])))


def in_cluster(project: Any) -> dict[str, tuple[str, str]]:
    """uid and resourceVersion of every object of the namespace that an update makes, by `Kind name`."""
    namespace, found = project.namespace, {}
    for group, kinds in (
        ("/api/v1", ("configmaps", "secrets", "services", "serviceaccounts")),
        ("/apis/apps/v1", ("deployments",)),
        ("/apis/networking.k8s.io/v1", ("networkpolicies",)),
        ("/apis/policy/v1", ("poddisruptionbudgets",)),
    ):
        for kind in kinds:
            for item in project.get(f"{group}/namespaces/{namespace}/{kind}")["items"]:
                metadata = item["metadata"]
                found[f"{kind} {metadata['name']}"] = (metadata["uid"], metadata["resourceVersion"])
    return found
