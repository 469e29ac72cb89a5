"""Hardening beyond the standard: limits for a container that is broken into."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policy.declaration import Problem, Resource, View, all_known, known_matches, problems_of
from policy.kinds import CONTAINER_KEYS, container_name, containers, objects, of_linux, pod_specs, pods
from policy.model import Family, rule, stack_rule
from policy.stack import DeclaredStack, Pod, same_namespace

HARDENING = Family("Hardening")
LEAST_USER_ID = 10_000
DEFAULT_ACCOUNT = "default"
# On the Job of a migration: the name of its service.
MIGRATION_LABEL = "slipway.dev/migration"
RUNTIME_SOCKETS = ("docker.sock", "containerd.sock", "crio.sock", "cri-dockerd.sock", "podman.sock", "buildkitd.sock")
# Names of the API server within the cluster: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
API_SERVER = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?kubernetes\.default(?:[.:/?#].*)?", re.IGNORECASE)
ACCOUNTS_PAGE = "https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/"
CONTEXT_PAGE = "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/"


@rule(
    "high-user-id",
    title="Containers run under a high user and group id",
    why="Ids below 10000 belong to users and daemons of the node: an escaped process would own their files.",
    source=f"kube-score: container-security-context-user-group-id; {CONTEXT_PAGE}",
    remedy="Set securityContext.runAsUser and .runAsGroup to 10000 or more.",
    of=of_linux(pod_specs),
)
def high_user_id(spec: View) -> Iterator[Problem]:
    def check(container: View) -> Iterator[Problem]:
        for name in ("runAsUser", "runAsGroup"):
            own = container.at("securityContext", name)
            effective = own if own.present else spec.at("securityContext", name)
            if (effective.number() or 0) < LEAST_USER_ID:
                yield own.problem(
                    f"{container_name(container)} has {name} {effective.shown()}; allowed: {LEAST_USER_ID} or more"
                )

    return problems_of((each for key in CONTAINER_KEYS for each in spec.at(key).items()), check)


@rule(
    "read-only-root",
    title="The root file system is read-only",
    why="An attacker cannot replace files that are read-only, and writes cannot fill the node's disk.",
    source=f"kube-linter: no-read-only-root-fs; {CONTEXT_PAGE}",
    remedy="Set securityContext.readOnlyRootFilesystem to true and mount an emptyDir where it writes (`scratch`).",
    of=of_linux(containers),
)
def read_only_root(container: View) -> Iterator[Problem]:
    flag = container.at("securityContext", "readOnlyRootFilesystem")
    if flag.read() is not True:
        yield flag.problem(f"{container_name(container)} has readOnlyRootFilesystem {flag.shown()}; allowed: `true`")


@rule(
    "no-token",
    title="Pods get no token of the API server",
    why="A service does not use the API server, but an attacker in its pod would.",
    source=f"{ACCOUNTS_PAGE}#opt-out-of-api-credential-automounting",
    remedy="Set automountServiceAccountToken to false in the pod's spec, and project tokens for other audiences only.",
    of=pod_specs,
)
def no_token(spec: View) -> Iterator[Problem]:
    flag = spec.at("automountServiceAccountToken")
    if flag.read() is not False:
        yield flag.problem(f"automountServiceAccountToken is {flag.shown()}; allowed: `false`")

    def check(volume: View) -> Iterator[Problem]:
        """A token for another audience, such as a vault, is no token of the API server."""
        for source in volume.at("projected", "sources").items():
            token = source.at("serviceAccountToken")
            audience = token.at("audience")
            if token.present and (not audience.text() or API_SERVER.fullmatch(audience.text() or "")):
                yield token.problem(
                    f"volume `{volume.at('name').value}` is a token of the API server, its audience "
                    f"{audience.shown()}; allowed: none, or a token with another `audience`"
                )

    yield from problems_of(spec.at("volumes").items(), check)


@stack_rule(
    "own-service-account",
    title="Each workload has a ServiceAccount of its own",
    why="Rights of a shared ServiceAccount apply to every workload that uses it.",
    source=ACCOUNTS_PAGE,
    remedy="Declare a ServiceAccount beside the workload and name it in serviceAccountName.",
    of=pods,
)
def own_service_account(pod: View, stack: DeclaredStack) -> Iterator[Problem]:
    account = pod.at("spec", "serviceAccountName")
    name = account.text()
    if not name or name == DEFAULT_ACCOUNT:
        yield account.problem(f"serviceAccountName is {account.shown()}; allowed: an account of the workload's own")
        return
    if not stack.named("ServiceAccount", account, pod.resource):
        yield account.problem(f"the stack has no ServiceAccount {account.shown()}; allowed: one in the same namespace")
    if _is_migration_of(name, pod.resource):
        return  # a migration may use the account of its service
    others = [
        other
        for other in stack.pods_as(name)
        if other.resource is not pod.resource and not _is_migration_of(name, other.resource)
    ]

    def shares(other: Pod) -> bool:
        return all_known(
            (
                lambda: other.spec.at("serviceAccountName").read() == name,
                lambda: same_namespace(other.resource, pod.resource),
            )
        )

    for other in known_matches(others, shares):
        yield account.problem(f"{other.resource.ref} has the same ServiceAccount {account.shown()}; allowed: its own")


def _is_migration_of(service: str, resource: Resource) -> bool:
    label = View.of(resource).at("metadata", "labels", MIGRATION_LABEL)
    return resource.kind == "Job" and label.value == service


@rule(
    "no-runtime-socket",
    title="No pod mounts the socket of the container runtime",
    why="A process that can use the socket is root on the node.",
    source="kube-linter: docker-sock",
    remedy="Remove the volume; build images with BuildKit outside the pod.",
    of=pod_specs,
)
def no_runtime_socket(spec: View) -> Iterator[Problem]:
    for volume in spec.at("volumes").items():
        path = volume.at("hostPath", "path")
        if (path.text() or "").rpartition("/")[2] in RUNTIME_SOCKETS:
            yield path.problem(
                f"volume `{volume.at('name').value}` is the runtime's socket {path.shown()}; allowed: none"
            )


@rule(
    "no-host-path-storage",
    title="No PersistentVolume uses a hostPath",
    why="It has the same risks as a hostPath volume, and its data are lost with the node.",
    source="https://kubernetes.io/docs/concepts/storage/volumes/#hostpath",
    remedy="Use a storage class of the cluster.",
    of=objects("PersistentVolume"),
)
def no_host_path_storage(volume: View) -> Iterator[Problem]:
    path = volume.at("spec", "hostPath", "path")
    if volume.at("spec", "hostPath").present:
        yield path.problem(f"the volume is host path {path.shown()}; allowed: no hostPath")
