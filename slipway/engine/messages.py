"""Every message of the program that crosses the engine as text: how it begins, for who writes it and who reads it.

The engine hands on what a program raises as a diagnostic event, its text alone, and what a policy says of a resource as
a violation. Needs no other module: `policy/` reads it too.
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
"""A rule asks for a value that is not known yet: no violation, nor is what is waived."""
WAIVED = "Waived "
DIAGNOSIS = "Diagnosis: "
"""The screen of a failed rollout; a person is shown it without this."""
CHECKS_FAILED = re.compile(r"^\d+ of \d+ checks failed:", re.MULTILINE)
"""What `checks_failed` writes."""


def checks_failed(failures: int, total: int) -> str:
    return f"{failures} of {total} checks failed:"
