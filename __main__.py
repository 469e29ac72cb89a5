"""Builds every service of `services/`, deploys them all to the stack's environment, and checks that they work."""

import pulumi

from components.environment import Environment, EnvironmentArgs
from components.gate import pass_policies
from components.release import build, deploy, verify

pass_policies()
environment = Environment(pulumi.get_stack(), EnvironmentArgs.from_config())
images = build(environment)
microservices = deploy(environment, images)

pulumi.export("checks", verify(environment, microservices))
pulumi.export(
    "services",
    {name: {"url": service.url, "image": images[name].reference} for name, service in microservices.items()},
)
