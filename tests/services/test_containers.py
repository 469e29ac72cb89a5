"""What a service.yaml says of ports, files, volumes and containers is refused, with its line, where it cannot work."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from services.catalog import CatalogError, Overrides, allowed_keys, load
from services.yaml_source import misread_settings, read

IMAGE = "registry.example/proxy@sha256:" + "a" * 64


def write(root: Path, folder: str, text: str) -> Path:
    made = root / folder
    made.mkdir(parents=True)
    (made / "service.yaml").write_text(dedent(text))
    (made / "Dockerfile").write_text("FROM scratch AS test\nFROM scratch AS runtime\n")
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "services"
    folder.mkdir()
    return folder


def problems(root: Path, overrides: Overrides | None = None) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load(root, overrides)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("comand: [a]", "2: unknown key `comand`; did you mean `command`?"),
        ("args: [1]", "2: `args.0` is 1; it should be a valid string"),
        ("ports: [{name: http, containerPort: 9090}]", "2: a port `http` already exists"),
        ("ports: [{name: Web, containerPort: 9090}]", "2: `ports.0.name`: 'Web' cannot name a port: lower-case"),
        ("ports: [{name: web, containerPort: 80}]", "2: `ports.0.containerPort` is 80; it should be greater than"),
        ("ports: [{name: web, containerPort: 8080}]", "2: containerPort 8080 is used by another port of the pod"),
        ("ports: [{name: web, containerPort: 9090, port: 80}]", "2: the Service already has port 80"),
        ("ports: [{name: web, containerport: 9}]", "2: unknown key `ports.0.containerport`; did you mean `containerPo"),
        ("checks:\n  - {get: /, port: web}", "3: `checks.0.port` is 'web'; allowed: http"),
        (
            "env:\n  A: {valueFrom: {secretKeyReff: {name: a, key: b}}}",
            "3: unknown key `env.A.valueFrom.secretKeyReff`",
        ),
        ("env:\n  A: {valueFrom: {secretKeyRef: {name: a}}}", "3: `env.A.valueFrom.secretKeyRef.key` is missing"),
        ("env:\n  A: {valueFrom: {fieldRef: {fieldPath: spec.x}}}", "3: `env.A.valueFrom.fieldRef.fieldPath` is"),
        ("env: {A: true}", '2: `env.A`: must be text; put it in quotes, as in "true"'),
        ("envFrom: [{secretRef: {name: a}, configMapRef: {name: b}}]", "2: `envFrom.0`: `secretRef` and `configMapRef"),
        ("files: {/etc/a: missing.toml}", "2: `files` has 'missing.toml', and there is no services/a/missing.toml"),
        ("files: {/etc/a: ../../out.toml}", "2: `files` has '../../out.toml', which is outside of services/"),
        ("files: {/etc/a: /etc/passwd}", "2: `files./etc/a.source`: '/etc/passwd' is not in this repository"),
        ("files: {/etc/a: {source: x, secret: Y}}", "2: `files./etc/a`: `source` and `secret` are given; give one of"),
        ("files: {/a/b: {content: x}, /a.b: {content: y}}", "2: /a.b and /a/b would both be key `a.b` of a ConfigMap"),
        ("files:\n  /tmp: {content: x}", "3: /tmp is mounted twice in container `a`"),
        ("volumes:\n  - {name: v, mountPath: /v}", "3: `volumes.0`: none is given; give one of `persistentVolumeClaim"),
        ("volumes:\n  - {name: v, emptyDir: {}}", "3: volume `v` is not mounted; give it a `mountPath`"),
        (
            "volumes: [{name: scratch-0, mountPath: /v, emptyDir: {}}]",
            "2: `volumes.0.name`: 'scratch-0' is used by Slipway",
        ),
        (
            "replicas: 2\nvolumes: [{name: v, mountPath: /v, persistentVolumeClaim: {claimName: c}}]",
            "2: 2 pods would mount volume `v`, which is ReadWriteOnce; allowed: `replicas: 1` without `autoscaling`",
        ),
        (
            "volumes: [{name: v, mountPath: /v, persistentVolumeClaim: {storageClassName: fast}}]",
            "2: `volumes.0.persistentVolumeClaim`: give `resources: {requests: {storage: 1Gi}}` for a new claim, or",
        ),
        (
            "volumes: [{name: v, mountPath: /v, persistentVolumeClaim: {resources: {requests: {storage: 1GB}}}}]",
            "2: `volumes.0.persistentVolumeClaim.resources.requests.storage`: '1GB' is not a Kubernetes quantity; did",
        ),
        ("sidecars: [{name: p, image: 'nginx:1'}]", "2: `sidecars.0.image`: 'nginx:1' is not an image with a digest"),
        ("sidecars:\n  - name: a", "3: a container `a` already exists"),
        ("sidecars:\n  - name: p\n    resources: {memory: 1}", "4: `sidecars.0.resources.memory`: '1' is 1 bytes"),
        (
            "sidecars:\n  - name: p\n    startupProbe: {httpGet: {path: /, port: web}}",
            "4: `startupProbe` uses port 'web', which the container does not have; allowed: none",
        ),
        (
            "sidecars:\n  - name: p\n    startupProbe: {httpGet: {path: /, prot: web}}",
            "4: unknown key `sidecars.0.startupProbe.httpGet.prot`; did you mean `port`?",
        ),
        (
            "initContainers:\n  - name: p\n    volumeMounts: [{name: v, mountPath: /v}]",
            "4: it mounts volume `v`, which is not in `volumes`: none",
        ),
        ("initContainers: [{name: p, startupProbe: {}}]", "2: unknown key `initContainers.0.startupProbe`"),
        ("sidecars:\n  - name: p\n    env: {A: 010}\n    args: [010]", "5: `sidecars.0.args.0` is written 010, which"),
        ("labels: {app.kubernetes.io/name: x}", "2: label app.kubernetes.io/name is set by Slipway itself"),
        ("labels: {version: 1.10}", '2: `labels.version`: must be text; put it in quotes, as in "1.1"'),
        ("labels: {team: a b}", "2: `labels.team`: 'a b' cannot be the value of a label"),
        ("annotations: {pulumi.com/skipAwait: 'true'}", "2: annotation pulumi.com/skipAwait is set by Slipway, Pulumi"),
        ("service: {annotations: {slipway.dev/x: y}}", "2: annotation slipway.dev/x is set by Slipway"),
        ("serviceAccount: {anotations: {}}", "2: unknown key `serviceAccount.anotations`; did you mean `annotations`?"),
        ("tolerations: [{operator: Equal, value: x}]", "2: `tolerations.0`: `key` is missing; only `operator: Exists`"),
        ("tolerations: [{key: a, operator: Exists, value: x}]", "2: `tolerations.0`: `value` is 'x', and `operator: E"),
        (
            "affinity:\n  nodeAffinity:\n    requiredDuringSchedulingIgnoredDuringExecution:\n"
            "      nodeSelectorTerms:\n        - matchExpresions: []",
            "6: unknown key `affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
        ),
        (
            "topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: Never}]",
            "2: `topologySpreadConstraints.0.whenUnsatisfiable` is 'Never'; it should be 'DoNotSchedule' or 'ScheduleA",
        ),
        ("hostAliases: [{ip: 300.1.1.1, hostnames: [a]}]", "2: `hostAliases.0.ip`: '300.1.1.1' is not an IP address"),
        ("dnsPolicy: None", "2: `dnsPolicy: None` needs `dnsConfig` with `nameservers`"),
        ("dnsPolicy: ClusterFirstWithHostNet", "2: `dnsPolicy` is 'ClusterFirstWithHostNet'; it should be"),
        ("priorityClassName: High!", "2: `priorityClassName`: 'High!' is not a name of Kubernetes"),
    ],
)
def test_what_cannot_work_is_refused_with_its_line(root: Path, text: str, expected: str) -> None:
    write(root, "a", f"name: a\n{text}\n")
    found = problems(root)
    assert any(each.startswith(f"services/a/service.yaml:{expected}") for each in found), found


def test_two_services_may_not_claim_one_volume(root: Path) -> None:
    claim = "volumes: [{name: v, mountPath: /v, persistentVolumeClaim: {claimName: shared}}]"
    write(root, "a", f"name: a\n{claim}\n")
    write(root, "b", f"name: b\n{claim}\n")
    (problem,) = problems(root)
    taken = "the PersistentVolumeClaim `shared` is already used by services/a/service.yaml"
    assert problem == f"services/b/service.yaml:2: {taken}; choose another"


def test_files_have_the_content_and_mode_of_the_repository(root: Path) -> None:
    folder = write(root, "a", "name: a\nfiles: {/etc/a: conf, /etc/logo: ../shared/logo.png}\n")
    (folder / "conf" / "sub").mkdir(parents=True)
    (folder / "conf" / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "conf" / "sub" / "run.sh").chmod(0o755)
    (root / "shared").mkdir()
    (root / "shared" / "logo.png").write_bytes(b"\x89\xff")
    (service,) = load(root)
    found = {file.path: (file.key, file.content, file.mode) for file in service.files}
    assert found == {
        "/etc/a/sub/run.sh": ("etc.a.sub.run.sh", b"#!/bin/sh\n", 0o555),
        "/etc/logo": ("etc.logo", b"\x89\xff", 0o444),
    }


def test_links_and_what_no_config_map_holds_are_refused(root: Path) -> None:
    folder = write(root, "a", "name: a\nfiles:\n  /etc/link: link\n  /etc/large: large\n")
    (folder / "link").symlink_to("/etc/hostname")
    (folder / "large").write_bytes(bytes(1024 * 1024 + 1))
    linked, large = problems(root)
    assert linked.startswith(
        "services/a/service.yaml:3: `files` has 'link', in which a/link is a symbolic link or not a file"
    )
    assert large.startswith("services/a/service.yaml:2: `files` have 1,048,577 bytes in all, and a ConfigMap holds")


def overrides(tmp_path: Path, **service: Any) -> Overrides:
    return Overrides({"a": service}, {})


def test_an_environment_overrides_any_of_it(root: Path, tmp_path: Path) -> None:
    folder = write(
        root,
        "a",
        """\
        name: a
        files: {/etc/a.toml: dev.toml}
        sidecars: [{name: proxy}]
        nodeSelector: {disk: ssd}
        affinity: {podAntiAffinity: {}}
        """,
    )
    (folder / "prod.toml").write_text("x = 1\n")
    changed = overrides(
        tmp_path,
        files={"/etc/a.toml": "prod.toml"},
        sidecars=[{"name": "proxy", "image": IMAGE}],
        nodeSelector={"zone": "a"},
        tolerations=[{"operator": "Exists"}],
    )
    (service,) = load(root, changed)
    assert [file.content for file in service.files] == [b"x = 1\n"]
    assert service.spec.sidecars[0].image == IMAGE
    assert service.spec.node_selector == {"disk": "ssd", "zone": "a"}
    assert service.spec.tolerations[0].operator == "Exists"


def test_a_mistake_of_an_environment_is_answered_with_its_file_and_line(root: Path, tmp_path: Path) -> None:
    write(root, "a", "name: a\n")
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text(
        "config:\n  slipway:services:\n    a:\n      tolerations:\n        - {kye: x}\n      args: []\n"
        "      sidecars:\n        - {name: p, env: {A: 010}}\n"
    )
    source = read(file, shown_as=Path("Pulumi.prod.yaml"))
    found = problems(root, Overrides(source.data["config"]["slipway:services"], {}, source))
    assert found[0].startswith("Pulumi.prod.yaml:5: unknown key `tolerations.0.kye`; did you mean `key`?")
    assert misread_settings(source)[-1].startswith(
        "Pulumi.prod.yaml:8: `slipway:services.a.sidecars.0.env.A` is written 010, which Pulumi changes to another text"
    )


def test_values_of_a_sidecar_arrive_as_they_are_written(root: Path) -> None:
    write(root, "a", "name: a\nsidecars:\n  - {name: p, env: {A: 010, B: 1.10, C: 'x'}}\n")
    (service,) = load(root)
    assert service.spec.sidecars[0].env == {"A": "010", "B": "1.10", "C": "x"}


def test_keys_below_lists_and_mappings_are_known() -> None:
    assert "httpGet" in allowed_keys(("sidecars", 0, "startupProbe"))
    assert allowed_keys(("env", "A", "valueFrom")) == ["configMapKeyRef", "fieldRef", "secretKeyRef"]
    assert allowed_keys(("env",)) == []
    assert allowed_keys(("files", "/etc/a")) == ["content", "secret", "source"]
