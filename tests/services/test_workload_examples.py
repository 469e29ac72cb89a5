"""docs/workloads.md has an example of each kind, and shows what is in the files."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "docs" / "workloads.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(name: .*?)^```", PAGE, re.MULTILINE | re.DOTALL)


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
