"""What the kit does for every service, asked of sample-service."""

from __future__ import annotations

from kit_testing.health import *  # noqa: F403
from kit_testing.listening import *  # noqa: F403
from kit_testing.problems import *  # noqa: F403
from kit_testing.process import *  # noqa: F403
from kit_testing.telemetry import *  # noqa: F403
