"""Credentials: no secrets in environment variables, ConfigMaps or build arguments."""

from __future__ import annotations

from collections.abc import Iterator

from policy.declaration import Problem, View, problems_of
from policy.kinds import builds, container_name, containers, objects
from policy.model import rule
from policy.secret_literals import finding

SECRETS_PAGE = "https://kubernetes.io/docs/concepts/configuration/secret/"
REMEDY = "Put it into a Secret: `secrets: [NAME]` in service.yaml, its value with `pulumi config set --secret`."


@rule(
    "no-secret-in-env",
    title="No environment variable of a container has a secret in plain text",
    why="Anyone who may read the workload can read the secret, and it stays in the history.",
    source=f"kube-linter: env-var-secret; {SECRETS_PAGE}",
    remedy=REMEDY,
    of=containers,
)
def no_secret_in_env(container: View) -> Iterator[Problem]:
    def check(variable: View) -> Iterator[Problem]:
        value = variable.at("value")
        if kind := finding(variable.at("name").text() or "", value.text()):
            yield value.problem(
                f"variable `{variable.at('name').value}` of {container_name(container)} looks like {kind}; "
                "allowed: a reference to a Secret"
            )

    return problems_of(container.at("env").items(), check)


@rule(
    "no-secret-in-config-map",
    title="No ConfigMap contains a secret",
    why="ConfigMaps are not encrypted, and far more people and services may read them than Secrets.",
    source=SECRETS_PAGE,
    remedy=REMEDY,
    of=objects("ConfigMap"),
)
def no_secret_in_config_map(config_map: View) -> Iterator[Problem]:
    def check(entry: tuple[str, View]) -> Iterator[Problem]:
        name, value = entry
        if kind := finding(name, value.text()):
            yield value.problem(f"the value looks like {kind}; allowed: a key of a Secret")

    return problems_of(config_map.at("data").entries().items(), check)


@rule(
    "no-secret-in-build",
    title="No secret is a build argument",
    why="Build arguments are stored in the image's history: anyone who can pull the image can read them.",
    source="https://docs.docker.com/reference/build-checks/secrets-used-in-arg-or-env/",
    remedy="Use a secret mount (`RUN --mount=type=secret`) and the build's `secrets`.",
    of=builds,
)
def no_secret_in_build(build: View) -> Iterator[Problem]:
    def check(argument: tuple[str, View]) -> Iterator[Problem]:
        name, value = argument
        if kind := finding(name, value.text()):
            yield value.problem(f"build argument `{name}` looks like {kind}; allowed: a secret mount")

    return problems_of(build.at("buildArgs").entries().items(), check)
