"""Every service.yaml in docs/workloads.md is one that the catalog takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from services.catalog import load

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "docs" / "workloads.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(name: .*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: str(text.split()[1]))
def test_an_example_can_be_copied(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "services" / "example"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch AS test\nFROM scratch AS runtime\n")
    (folder / "service.yaml").write_text(text, encoding="utf-8")
    (service,) = load(tmp_path / "services")
    assert service.name == text.split()[1]


def test_each_kind_has_an_example() -> None:
    kinds = {kind for text in EXAMPLES for kind in re.findall(r"^(?:kind: (\w+)|(migration):)", text, re.MULTILINE)}
    assert kinds == {("Worker", ""), ("CronJob", ""), ("", "migration")}


def test_what_is_shown_of_the_worker_is_in_its_file() -> None:
    (text,) = re.findall(r"^```yaml\n# services/order_worker/service.yaml, in part\n(.*?)^```", PAGE, re.M | re.DOTALL)
    shown, written = yaml.safe_load(text), yaml.safe_load((CHECKOUT / "services/order_worker/service.yaml").read_text())
    for key in ("env", "egress"):  # of which a part is shown
        assert all(each in written[key] for each in shown[key])
        del shown[key]
    assert {key: written[key] for key in shown} == shown
