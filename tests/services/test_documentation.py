"""docs/ describes service.yaml as it is, and its examples of workloads are those of the services."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from services.catalog import allowed_keys, json_schema

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"
SPECS = [*sorted(CHECKOUT.glob("services/*/service.yaml")), *sorted(CHECKOUT.glob("slipway/templates/*/service.yaml"))]
WORKLOADS_PAGE = (DOCS / "workloads.md").read_text(encoding="utf-8")
WORKLOAD_EXAMPLES = re.findall(r"^```yaml\n(name: .*?)^```", WORKLOADS_PAGE, re.MULTILINE | re.DOTALL)

# Each takes an HTTP path, or what `health` itself takes.
PROBES = {("health", name) for name in ("startup", "live", "ready")}

# Described as a whole: what is in them has Kubernetes' own names, and docs/containers.md an example.
SHAPES = {
    *("affinity", "dnsConfig", "envFrom", "hostAliases", "initContainers", "ports", "sidecars", "tolerations"),
    *("topologySpreadConstraints", "volumes"),
}


def leaves(path: tuple[str, ...] = ()) -> Iterator[str]:
    for key in allowed_keys(path):
        inner = (*path, key)
        if allowed_keys(inner) and inner not in PROBES and key not in SHAPES:
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


@pytest.mark.parametrize("file", SPECS, ids=lambda file: file.parent.name)
def test_editors_find_the_schema_of_every_service(file: Path) -> None:
    first = file.read_text(encoding="utf-8").splitlines()[0]
    (schema,) = re.findall(r"^# yaml-language-server: \$schema=(.+)$", first)
    # the template is a service of its own only once it was copied
    folder = CHECKOUT / "services" / "new" if "templates" in file.parts else file.parent
    assert (folder / schema).resolve() == DOCS / "service.schema.json"


def test_each_kind_of_workload_has_an_example() -> None:
    kinds = {
        kind for text in WORKLOAD_EXAMPLES for kind in re.findall(r"^(?:kind: (\w+)|(migration):)", text, re.MULTILINE)
    }
    assert kinds == {("Worker", ""), ("CronJob", ""), ("", "migration")}


def test_what_is_shown_of_the_worker_is_in_its_file() -> None:
    (text,) = re.findall(
        r"^```yaml\n# services/order_worker/service.yaml, in part\n(.*?)^```", WORKLOADS_PAGE, re.M | re.DOTALL
    )
    shown, written = yaml.safe_load(text), yaml.safe_load((CHECKOUT / "services/order_worker/service.yaml").read_text())
    for key in ("env", "egress"):  # of which a part is shown
        assert all(each in written[key] for each in shown[key])
        del shown[key]
    assert {key: written[key] for key in shown} == shown
