"""`services/<folder>/resources.py`: a service's own objects, in ordinary Pulumi, with common defaults filled in."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes import core, networking

from components import network, pod
from components.kubernetes_defaults import NAME_LABEL, changed, key_of, plain
from components.pod import USER_ID
from components.program import declare_nothing
from components.settings import configuration_error
from policy.kinds import BUILT_IN_GROUPS, NAMESPACED_KINDS, POD_TEMPLATES
from services import catalog
from services.spec import ServiceSpec
from slipway.engine.stages import KUBERNETES_PREFIX
from slipway.state.kubernetes_objects import DEPLOYMENT_TYPE

FUNCTION = "resources"
COMPONENT_KINDS = ("Chart", "ConfigFile", "ConfigGroup", "Directory")
STATEFUL_KINDS = ("PersistentVolumeClaim", "StatefulSet")
OWN_TYPES = "slipway:index:"
CRD_TYPE = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"


@dataclass(frozen=True)
class Service:
    """The service that `resources(service)` of a `resources.py` is called with.

    `component` is the parent, `provider` the Kubernetes provider, and `labels` are the default labels of an object.
    `image` is the service's own by digest, `namespace` the environment's. Both resolve once everything is built and
    tested, so that resources that use them wait for that.
    """

    name: str
    component: pulumi.ComponentResource
    provider: kubernetes.Provider
    namespace: pulumi.Output[str]
    labels: Mapping[str, str]
    image: pulumi.Output[str]
    spec: ServiceSpec
    folder: Path


class ResourcesError(Exception):
    """A `resources.py` declares something that it must not; its line is in the traceback."""


@dataclass
class ServiceResources:
    """The `resources.py` of all services, and the owner of each declared object: by type, namespace unless it is an
    output, and name in the cluster.
    """

    after_builds: Callable[[Any], pulumi.Output[Any]]
    """Holds a value back until every image is built and tested."""
    service: Service | None = None
    """The service whose `resources.py` runs."""
    names: frozenset[str] = frozenset()
    """The names of all services."""
    deployments: list[pulumi.Resource] = field(default_factory=list)
    """The ones that no component of ours waits for."""
    _owners: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _cluster_wide: set[str] = field(default_factory=set)
    """Types of cluster-scoped custom resources, as their CustomResourceDefinition says."""

    def __post_init__(self) -> None:
        _latest[:] = [self]

    def declare(self, services: Iterable[tuple[catalog.Service, Service]]) -> None:
        """Call `resources(service)` of each service that has one. Raises RunError, before anything is built or changed,
        if one cannot be loaded, raises, or declares an object that belongs to another.
        """
        services = list(services)
        self.names = frozenset(given.name for _, given in services)
        for found, given in services:
            file = found.folder / catalog.RESOURCES_FILE
            if not file.is_file():
                continue
            self.service = given
            try:
                _function(file)(given)
            except (Exception, SystemExit) as error:
                declare_nothing()
                raise configuration_error([_problem(error, file)]) from error
            finally:
                self.service = None

    def fill_in(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        """A stack transformation: the common defaults for the objects that a `resources.py` declares."""
        if not args.type_.startswith(KUBERNETES_PREFIX) or args.opts.urn or args.opts.id or self is not _latest[-1]:
            return None
        service, parent, props = self.service, args.opts.parent, dict(args.props)
        is_object = "metadata" in props or {"kind", "api_version"} <= set(props)
        if service:
            if parent is None:
                # In place: the SDK refuses a transformation that returns other options with another parent.
                args.opts.parent = service.component
            if is_object:
                props = self._object(service, args.type_, args.name, props)
            elif args.type_.rsplit(":", 1)[-1] in COMPONENT_KINDS and not props.get("namespace"):
                props["namespace"] = service.namespace
        self._own(args.type_, props, service.name if service else parent._name if parent else "the program")
        if service or parent is None or not parent._type.startswith(OWN_TYPES):
            if args.type_ == DEPLOYMENT_TYPE:
                self.deployments.append(args.resource)
            held = "metadata" if is_object else "namespace"
            if props.get(held) is not None:
                props[held] = self.after_builds(props[held])
        return pulumi.ResourceTransformationResult(props, args.opts)

    def _own(self, type_: str, props: Mapping[str, Any], owner: str) -> None:
        metadata = plain(props.get("metadata"))
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        if not isinstance(metadata, Mapping) or not isinstance(name, str):
            return
        namespace = metadata.get("namespace")
        key = type_, namespace if isinstance(namespace, str) else "", name
        if self.service and key in self._owners:
            before = self._owners[key]
            raise ResourcesError(f"{type_.rsplit(':', 1)[-1]} {name} already belongs to {before}; give it another name")
        self._owners.setdefault(key, owner)

    def _object(self, service: Service, type_: str, name: str, props: dict[str, Any]) -> dict[str, Any]:
        definition = plain(props.get("spec")) if type_ == CRD_TYPE else None
        if isinstance(definition, Mapping) and definition.get("scope") == "Cluster":
            custom_kind = (plain(definition.get("names")) or {}).get("kind")
            for version in map(plain, definition.get("versions") or ()):
                custom_type = f"{definition.get('group')}/{version.get('name')}:{custom_kind}"
                self._cluster_wide.add(f"{KUBERNETES_PREFIX}{custom_type}")
        group, kind = type_.split(":")[1].partition("/")[0], type_.rsplit(":", 1)[-1]
        built_in = group in BUILT_IN_GROUPS
        namespaced = kind in NAMESPACED_KINDS if built_in else type_ not in self._cluster_wide
        metadata = changed(props.get("metadata"), lambda known: _metadata(known, service, name, namespaced=namespaced))
        props["metadata"] = metadata
        labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
        of_another = labels.get(NAME_LABEL) if isinstance(labels, Mapping) else None
        if of_another in self.names - {service.name}:
            raise ResourcesError(f"its label {NAME_LABEL} names another service, {of_another}")
        if built_in and kind in POD_TEMPLATES:
            own_name = metadata.get("name") if isinstance(metadata, Mapping) else None
            _with_pod_defaults(service, self.names, own_name if isinstance(own_name, str) else name, kind, props)
        return props


def mentions_stateful_kinds(service: catalog.Service) -> bool:
    """Whether the service's `resources.py` may declare a stateful kind: the Namespace is declared before it runs."""
    file = service.folder / catalog.RESOURCES_FILE
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return any(kind in text for kind in STATEFUL_KINDS)


_latest: list[ServiceResources] = []
"""Of the newest environment: a process that declares several, like tests, has the transformations of all of them."""


def _function(file: Path) -> Callable[[Service], None]:
    """`resources` of the file, which cannot import from its own folder: each service has its own packages."""
    spec = importlib.util.spec_from_file_location(f"slipway_resources_{file.parent.name}", file)
    if spec is None or spec.loader is None:
        raise ResourcesError("it cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, FUNCTION, None)
    if not callable(function):
        raise ResourcesError(f"it has no function `{FUNCTION}`; allowed: `def {FUNCTION}(service: Service) -> None`")
    return function  # type: ignore[no-any-return]


def _problem(error: BaseException, file: Path) -> str:
    """The error with the last line of the file that led to it."""
    shown = Path(file).resolve()
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if Path(each.filename) == shown]
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(shown) else (lines or [None])[-1]
    try:
        shown = shown.relative_to(Path.cwd())
    except ValueError:  # a service of a test, outside of the repository
        shown = file
    if isinstance(error, SyntaxError):
        return f"{shown}{f':{line}' if line else ''}: SyntaxError: {error.msg}"
    what = str(error) if isinstance(error, ResourcesError | pulumi.RunError) else f"{type(error).__name__}: {error}"
    return f"{shown}{f':{line}' if line else ''}: {what}"


def _metadata(given: dict[str, Any], service: Service, name: str, *, namespaced: bool) -> dict[str, Any]:
    """The metadata with a default name, namespace and labels; `namespace: None` means no namespace."""
    metadata = {"name": name, **({"namespace": service.namespace} if namespaced else {}), **given}
    metadata["labels"] = changed(given.get("labels"), lambda labels: {**service.labels, **labels})
    return {key: each for key, each in metadata.items() if each is not None}


def _with_pod_defaults(service: Service, names: Collection[str], name: str, kind: str, props: dict[str, Any]) -> None:
    """Fill in what the policies require of pods, and declare the ServiceAccount and NetworkPolicy that they lack."""
    # Pods with the name of a service get its requests.
    own = name if name not in names else f"{name}-{kind.lower()}"
    needs: list[str] = []

    def filled_in(known: dict[str, Any]) -> dict[str, Any]:
        labels = {**service.labels, NAME_LABEL: own}
        known["metadata"] = changed(known.get("metadata"), lambda metadata: _pod_metadata(metadata, labels, names))
        known["spec"] = changed(known.get("spec"), lambda spec: _pod_spec(spec, service, own, kind, needs))
        return known

    *path, last = (*POD_TEMPLATES[kind],) or ("",)
    if not last:  # a Pod
        props.update(filled_in(props))
    else:
        target = props
        for field_name in path:
            key = key_of(target, field_name)
            inner = plain(target.get(key)) or {}
            if not isinstance(inner, Mapping):
                return  # an output: its content is the program's own
            target[key] = dict(inner)
            target = target[key]
        key = key_of(target, last)
        target[key] = changed(target.get(key), filled_in)
    if needs:
        core.v1.ServiceAccount(own, metadata={"name": own}, automount_service_account_token=False)
        rules = {**network.policy_spec(service.spec, ()), "pod_selector": {"match_labels": {NAME_LABEL: own}}}
        networking.v1.NetworkPolicy(own, metadata={"name": own}, spec=rules)


def _pod_metadata(given: dict[str, Any], labels: Mapping[str, str], names: Collection[str]) -> dict[str, Any]:
    own = plain(given.get("labels"))
    if isinstance(own, Mapping) and own.get(NAME_LABEL) in names:
        raise ResourcesError(
            f"its pods have the label {NAME_LABEL}={own[NAME_LABEL]}, so that service's "
            "requests would reach them; use another value, or no label: then it is the name of the object"
        )
    return {**given, "labels": changed(given.get("labels"), lambda known: {**labels, **known})}


def _pod_spec(given: dict[str, Any], service: Service, own: str, kind: str, needs: list[str]) -> dict[str, Any]:
    account = key_of(given, "serviceAccountName")
    if not given.get(account):
        needs.append(own)
        given[account] = own
    defaults: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if kind in ("CronJob", "Job"):
        defaults["restartPolicy"] = "Never"
    _default(given, defaults)
    for key in ("containers", "initContainers"):
        listed = given.get(found := key_of(given, key))
        if isinstance(listed, list | tuple):
            given[found] = [changed(each, lambda known: _container(known, service, own)) for each in listed]
    return given


def _container(given: dict[str, Any], service: Service, own: str) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "name": own,
        "image": service.image,
        "resources": pod.resources(service.spec),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    _default(given, defaults)
    return given


def _default(given: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    """Set missing fields, and the missing keys of a given `securityContext`."""
    for name, default in defaults.items():
        key = key_of(given, name)
        known = plain(given.get(key))
        if known is None:
            given[key] = default
        elif isinstance(default, Mapping) and isinstance(known, Mapping) and name == "securityContext":
            merged = dict(known)
            _default(merged, default)
            given[key] = merged
