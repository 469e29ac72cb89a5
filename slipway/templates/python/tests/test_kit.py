"""What the kit does for every service, asked of sample-service."""

from __future__ import annotations

from kit_testing.service import *  # noqa: F403
