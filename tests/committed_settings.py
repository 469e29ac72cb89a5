"""The committed settings of an environment, as the engine hands them to the program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from services.catalog import load

ROOT = Path(__file__).resolve().parents[1]
DIGEST = "sha256:" + "2" * 64
PROMOTED = {"digest": DIGEST, "from": "dev", "update": 12, "commit": "0123456789", "time": "2030-01-01T00:00:00Z"}


def committed_settings(stack: str) -> dict[str, str]:
    """None of a stack that has no file. Where nothing is built, every service has a digest, as after a promotion."""
    file = ROOT / f"Pulumi.{stack}.yaml"
    values: dict[str, Any] = yaml.safe_load(file.read_text())["config"] if file.exists() else {}
    if values.get("slipway:build") is False:
        images = {service.name: PROMOTED for service in load()}
        values = {**values, "slipway:images": images | (values.get("slipway:images") or {})}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
