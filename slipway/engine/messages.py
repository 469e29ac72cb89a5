"""The prefixes of all messages that the program passes through the engine as text, for their writers and readers.

The engine passes on a program's exception as a diagnostic event, only its text, and a policy's message about a resource
as a violation. This module needs no other: `policy/` reads it too.
"""

from __future__ import annotations

import re

CONFIGURATION_ERROR = "Configuration error:"
"""A setting or a service that cannot be used: exit code 2."""
ROLLBACK_ERROR = "Rollback error:"
"""A recorded state that cannot be declared again."""
POLICY_ERROR = "Policy error:"
"""The policies could not be evaluated: exit code 3, as for a violation."""
POLICY_VIOLATION = "Policy violation:"
POLICY_REFUSALS = (POLICY_VIOLATION, POLICY_ERROR)
DECIDED_AT_UPDATE = "Decided at update: "
"""A rule needs a value that is not known yet. This is no violation, and neither is a waived one."""
WAIVED = "Waived "
DIAGNOSIS = "Diagnosis: "
"""The diagnosis of a failed rollout; users see it without this prefix."""
CHECKS_FAILED = re.compile(r"^\d+ of \d+ checks failed:", re.MULTILINE)
"""Matches the text of `checks_failed`."""


def checks_failed(failures: int, total: int) -> str:
    return f"{failures} of {total} checks failed:"
