"""Pod Security `restricted`: every control of the standard, the baseline's included, as of Kubernetes 1.34."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from policy.declaration import Problem, View, problems_of
from policy.kinds import CONTAINER_KEYS, any_of, container_name, containers, of_linux, pod_specs, pods
from policy.model import Family, Rule, rule

POD_SECURITY = Family("Pod Security")
PAGE = "https://kubernetes.io/docs/concepts/security/pod-security-standards/"
BASELINE, RESTRICTED = f"{PAGE}#baseline", f"{PAGE}#restricted"
pods_and_containers = any_of(pod_specs, containers)
# "Linux only policy", in the words of the standard.
linux_pod_specs, linux_containers = of_linux(pod_specs), of_linux(containers)

SELINUX_TYPES = (None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
APP_ARMOR_TYPES = (None, "RuntimeDefault", "Localhost")
APP_ARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_TYPES = ("RuntimeDefault", "Localhost")
SAFE_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
)
VOLUME_TYPES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)

baseline = partial(rule, source=BASELINE, remedy="Remove the field, or set it to an allowed value.")
restricted = partial(rule, source=RESTRICTED)


def _context(subject: View) -> View:
    return subject.at("securityContext")


def _where(subject: View) -> str:
    return "the pod" if subject.path.endswith("spec") else container_name(subject)


def _must_not_be_true(id: str, title: str, why: str, *keys: str) -> Rule:
    """A control that forbids one flag of a pod or container."""

    @baseline(id, title=title, why=why, of=pods_and_containers)
    def check(subject: View) -> Iterator[Problem]:
        flag = subject.at(*keys)
        if flag.read() not in (None, False):
            yield flag.problem(f"{_where(subject)} sets {keys[-1]} to {flag.shown()}; allowed: `false` or nothing")

    return check


host_process = _must_not_be_true(
    "pod-security-host-process",
    "No Windows HostProcess",
    "A HostProcess container runs directly on the node.",
    "securityContext",
    "windowsOptions",
    "hostProcess",
)
privileged = _must_not_be_true(
    "pod-security-privileged",
    "No privileged containers",
    "A privileged container is hardly isolated from the node.",
    "securityContext",
    "privileged",
)


@baseline(
    "pod-security-host-namespaces",
    title="No host namespaces",
    why="The pod would see the node's network, processes or memory.",
    of=pod_specs,
)
def host_namespaces(spec: View) -> Iterator[Problem]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.at(key).read() not in (None, False):
            yield spec.at(key).problem(f"the pod sets {key} to {spec.at(key).shown()}; allowed: `false` or nothing")


@restricted(
    "pod-security-capabilities",
    title="All capabilities are dropped",
    why="Each capability is a right of root that a service does not need.",
    remedy="Set securityContext.capabilities to `{drop: [ALL]}`.",
    of=linux_containers,
)
def capabilities(container: View) -> Iterator[Problem]:
    found = _context(container).at("capabilities")
    for added in found.at("add").items():
        if added.read() != "NET_BIND_SERVICE":
            yield added.problem(f"{container_name(container)} adds {added.shown()}; allowed: `NET_BIND_SERVICE`")
    dropped = [each.text() for each in found.at("drop").items()]
    if "ALL" not in dropped:
        shown = ", ".join(str(each) for each in dropped) or "nothing"
        yield found.at("drop").problem(f"{container_name(container)} drops {shown}; allowed: `ALL`")


@baseline(
    "pod-security-host-path",
    title="No hostPath volumes",
    why="A hostPath gives access to files of other pods, and write access can take over the node.",
    of=pod_specs,
)
def host_path(spec: View) -> Iterator[Problem]:
    def check(volume: View) -> Iterator[Problem]:
        if volume.at("hostPath").present:
            path = volume.at("hostPath", "path")
            yield path.problem(f"volume `{volume.at('name').value}` is host path {path.shown()}; allowed: no hostPath")

    return problems_of(spec.at("volumes").items(), check)


@baseline(
    "pod-security-host-ports",
    title="No host ports",
    why="A host port bypasses Services and most NetworkPolicies, and only one pod per node can use it.",
    of=containers,
)
def host_ports(container: View) -> Iterator[Problem]:
    for port in container.at("ports").items():
        if port.at("hostPort").read() not in (None, 0):
            yield port.at("hostPort").problem(
                f"{container_name(container)} uses host port {port.at('hostPort').shown()}; allowed: none"
            )


@baseline(
    "pod-security-host-probes",
    title="Probes and hooks do not set `host`",
    why="With `host` set, the kubelet connects to any address of its network for the pod.",
    of=containers,
)
def host_probes(container: View) -> Iterator[Problem]:
    hooks = [container.at("lifecycle", hook) for hook in ("postStart", "preStop")]
    probes = [container.at(probe) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    for each in (*probes, *hooks):
        for handler in ("httpGet", "tcpSocket"):
            host = each.at(handler, "host")
            if host.read() not in (None, ""):
                yield host.problem(f"{container_name(container)} sets host {host.shown()}; allowed: no `host`")


@baseline(
    "pod-security-app-armor",
    title="AppArmor is not disabled",
    why="The runtime's default profile blocks known container escapes.",
    of=pods_and_containers,
)
def app_armor(subject: View) -> Iterator[Problem]:
    profile = _context(subject).at("appArmorProfile", "type")
    if profile.read() not in APP_ARMOR_TYPES:
        yield profile.problem(
            f"{_where(subject)} has AppArmor profile {profile.shown()}; allowed: RuntimeDefault, Localhost or nothing"
        )


@baseline(
    "pod-security-app-armor-annotation",
    title="AppArmor is not disabled by an annotation",
    why="The old annotation still has an effect.",
    of=pods,
)
def app_armor_annotation(pod: View) -> Iterator[Problem]:
    for name, value in pod.at("metadata", "annotations").entries().items():
        if not name.startswith(APP_ARMOR_ANNOTATION):
            continue
        profile = value.text() or ""
        if profile not in ("", "runtime/default") and not profile.startswith("localhost/"):
            yield value.problem(f"annotation {name} is {value.shown()}; allowed: runtime/default, localhost/*")


@baseline(
    "pod-security-selinux",
    title="SELinux isolates containers",
    why="With another user, role or type, a container may access files of other containers and of the node.",
    of=pods_and_containers,
)
def selinux(subject: View) -> Iterator[Problem]:
    options = _context(subject).at("seLinuxOptions")
    if options.at("type").read() not in SELINUX_TYPES:
        allowed = ", ".join(each for each in SELINUX_TYPES if each)
        yield options.at("type").problem(f"the SELinux type is {options.at('type').shown()}; allowed: {allowed}")
    for key in ("user", "role"):
        if options.at(key).read() not in (None, ""):
            yield options.at(key).problem(f"the SELinux {key} is {options.at(key).shown()}; allowed: nothing")


@baseline(
    "pod-security-proc-mount",
    title="/proc stays masked",
    why="An unmasked /proc lets the container read and change the kernel's state.",
    of=containers,
)
def proc_mount(container: View) -> Iterator[Problem]:
    mount = _context(container).at("procMount")
    if mount.read() not in (None, "Default"):
        yield mount.problem(f"{container_name(container)} has procMount {mount.shown()}; allowed: `Default` or nothing")


@restricted(
    "pod-security-seccomp",
    title="A seccomp profile is set",
    why="The profile blocks system calls that services do not need and exploits use.",
    remedy="Set securityContext.seccompProfile to `{type: RuntimeDefault}` on the pod.",
    of=linux_pod_specs,
)
def seccomp(spec: View) -> Iterator[Problem]:
    of_pod = _context(spec).at("seccompProfile", "type")
    allowed = ", ".join(SECCOMP_TYPES)

    def check(container: View) -> Iterator[Problem]:
        own = _context(container).at("seccompProfile", "type")
        profile = own if own.present else of_pod
        if profile.read() not in SECCOMP_TYPES:
            yield own.problem(f"{container_name(container)} has seccomp profile {profile.shown()}; allowed: {allowed}")

    yield from problems_of(_containers(spec), check)
    if of_pod.present and of_pod.read() not in SECCOMP_TYPES:
        yield of_pod.problem(f"the pod has seccomp profile {of_pod.shown()}; allowed: {allowed}")


def _containers(spec: View) -> list[View]:
    return [container for key in CONTAINER_KEYS for container in spec.at(key).items()]


@baseline(
    "pod-security-sysctls",
    title="Only safe sysctls",
    why="Other sysctls change the kernel of the whole node.",
    of=pod_specs,
)
def sysctls(spec: View) -> Iterator[Problem]:
    for each in _context(spec).at("sysctls").items():
        name = each.at("name")
        if name.read() not in SAFE_SYSCTLS:
            yield name.problem(f"the pod sets sysctl {name.shown()}; allowed: {', '.join(SAFE_SYSCTLS)}")


@restricted(
    "pod-security-volume-types",
    title="Only allowed volume types",
    why="Other types mount storage that the cluster does not control.",
    remedy="Use one of the allowed types, such as a PersistentVolumeClaim.",
    of=pod_specs,
)
def volume_types(spec: View) -> Iterator[Problem]:
    def check(volume: View) -> Iterator[Problem]:
        for kind, value in volume.entries().items():
            # hostPath has a rule of its own
            if kind not in ("name", "hostPath", *VOLUME_TYPES) and value.present:
                yield value.problem(
                    f"volume `{volume.at('name').value}` is of type {kind}; allowed: {', '.join(VOLUME_TYPES)}"
                )

    return problems_of(spec.at("volumes").items(), check)


@restricted(
    "pod-security-privilege-escalation",
    title="No process gains more rights than its parent",
    why="A set-uid program in the image could make any process root.",
    remedy="Set securityContext.allowPrivilegeEscalation to false.",
    of=linux_containers,
)
def privilege_escalation(container: View) -> Iterator[Problem]:
    flag = _context(container).at("allowPrivilegeEscalation")
    if flag.read() is not False:
        yield flag.problem(f"{container_name(container)} has allowPrivilegeEscalation {flag.shown()}; allowed: `false`")


@restricted(
    "pod-security-non-root",
    title="Containers must not run as root",
    why="Root in a container is root on the node if the isolation fails.",
    remedy="Set securityContext.runAsNonRoot to true on the pod.",
    of=pod_specs,
)
def non_root(spec: View) -> Iterator[Problem]:
    of_pod = _context(spec).at("runAsNonRoot")

    def check(container: View) -> Iterator[Problem]:
        own = _context(container).at("runAsNonRoot")
        flag = own if own.present else of_pod
        if flag.read() is not True:
            yield own.problem(f"{container_name(container)} has runAsNonRoot {flag.shown()}; allowed: `true`")

    yield from problems_of(_containers(spec), check)
    # The API server refuses this even if every container says otherwise.
    if of_pod.present and of_pod.read() is not True:
        yield of_pod.problem(f"the pod has runAsNonRoot {of_pod.shown()}; allowed: `true`")


@restricted(
    "pod-security-non-root-user",
    title="No container has user id 0",
    why="User id 0 is root.",
    remedy="Set securityContext.runAsUser to an id of 10000 or more.",
    of=pods_and_containers,
)
def non_root_user(subject: View) -> Iterator[Problem]:
    user = _context(subject).at("runAsUser")
    if user.read() == 0:
        yield user.problem(f"{_where(subject)} has runAsUser {user.shown()}; allowed: any but 0")
