"""Builds every service of `services/`, deploys all of them to the stack's environment, and checks that they work; or
rolls the stack back to a recorded state.
"""

import pulumi

from components.environment import Environment, EnvironmentArgs
from components.preflight import enforce_policies
from components.program import drop_debug_details, exit_silently_when_cancelled, wait_at_once
from components.release import release
from components.rollback import restore
from slipway.process import collect_garbage_rarely

exit_silently_when_cancelled()
drop_debug_details()
collect_garbage_rarely()
enforce_policies()
environment = Environment(pulumi.get_stack(), EnvironmentArgs.from_config())
outputs = restore(environment, environment.rollback) if environment.rollback else release(environment)

for name, value in outputs.items():
    pulumi.export(name, value)
wait_at_once()
