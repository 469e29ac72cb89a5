"""Network: every reference finds its object, and only what is declared to be open is open."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from policy.declaration import Problem, Resource, View, all_known, any_known, known_matches, problems_of
from policy.kinds import objects, pods
from policy.model import ONLY_IN_PROD, Family, stack_rule
from policy.stack import DeclaredStack, Pod, has_labels, object_name, same_namespace

NETWORK = Family("Network")
SERVICE_PAGE = "https://kubernetes.io/docs/concepts/services-networking/service/"
INGRESS_PAGE = "https://kubernetes.io/docs/concepts/services-networking/ingress/"
POLICY_PAGE = "https://kubernetes.io/docs/concepts/services-networking/network-policies/"
# Such a Service only names the pods, and needs no port.
HEADLESS = "None"
EXPOSED_TYPES = ("NodePort", "LoadBalancer")


def _pods_behind(service: Resource, stack: DeclaredStack) -> list[Pod]:
    """The pods that the Service sends requests to."""
    selector = View.of(service).at("spec", "selector")

    def is_behind(pod: Pod) -> bool:
        return all_known((lambda: same_namespace(service, pod.resource), lambda: has_labels(selector, pod.labels)))

    return known_matches(stack.pods_having(selector), is_behind) if selector.unknown or selector.entries() else []


@stack_rule(
    "service-selects-pods",
    title="A Service selects pods of the stack",
    why="A Service that selects no pods has no endpoints, and connections to it fail.",
    source=f"{SERVICE_PAGE}#defining-a-service",
    remedy="Set spec.selector to labels of a workload's pods in the same namespace.",
    of=objects("Service"),
)
def service_selects_pods(service: View, stack: DeclaredStack) -> Iterator[Problem]:
    selector = service.at("spec", "selector")
    if service.at("spec", "type").read() != "ExternalName" and not _pods_behind(service.resource, stack):
        labels = ", ".join(f"{key}={value.read()}" for key, value in selector.entries().items()) or "nothing"
        yield selector.problem(f"the Service selects {labels}, which no pod of the stack has; allowed: labels of one")


@stack_rule(
    "service-port",
    title="A Service's target ports are ports of its pods",
    why="Connections to a targetPort that no container has are refused.",
    source=f"{SERVICE_PAGE}#field-spec-ports",
    remedy="Set targetPort to the name or the number of one of the containers' ports.",
    of=objects("Service"),
)
def service_port(service: View, stack: DeclaredStack) -> Iterator[Problem]:
    if service.at("spec", "type").read() == "ExternalName":
        return
    ports = service.at("spec", "ports")
    if not ports.items() and service.at("spec", "clusterIP").read() != HEADLESS:
        yield ports.problem("the Service has no ports; allowed: at least one")
    for pod in _pods_behind(service.resource, stack):
        known: set[str] = set()  # names and numbers
        for container in _containers(pod):
            for each in container.at("ports").items():
                known |= {str(each.at("name").read()), str(each.at("containerPort").read())}
        for port in ports.items():
            target = _target(port)
            if str(target.read()) not in known:
                yield target.problem(
                    f"port {port.at('port').shown()} targets {target.shown()}, which is no port of {pod.resource.ref}; "
                    f"allowed: {', '.join(sorted(known - {'None'})) or 'a port that its containers declare'}"
                )


def _containers(pod: Pod) -> list[View]:
    return [*pod.spec.at("containers").items(), *pod.spec.at("initContainers").items()]


@stack_rule(
    "ingress-backend",
    title="An Ingress leads to a Service and port of the stack",
    why="An Ingress without such a backend answers every request with 503.",
    source=f"{INGRESS_PAGE}#the-ingress-resource",
    remedy="Name a Service of the same namespace and one of its ports.",
    of=objects("Ingress"),
)
def ingress_backend(ingress: View, stack: DeclaredStack) -> Iterator[Problem]:
    paths = [path for rule in ingress.at("spec", "rules").items() for path in rule.at("http", "paths").items()]
    declared = [ingress.at("spec", "defaultBackend"), *(path.at("backend") for path in paths)]
    # A backend is a Service, or a `resource` of any other kind.
    backends = [backend for backend in declared if backend.present and not backend.at("resource").present]
    if not backends:
        yield ingress.at("spec").problem("the Ingress has no backend; allowed: rules or a defaultBackend of a service")
    for backend in backends:
        name, port = backend.at("service", "name"), backend.at("service", "port")
        found = stack.named("Service", name, ingress.resource)
        if not found:
            services = stack.of_kind("Service")
            known = ", ".join(f"`{object_name(each).value}`" for each in services) or "none, until one is declared"
            yield name.problem(f"it leads to Service {name.shown()}, which the stack does not have; allowed: {known}")
        elif not _serves(found[0], port):
            yield port.problem(
                f"it leads to port {port.at('name').value or port.at('number').value} of Service {name.shown()}, "
                "which has no such port; allowed: one of the Service's ports, by name or number"
            )


def _serves(service: Resource, port: View) -> bool:
    ports = View.of(service).at("spec", "ports").items()
    if port.at("name").present:
        return any_known(ports, lambda each: each.at("name").read() == port.at("name").read())
    return any_known(
        ports, lambda each: port.at("number").present and each.at("port").read() == port.at("number").read()
    )


@stack_rule(
    "ingress-tls",
    title="Every host of an Ingress has TLS",
    why="Without TLS, passwords and data cross the internet unencrypted.",
    source=f"{INGRESS_PAGE}#tls",
    remedy="Name the certificate's Secret for the host in spec.tls (`ingress.tlsSecretName`).",
    of=objects("Ingress"),
    levels=ONLY_IN_PROD,
)
def ingress_tls(ingress: View, _stack: DeclaredStack) -> Iterator[Problem]:
    entries = [entry for entry in ingress.at("spec", "tls").items() if entry.at("secretName").present]
    covered = [host.text() for entry in entries for host in entry.at("hosts").items()]
    for rule in ingress.at("spec", "rules").items():
        host = rule.at("host")
        # No host means every host, and TLS without hosts means the same.
        if host.text() not in covered and not (host.read() is None and entries and not covered):
            met = f"host {host.shown()}" if host.present else "a rule for every host"
            yield rule.problem(f"{met} has no TLS; allowed: an entry of spec.tls with the host and a secretName")
    default = ingress.at("spec", "defaultBackend")
    if default.present and not entries:
        yield default.problem("it answers every host without TLS; allowed: an entry of spec.tls with a secretName")


@stack_rule(
    "network-policy",
    title="NetworkPolicies isolate every pod for ingress and egress",
    why="A pod that no NetworkPolicy selects accepts all connections and can open any.",
    source=f"{POLICY_PAGE}#the-two-sorts-of-pod-isolation",
    remedy="Declare a NetworkPolicy with policyTypes Ingress and Egress that selects the pod.",
    of=pods,
)
def network_policy(template: View, stack: DeclaredStack) -> Iterator[Problem]:
    pod = Pod(template.resource, template)
    for direction in ("Ingress", "Egress"):
        policies = stack.selecting(pod, "NetworkPolicy", "spec", "podSelector")
        if not any_known(policies, partial(_isolates, pod=pod, direction=direction, stack=stack)):
            yield pod.labels.problem(
                f"no NetworkPolicy of the stack selects this pod for {direction}; "
                "allowed: one that does, in the same namespace"
            )


def _isolates(policy: Resource, *, pod: Pod, direction: str, stack: DeclaredStack) -> bool:
    spec = View.of(policy).at("spec")
    return all_known(
        (
            lambda: stack.selects(policy, spec.at("podSelector"), pod),
            lambda: direction in _directions(spec),
        )
    )


def _directions(spec: View) -> list[str | None]:
    """https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/#NetworkPolicySpec"""
    given = [each.text() for each in spec.at("policyTypes").items()]
    return given or (["Ingress", "Egress"] if spec.at("egress").items() else ["Ingress"])


@stack_rule(
    "exposure-declared",
    title="A NodePort or LoadBalancer is open in the NetworkPolicy of its pods",
    why="The type alone exposes a Service outside the cluster, and is easily copied by mistake.",
    source=f"{SERVICE_PAGE}#publishing-services-service-types",
    remedy="Use ClusterIP, or open the pods' port to all sources in their NetworkPolicy (an ingress rule with it in "
    "`ports` and without `from`), as `service.type` in service.yaml does.",
    of=objects("Service"),
)
def exposure_declared(service: View, stack: DeclaredStack) -> Iterator[Problem]:
    view = service.at("spec", "type")
    outside = service.at("spec", "externalIPs")
    if outside.items():
        yield outside.problem("the Service has externalIPs; allowed: none")
    if view.read() not in EXPOSED_TYPES:
        return

    def check(pod_and_port: tuple[Pod, View]) -> Iterator[Problem]:
        pod, port = pod_and_port
        policies = stack.selecting(pod, "NetworkPolicy", "spec", "podSelector")
        if not any_known(policies, partial(_opens, port=port, pod=pod, stack=stack)):
            yield view.problem(
                f"the Service is of type {view.shown()}, and no NetworkPolicy opens port {_target(port).shown()} of "
                f"{pod.resource.ref} to all sources; allowed: `ClusterIP`, or a NetworkPolicy that does"
            )

    ports = service.at("spec", "ports").items()
    yield from problems_of(product(_pods_behind(service.resource, stack), ports), check)


def _target(port: View) -> View:
    """The target of a Service's port: a name or number of the pod's."""
    return port.at("targetPort") if port.at("targetPort").present else port.at("port")


def _opens(policy: Resource, *, port: View, pod: Pod, stack: DeclaredStack) -> bool:
    """Whether the policy has a rule that lets everybody through to the target of the Service's port."""
    rules = View.of(policy).at("spec", "ingress")
    return all_known(
        (
            lambda: _isolates(policy, pod=pod, direction="Ingress", stack=stack),
            lambda: any_known(rules.items(), partial(_is_open, port=port, pod=pod)),
        )
    )


def _is_open(rule: View, *, port: View, pod: Pod) -> bool:
    """A rule without `from` is for everybody, one without `ports` for every port."""
    ports = rule.at("ports")
    return all_known(
        (
            lambda: not rule.at("from").items(),
            lambda: not ports.items() or any_known(ports.items(), partial(_lets_through, port=port, pod=pod)),
        )
    )


def _lets_through(opened: View, *, port: View, pod: Pod) -> bool:
    """https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/#NetworkPolicyPort"""

    def covers_the_target() -> bool:
        first = opened.at("port")
        if not first.present:
            return True
        # All names and numbers of the port in the pod: the NetworkPolicy and the Service may use different ones.
        target = str(_target(port).read())
        ports = [each for container in _containers(pod) for each in container.at("ports").items()]
        called = [{str(each.at(key).read()) for key in ("name", "containerPort")} for each in ports]
        names_and_numbers = {target}.union(*(each for each in called if target in each))
        last = opened.at("endPort").number()
        numbers = [int(each) for each in names_and_numbers if each.isdecimal()]
        in_range = last is not None and any((first.number() or 0) <= each <= last for each in numbers)
        return in_range or str(first.read()) in names_and_numbers

    return all_known((lambda: _protocol(opened) == _protocol(port), covers_the_target))


def _protocol(port: View) -> str:
    return port.at("protocol").text() or "TCP"
