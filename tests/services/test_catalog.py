"""The catalogue refuses what cannot work, naming file, line, the value met and what is allowed."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.catalog import CatalogError, Overrides, allowed_keys, load
from services.quantities import quantity_value
from services.spec import ServiceSpec, service_name
from services.yaml_source import misread_settings, read
from tests.example import SERVICES


def write(root: Path, folder: str, text: str, *, dockerfile: bool = True) -> None:
    (root / folder).mkdir(parents=True)
    (root / folder / "service.yaml").write_text(dedent(text))
    if dockerfile:
        (root / folder / "Dockerfile").write_text("FROM scratch AS test\nFROM scratch AS runtime\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "services"
    folder.mkdir()
    return folder


def problems(root: Path, overrides: Overrides | None = None) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load(root, overrides)
    return list(caught.value.problems)


def overrides(tmp_path: Path, text: str) -> Overrides:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(dedent(text))
    source = read(file, shown_as=Path("Pulumi.dev.yaml"))
    config = source.data["config"]
    return Overrides(config.get("slipway:services", {}), config.get("slipway:defaults", {}), source)


def test_callees_come_before_their_callers(root: Path) -> None:
    write(root, "a", "name: a\ncalls: [c]\n")
    write(root, "b", "name: b\n")
    write(root, "c", "name: c\ncalls: [b]\n")
    assert [service.name for service in load(root)] == ["b", "c", "a"]
    assert load(root)[0].folder == Path("services/b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nreplcas: 2\n", "services/a/service.yaml:2: unknown key `replcas`; did you mean `replicas`? Allowed"),
        (
            "name: a\nhealth:\n  redy: /\n",
            "services/a/service.yaml:3: unknown key `health.redy`; did you mean `ready`? Allowed here: exec, grpc, "
            "httpGet, live, ready, startup, startupTimeoutSeconds, tcp, tcpSocket",
        ),
        (
            "name: a\nreplicas: -1\n",
            "services/a/service.yaml:2: `replicas` is -1; it should be greater than or equal to 0",
        ),
        ("name: a\nreplicas: two\n", "services/a/service.yaml:2: `replicas` is 'two'; it should be a valid integer"),
        ("name: a\nport: 80\n", "services/a/service.yaml:2: `port` is 80; it should be greater than or equal to 1024"),
        ("name: A_b\n", "services/a/service.yaml:1: `name`: 'A_b' is not a DNS label"),
        ("port: 8080\n", "services/a/service.yaml:1: `name` is missing"),
        (
            "name: a\nresources:\n  cpu: 1\n  memory: lots\n",
            "services/a/service.yaml:4: `resources.memory`: 'lots' is not a Kubernetes quantity; allowed are",
        ),
        ("name: a\nresources: {memory: '0'}\n", "services/a/service.yaml:2: `resources.memory`: '0' must be more than"),
        (
            "name: a\nresources: {memory: 128m}\n",
            "services/a/service.yaml:2: `resources.memory`: '128m' is 0.128 bytes; did you mean `128Mi`? allowed are",
        ),
        (
            "name: a\nresources: {memory: 128}\n",
            "services/a/service.yaml:2: `resources.memory`: '128' is 128 bytes",
        ),
        (
            "name: a\nresources: {memory: 1k}\n",
            "services/a/service.yaml:2: `resources.memory`: '1k' is 1000 bytes",
        ),
        (
            "name: a\nresources: {memory: 128MB}\n",
            "services/a/service.yaml:2: `resources.memory`: '128MB' is not a Kubernetes quantity; did you mean `128Mi",
        ),
        (
            "name: a\nresources: {ephemeralStorage: 256m}\n",
            "services/a/service.yaml:2: `resources.ephemeralStorage`: '256m' is 0.256 bytes; did you mean `256Mi",
        ),
        (
            "name: a\nscratch: {/data: 64m}\n",
            "services/a/service.yaml:2: `scratch./data`: '64m' is 0.064 bytes; did",
        ),
        (
            "name: a\nscratch: {/data: 64}\n",
            "services/a/service.yaml:2: `scratch./data`: '64' is 64 bytes; did you",
        ),
        (
            "name: a\nresources: {cpu: 128Mi}\n",
            "services/a/service.yaml:2: `resources.cpu`: '128Mi' is 134217728 cores; did you mean `128m`? allowed are",
        ),
        ("name: a\nresources: {cpu: 500}\n", "services/a/service.yaml:2: `resources.cpu`: '500' is 500 cores; did you"),
        ("name: a\nresources: {cpu: 0.0005}\n", "services/a/service.yaml:2: `resources.cpu`: '0.0005' is finer than"),
        (
            "name: a\nresources: {cpu: '٣'}\n",
            "services/a/service.yaml:2: `resources.cpu`: '٣' is not an amount of CPU",
        ),
        (
            "name: a\nimagePullSecrets: [ok, a_b]\n",
            "services/a/service.yaml:2: `imagePullSecrets.1`: 'a_b' is not a name of Kubernetes: lower-case",
        ),
        (
            f"name: a\ningress: {{host: {'x' * 64}.example}}\n",
            f"services/a/service.yaml:2: `ingress.host`: '{'x' * 64}.example' is not a host name like shop.example",
        ),
        ("name: a\ningress: {host: http://a.b}\n", "services/a/service.yaml:2: `ingress.host`: 'http://a.b' is not a"),
        (
            "name: a\ningress: {host: a.b, tlsSecretName: My Cert}\n",
            "services/a/service.yaml:2: `ingress.tlsSecretName`: 'My Cert' is not a name of Kubernetes: lower",
        ),
        (
            f"name: a\nenv: {{{'X' * 254}: y}}\n",
            f"services/a/service.yaml:2: `env.{'X' * 254}`: '{'X' * 254}' cannot name",
        ),
        ("name: a\nimagePullSecrets: [b, b]\n", "services/a/service.yaml:2: b is listed twice"),
        ("name: a\nenv: {DEBUG: yes}\n", "services/a/service.yaml:2: `env.DEBUG`: must be text; put it in quotes"),
        ("name: a\nenv: {9X: y}\n", "services/a/service.yaml:2: `env.9X`: '9X' cannot name an environment variable"),
        ("name: a\nenv: {PORT: '1'}\n", "services/a/service.yaml:2: PORT is set by Slipway itself"),
        ("name: a\nenv: {X: y}\nsecrets: [X]\n", "services/a/service.yaml:2: X is both in `env` and in `secrets`"),
        ("name: a\ncalls: [a]\n", "services/a/service.yaml:2: a calls itself"),
        ("name: a\ncalls: [b]\n", "services/a/service.yaml:2: calls `b`, which is not a service; The services: a"),
        ("name: a\nname: b\n", "services/a/service.yaml:2: `name` is given twice, first on line 1"),
        ("name: [\n", "services/a/service.yaml:2: not valid YAML"),
        ("name: a\nenv: {SINCE: 2026-13-45}\n", "services/a/service.yaml:1: not valid YAML: month must be in 1..12"),
        ("just text\n", "services/a/service.yaml:1: expected a mapping of keys to values"),
        ("", "services/a/service.yaml:1: expected a mapping of keys to values"),
        (
            "name: a\nhealth: {live: healthz}\n",
            "services/a/service.yaml:2: `health.live`: 'healthz' must start with '/'",
        ),
        (
            "name: a\nautoscaling: {minReplicas: 3, maxReplicas: 2}\n",
            "services/a/service.yaml:2: minReplicas 3 is more than maxReplicas 2",
        ),
        ("name: a\nservice: {nodePort: 30080}\n", "services/a/service.yaml:2: nodePort needs `type: NodePort`"),
        (
            "name: a\nservice: {type: External}\n",
            "services/a/service.yaml:2: `service.type` is 'External'; it should be",
        ),
        (
            "name: a\nchecks:\n  - {get: /a}\n  - {get: /b, statsu: 200}\n",
            "services/a/service.yaml:4: unknown key `checks.1.statsu`; did you mean `status`?",
        ),
        (
            "name: a\nchecks:\n  - {status: 200}\n",
            "services/a/service.yaml:3: `checks.0`: none is given; give one of `get`, `head` and `post`, with the path",
        ),
        (
            "name: a\nchecks:\n  - {get: /a, post: /a}\n",
            "services/a/service.yaml:3: `checks.0`: get and post are given; give one of",
        ),
        (
            "name: a\nchecks:\n  - {get: /a, body: {a: 1}}\n",
            "services/a/service.yaml:3: `checks.0`: `body` needs `post`, and this check has `get`",
        ),
        (
            "name: a\nchecks:\n  - {head: /a, has: users}\n",
            "services/a/service.yaml:3: `checks.0`: an answer to `head` has no body: `has` and `json` need",
        ),
        (
            "name: a\nchecks:\n  - get: /a\n    json: {$.users.*: 1}\n",
            "services/a/service.yaml:4: `checks.0.json.$.users.*`: '$.users.*' is not a path to one value of a JSON "
            "body; allowed are",
        ),
        (
            "name: a\nchecks:\n  - get: /a\n    headers: {A b: x}\n",
            "services/a/service.yaml:4: `checks.0.headers.A b`: 'A b' cannot name an HTTP header",
        ),
        (
            "name: a\nchecks:\n  - get: /a\n    headers: {Accept: yes}\n",
            "services/a/service.yaml:4: `checks.0.headers.Accept`: must be text; put it in quotes",
        ),
        (
            "name: a\nchecks:\n  - {get: /a, timeoutSeconds: 601}\n",
            "services/a/service.yaml:3: `checks.0.timeoutSeconds` is 601; it should be less than or equal to 600",
        ),
    ],
)
def test_a_bad_value_is_named_with_its_line(root: Path, text: str, expected: str) -> None:
    write(root, "a", text)
    (problem,) = problems(root)
    assert problem.startswith(expected)


def test_all_problems_are_listed_at_once(root: Path) -> None:
    write(root, "a", "name: a\nport: x\nreplicas: -1\n")
    write(root, "b", "name: b\nclals: []\n", dockerfile=False)
    assert len(problems(root)) == 3


def test_a_named_build_context_is_a_folder_of_the_repository(root: Path) -> None:
    (root / "kit").mkdir()
    write(root, "a", "name: a\ncontexts: {kit: ../kit}\n")
    write(root, "b", "name: b\n")
    assert [dict(service.contexts) for service in load(root)] == [{"kit": Path("services/kit")}, {}]


@pytest.mark.parametrize(
    ("contexts", "expected"),
    [
        ("{kit: ../kti}", "`kit` is '../kti', and there is no folder services/kti; allowed: a folder below services/"),
        ("{kit: ../../other}", "`kit` is '../../other', which is outside of services/; allowed: a folder below"),
        ("{kit: ..}", "`kit` is '..', which is outside of services/; allowed: a folder below services/, like '../kit'"),
        ("{kit: ../linked}", "`kit` is '../linked', which is a symbolic link; allowed: a folder below services/"),
        ("{kit: src}", "`kit` is 'src', which overlaps the build context and is already in the build"),
        ("{kit: /etc}", "`contexts.kit`: '/etc' is not in this repository: give a path relative to service.yaml, like"),
        ("{kit: 'docker-image://a'}", "`contexts.kit`: 'docker-image://a' is not in this repository"),
        ("{test: ../kit}", "`contexts.test`: 'test' is a stage of the Dockerfile, which the context would"),
        ("{runtime: ../kit}", "`contexts.runtime`: 'runtime' is a stage of the Dockerfile"),
        ("{Kit: ../kit}", "`contexts.Kit`: 'Kit' cannot name a build context: lower-case letters and digits"),
    ],
)
def test_other_build_contexts_are_refused(root: Path, tmp_path: Path, contexts: str, expected: str) -> None:
    for folder in (root / "kit", tmp_path / "other", root / "a" / "src"):
        folder.mkdir(parents=True)
    (root / "linked").symlink_to(tmp_path / "other")
    (root / "a/service.yaml").write_text(f"name: a\ncontexts: {contexts}\n")
    (root / "a/Dockerfile").write_text("FROM scratch AS test\nFROM scratch AS runtime\n")
    (problem,) = problems(root)
    assert problem.startswith(f"services/a/service.yaml:2: {expected}")


def test_a_missing_dockerfile_and_a_missing_spec_are_named(root: Path) -> None:
    write(root, "a", "name: a\n", dockerfile=False)
    (root / "b").mkdir()
    (root / "b" / "Dockerfile").write_text("FROM scratch AS test\nFROM scratch AS runtime\n")
    assert problems(root) == [
        "services/a: Dockerfile is missing; the image of 'a' is built from it; or name an `image` that is built "
        "elsewhere",
        "services/b: has a Dockerfile and no service.yaml; write one, or remove the folder",
    ]


DOCKERFILE = """\
ARG BASE_IMAGE
ARG VERSION=1 \\
    FLAVOUR
FROM ${BASE_IMAGE} AS Test
# RUN --mount=type=secret,id=commented true
FROM --platform=linux/amd64 test AS runtime
RUN --mount=type=secret,id=pip_token,required \\
    --mount=type=cache,target=/root/.cache pip install
"""


def service_with_dockerfile(root: Path, build: str, dockerfile: str = DOCKERFILE) -> None:
    write(root, "a", f"name: a\nbuild: {build}\n", dockerfile=False)
    (root / "a" / "Dockerfile").write_text(dockerfile)


def test_a_build_has_its_context_dockerfile_arguments_and_secrets(root: Path) -> None:
    write(
        root,
        "a",
        """\
        name: a
        build:
          context: ../shop
          dockerfile: ../shop/a.Dockerfile
          args: {VERSION: 1.10, FLAVOUR: 0x1F}
          secrets: [pip_token]
        """,
        dockerfile=False,
    )
    (root / "shop").mkdir()
    (root / "shop/a.Dockerfile").write_text(DOCKERFILE)
    (service,) = load(root)
    assert (service.context, service.dockerfile) == (Path("services/shop"), Path("services/shop/a.Dockerfile"))
    assert service.spec.build.args == {"VERSION": "1.10", "FLAVOUR": "0x1F"}


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            "{secrets: [pip_token], args: {VERSIO: 2}}",
            "2: services/a/Dockerfile has no `ARG VERSIO`; it has: BASE_IMAGE, ",
        ),
        (
            "{secrets: [pip_token, npm]}",
            "2: services/a/Dockerfile mounts no secret `npm` (`RUN --mount=type=secret,id=npm`)",
        ),
        (
            "{secrets: [pip_token], target: app}",
            "2: services/a/Dockerfile has no stage `app`; its stages: runtime, test",
        ),
        (
            "{secrets: [pip_token], testTarget: unit}",
            "2: services/a/Dockerfile has no stage `unit`; its stages: runtime, test; ",
        ),
        (
            "{secrets: [pip_token], testTarget: runtime}",
            "2: `runtime` is also the `target`; choose another stage",
        ),
        (
            "{secrets: [pip_token], args: {BASE_IMAGE: x}}",
            "2: BASE_IMAGE is set by Slipway itself, from `slipway:baseImage`",
        ),
        (
            "{secrets: [pip_token], context: ../../other}",
            "2: `context` is '../../other', which is outside of services/; ",
        ),
        (
            "{secrets: [pip_token], context: ../none}",
            "2: `context` is '../none', and there is no folder services/none; ",
        ),
        ("{secrets: [pip_token], dockerfile: ../../x}", "2: `dockerfile` is '../../x', which is outside of services/"),
        (
            "{secrets: [pip_token], platforms: [linux/x]}",
            "2: `build.platforms.0` is 'linux/x'; it should be 'linux/386', ",
        ),
        ("{secrets: [pip_token, pip_token]}", "2: pip_token is listed twice"),
    ],
)
def test_what_cannot_be_built_is_refused(root: Path, tmp_path: Path, build: str, expected: str) -> None:
    (tmp_path / "other").mkdir()
    service_with_dockerfile(root, build)
    (problem,) = problems(root)
    assert problem.startswith(f"services/a/service.yaml:{expected}")


def test_a_build_secret_that_nobody_names_is_refused(root: Path) -> None:
    service_with_dockerfile(root, "{args: {VERSION: 1}}")
    assert problems(root) == [
        "services/a/Dockerfile:7: the build secret `pip_token` would be empty; name it in `build.secrets` of "
        "service.yaml"
    ]


PINNED = f"registry.example/team/redis@sha256:{'0' * 64}"


def test_an_image_that_is_built_elsewhere_needs_no_dockerfile(root: Path) -> None:
    write(root, "a", f"name: a\nimage: {PINNED}\n", dockerfile=False)
    (service,) = load(root)
    assert service.spec.image == PINNED


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (
            "redis:7",
            "2: `image`: 'redis:7' is not an image with a digest; allowed: registry/repository@sha256: and 64 hex",
        ),
        (
            f"{PINNED}\nbuild: {{args: {{A: b}}}}",
            "3: `image` is built elsewhere, so `build` has no effect; keep one",
        ),
        (
            f"{PINNED}\ncontexts: {{kit: ../kit}}",
            "3: `image` is built elsewhere, so `contexts` has no effect; keep",
        ),
    ],
)
def test_an_image_is_pinned_and_not_built(root: Path, image: str, expected: str) -> None:
    write(root, "a", f"name: a\nimage: {image}\n", dockerfile=False)
    (problem,) = problems(root)
    assert problem.startswith(f"services/a/service.yaml:{expected}")


def test_duplicate_names_and_port_clashes_name_both_files(root: Path) -> None:
    write(root, "a", "name: a\nservice: {type: NodePort, nodePort: 30001}\n")
    write(root, "b", "name: a\n")
    write(root, "c", "name: c\nservice:\n  type: NodePort\n  nodePort: 30001\n")
    assert problems(root) == [
        "services/b/service.yaml:1: the name `a` is already used by services/a/service.yaml; choose another",
        "services/c/service.yaml:4: the node port `30001` is already used by services/a/service.yaml; choose another",
    ]


def test_a_service_cannot_be_called_as_the_unit_tests_of_another(root: Path) -> None:
    """Each service builds an image of its name, and one of its tests: two resources would have one URN."""
    write(root, "a", "port: 8080\nname: load-test\n")
    assert problems(root) == [
        "services/a/service.yaml:2: `name`: 'load-test' is the name of the unit tests of a service 'load': "
        "choose a name with another ending"
    ]


def test_a_service_cannot_be_called_as_an_account_that_is_there_already(root: Path) -> None:
    """Each service has a ServiceAccount of its name, which Kubernetes made, and which rules refuse."""
    write(root, "a", "name: default\n")
    write(root, "b", "name: b\ncalls: [default]\n")
    message = "'default' is a ServiceAccount that every namespace has: choose another name, such as 'default-service'"
    assert problems(root) == [
        f"services/a/service.yaml:1: `name`: {message}",
        f"services/b/service.yaml:2: `calls.0`: {message}",
    ]


def test_a_service_whose_folder_is_a_link(root: Path, tmp_path: Path) -> None:
    """What it leads to would be built, and seen neither by git nor by an approval."""
    (tmp_path / "elsewhere").mkdir()
    write(root, "a", "name: a\n")
    (root / "a").rename(tmp_path / "elsewhere" / "a")
    (root / "a").symlink_to("../elsewhere/a")
    assert problems(root) == [
        "services/a: it is a symbolic link to ../elsewhere/a, and only folders in services/ are built and approved; "
        "move the folder here"
    ]


def test_a_service_whose_folder_has_a_name_that_is_no_utf_8(root: Path) -> None:
    write(root, "a", "name: a\n")
    (root / "a").rename(Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")))
    assert problems(root) == [
        "services/caf\ufffd: its name is not UTF-8, which Pulumi and BuildKit require; rename the folder"
    ]


@pytest.mark.parametrize("name", ["slipway", "pulumi", "kubernetes", "docker", "docker-build"])
def test_a_service_whose_secrets_would_be_settings_of_ours_has_none(root: Path, name: str) -> None:
    """`slipway:TOKEN` is an unknown key of the stack, and `pulumi:` is Pulumi's own."""
    write(root, "a", f"name: {name}\nsecrets: [TOKEN]\n")
    (problem,) = problems(root)
    assert problem.startswith(f"services/a/service.yaml:2: secrets of {name} cannot be set")
    (root / "a" / "service.yaml").write_text(f"name: {name}\n")
    assert [service.name for service in load(root)] == [name]


@pytest.mark.parametrize("name", ["default-service", "default0", "defaults", "kubernetes", "a" * 46])
def test_other_names_are_free(name: str) -> None:
    assert service_name(name) == name


def test_two_services_cannot_have_one_address(root: Path) -> None:
    write(root, "a", "name: a\ningress: {host: shop.example, path: /x}\n")
    write(root, "b", "name: b\ningress: {host: shop.example, path: /x}\n")
    assert problems(root) == [
        "services/b/service.yaml:2: the address `shop.example/x` is already used by services/a/service.yaml; "
        "choose another"
    ]


def test_a_circle_of_calls_is_shown(root: Path) -> None:
    write(root, "a", "name: a\ncalls: [b]\n")
    write(root, "b", "name: b\ncalls: [c]\n")
    write(root, "c", "name: c\ncalls: [a]\n")
    (problem,) = problems(root)
    assert "in a cycle: a -> b -> c -> a" in problem
    assert problem.startswith("services/a/service.yaml:2: ")


def test_an_environment_overrides_any_value(root: Path, tmp_path: Path) -> None:
    write(root, "a", "name: a\nreplicas: 2\nresources: {cpu: 10m, memory: 1Gi}\nenv: {X: '1', Y: '2'}\n")
    environment = overrides(
        tmp_path,
        """
        config:
          slipway:defaults: {rollout: {minReadySeconds: 3}, replicas: 9}
          slipway:services:
            a: {replicas: 3, resources: {memory: 2Gi}, env: {Y: three}}
        """,
    )
    (service,) = load(root, environment)
    assert service.spec.replicas == 3
    assert (service.spec.resources.cpu, service.spec.resources.memory) == ("10m", "2Gi")
    assert service.spec.env == {"X": "1", "Y": "three"}
    assert service.spec.rollout.min_ready_seconds == 3


def test_a_variable_that_no_process_can_have_is_refused(root: Path) -> None:
    """Linux ends the start of a process with E2BIG, which only the container's log would tell."""
    write(root, "a", f'name: a\nenv:\n  OK: {"x" * (128 * 1024 - 4)}\n  BIG: {"x" * 200_000}\n  NUL: "a\\0b"\n')
    assert problems(root) == [
        "services/a/service.yaml:4: `env.BIG` has 200,005 bytes with its name, and Linux starts no process with more "
        "than 131,072 in one variable; put it into the image, or let the service fetch it",
        "services/a/service.yaml:5: `env.NUL` has a NUL character, which no environment variable can hold",
    ]


def test_more_than_a_config_map_holds_is_refused(root: Path, tmp_path: Path) -> None:
    write(root, "a", "name: a\nenv:\n" + "".join(f"  X{index}: {'é' * 50_000}\n" for index in range(11)))
    (problem,) = problems(root)
    assert problem == (
        "services/a/service.yaml:2: `env` has 1,100,004 bytes in all, and a ConfigMap holds 1,048,576; put some "
        "into the image"
    )
    environment = overrides(tmp_path, f"config:\n  slipway:services:\n    a:\n      env: {{Y: {'x' * 200_000}}}\n")
    assert problems(root, environment)[0].startswith("Pulumi.dev.yaml:4: `env.Y` has 200,003 bytes")


def test_more_than_an_annotation_holds_is_refused(root: Path) -> None:
    write(root, "a", f"name: a\nchecks:\n  - {{get: /, has: {'x' * 300_000}}}\n")
    (problem,) = problems(root)
    assert problem.startswith("services/a/service.yaml:2: `checks` have 300,")


NUMBERS = "ZIP: 01234, BUILD: 010, AT: 12:30, VERSION: 1.10, MASK: 0x1F, COUNT: 1_000, DAY: 2024-01-02, BIG: 1e3, P: +5"


def test_numbers_and_dates_in_env_arrive_as_they_are_written(root: Path) -> None:
    write(root, "a", f"name: a\nenv: {{{NUMBERS}, ONE: 1.0, QUOTED: '010', TEXT: a b}}\n")
    (service,) = load(root)
    assert service.spec.env == {
        **{"ZIP": "01234", "BUILD": "010", "AT": "12:30", "VERSION": "1.10", "MASK": "0x1F", "COUNT": "1_000"},
        **{"DAY": "2024-01-02", "BIG": "1e3", "P": "+5", "ONE": "1.0", "QUOTED": "010", "TEXT": "a b"},
    }


def test_a_number_in_env_that_comes_from_an_anchor_is_refused(root: Path) -> None:
    write(root, "a", "name: a\nenv:\n  <<: &shared {ZIP: 01234}\n  B: x\n")
    (problem,) = problems(root)
    assert problem == "services/a/service.yaml:2: YAML reads `env.ZIP` as 668; put it in quotes"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("replicas: 010", "replicas"),
        ("port: 0x1F90", "port"),
        ("rollout: {minReadySeconds: 1:30}", "rollout.minReadySeconds"),
        ("resources: {cpu: 1_0}", "resources.cpu"),
        ("egress: [{port: 05432}]", "egress.0.port"),
    ],
)
def test_a_number_that_yaml_reads_as_another_is_refused(root: Path, line: str, key: str) -> None:
    write(root, "a", f"name: a\n{line}\n")
    (problem,) = problems(root)
    assert problem.startswith(f"services/a/service.yaml:2: `{key}` is written ")
    assert problem.endswith("which YAML reads as another number; write it in plain decimal digits")


def test_what_pulumi_reads_otherwise_is_refused_in_an_environments_file(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    plain = "A: 1.5, B: 12, C: '010', D: text, E: 0, F: -3, G: 1.0.0"
    file.write_text(
        "config:\n"
        "  a:PIN: 01234\n"
        "  a:URL: sqlite:////data/x.db\n"
        "  a:TOKEN: {secure: v1:abc}\n"
        f"  slipway:defaults: {{env: {{{NUMBERS}, {plain}}}, replicas: 3}}\n"
        "  slipway:services:\n"
        "    a:\n"
        "      env: {X: 010}\n"
        "      replicas: 010\n"
        "      resources: {cpu: 1.0}\n"
    )
    found = misread_settings(read(file, shown_as=Path(file.name)))
    keys = [problem.split("`")[1] for problem in found]
    assert keys == [
        "a:PIN",
        *(f"slipway:defaults.env.{each.split(':')[0]}" for each in NUMBERS.split(", ") if each[:3] != "AT:"),
        "slipway:services.a.env.X",
        "slipway:services.a.replicas",
    ]
    assert found[0] == (
        "Pulumi.dev.yaml:2: `a:PIN` is written 01234, which Pulumi changes to another text; put it in quotes: '01234'"
    )


def test_a_default_gives_way_to_the_service(root: Path, tmp_path: Path) -> None:
    write(root, "a", "name: a\n")
    write(root, "b", "name: b\nreplicas: 2\n")
    environment = overrides(tmp_path, "config: {'slipway:defaults': {replicas: 5}}\n")
    assert [service.spec.replicas for service in load(root, environment)] == [5, 2]


def test_a_bad_override_is_named_in_the_environments_file(root: Path, tmp_path: Path) -> None:
    write(root, "a", "name: a\n")
    environment = overrides(
        tmp_path,
        """\
        config:
          slipway:services:
            a:
              replicas: -3
              prot: 1
            aa: {replicas: 1}
        """,
    )
    found = problems(root, environment)
    assert found[0] == "Pulumi.dev.yaml:4: `replicas` is -3; it should be greater than or equal to 0"
    assert found[1].startswith("Pulumi.dev.yaml:5: unknown key `prot`; did you mean `port`?")


def test_an_override_of_no_service_is_an_error(root: Path, tmp_path: Path) -> None:
    write(root, "order", "name: order\n")
    environment = overrides(tmp_path, "config:\n  slipway:services:\n    oder: {replicas: 1}\n")
    assert problems(root, environment) == [
        "Pulumi.dev.yaml:3: no service is named `oder`; did you mean `order`? The services: order"
    ]


def test_the_services_of_this_repository_are_valid() -> None:
    names = [service.name for service in load()]
    assert sorted(names) == [*SERVICES]
    assert names.index("user-service") < names.index("order-service")


def test_allowed_keys_are_written_as_in_the_file() -> None:
    assert "startupTimeoutSeconds" in allowed_keys(("health",))
    keys = ["body", "get", "has", "head", "headers", "json", "port", "post", "status", "timeoutSeconds"]
    assert allowed_keys(("checks", 0)) == keys


@pytest.mark.parametrize(
    "resources",
    [
        {"cpu": "1m"},
        {"cpu": 1},
        {"cpu": "0.50"},
        {"cpu": "256"},
        {"memory": "4Mi"},
        {"memory": 134217728},
        {"memory": "1.5Gi"},
        {"memory": "128M"},
        {"ephemeralStorage": "64Ki"},
    ],
)
def test_amounts_that_a_node_may_have_are_accepted(resources: dict[str, object]) -> None:
    spec = ServiceSpec.model_validate({"name": "a", "resources": resources})
    assert [str(value) for value in resources.values()] == [
        spec.resources.model_dump(by_alias=True)[key] for key in resources
    ]


@given(st.text(max_size=60))
def test_only_dns_labels_name_services(text: str) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    well_formed = 0 < len(text) <= 46 and set(text) <= allowed and text[0].isalpha() and text[-1] != "-"
    assume(text != "default" and not text.endswith("-test"))
    if well_formed:
        assert service_name(text) == text
    else:
        with pytest.raises(ValueError, match="DNS label"):
            service_name(text)


@pytest.mark.parametrize(
    ("quantity", "value"),
    [
        ("50m", 0.05),
        ("1", 1),
        ("0.5", 0.5),
        ("128Mi", 128 * 2**20),
        ("1k", 1000),
        (".5Gi", 2**29),
        ("1e3", 1000),
        ("-5u", -5e-6),
    ],
)
def test_quantities_are_read_as_kubernetes_reads_them(quantity: str, value: float) -> None:
    assert quantity_value(quantity) == pytest.approx(value)
