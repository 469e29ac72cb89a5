"""Every service.yaml in docs/workloads.md is one that the catalog takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.catalog import load

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "workloads.md"
EXAMPLES = re.findall(r"^```yaml\n(name: .*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


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
