"""What the kit does for every service, asked of order-service."""

from __future__ import annotations

from kit_testing.database import *  # noqa: F403
from kit_testing.service import *  # noqa: F403
