"""The variables that `slipway env` gives, for tests that run the engine by themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def lab_exports(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """As a shell with `variables` too gets them in this checkout."""
    shown = subprocess.run(
        [sys.executable, "-m", "slipway.cli.main", "env", "--json"],
        cwd=ROOT,
        env={**os.environ, **(variables or {})},
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(shown.stdout))
