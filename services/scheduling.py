"""Where pods run and how they resolve names: parts of a pod's spec, with the names and shapes of Kubernetes.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodSpec
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictInt, StrictStr, model_validator

from services.fields import LabelName, Labels, LabelValue, Model, QualifiedName, SubdomainName

MANY_WITHOUT_VALUES = ("Exists", "DoesNotExist")
NUMERIC = ("Gt", "Lt")


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not an IP address; allowed are forms like 10.0.0.7 or 2001:db8::7") from error


Address = Annotated[StrictStr, AfterValidator(_address)]
Weight = Annotated[StrictInt, Field(ge=1, le=100)]
DnsPolicy = Literal["ClusterFirst", "Default", "None"]


class KubernetesShape(Model):
    """A part of a pod's spec that is passed to Kubernetes as it is written."""


class Toleration(KubernetesShape):
    """Lets pods onto nodes with a taint. An empty `key` with `Exists` tolerates every taint."""

    key: QualifiedName | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[StrictInt, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _can_match(self) -> Toleration:
        if self.operator == "Exists" and self.value:
            raise ValueError(f"`value` is {self.value!r}, and `operator: Exists` takes none; remove it")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("`key` is missing; only `operator: Exists` may omit it, and then tolerates every taint")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("`tolerationSeconds` needs `effect: NoExecute`")
        return self


class LabelRequirement(KubernetesShape):
    """A requirement on a label of a pod or namespace."""

    key: QualifiedName
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[LabelValue] = []

    @model_validator(mode="after")
    def _has_values(self) -> LabelRequirement:
        _require_values(self.operator, self.values)
        return self


class NodeRequirement(KubernetesShape):
    """A requirement on a node's label, or in `matchFields` on its name."""

    key: QualifiedName
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: list[LabelValue] = []

    @model_validator(mode="after")
    def _has_values(self) -> NodeRequirement:
        _require_values(self.operator, self.values)
        return self


def _require_values(operator: str, values: list[str]) -> None:
    if operator in MANY_WITHOUT_VALUES and values:
        raise ValueError(f"`values` has {len(values)}, and `operator: {operator}` takes none; remove it")
    if operator in NUMERIC and (len(values) != 1 or not values[0].isdecimal()):
        raise ValueError(f"`operator: {operator}` takes one whole number in `values`, in quotes")
    if operator in ("In", "NotIn") and not values:
        raise ValueError(f"`operator: {operator}` needs at least one of `values`")


class LabelSelector(KubernetesShape):
    """Selects pods or namespaces; all requirements must hold."""

    match_labels: Labels = {}
    match_expressions: list[LabelRequirement] = []


class NodeSelectorTerm(KubernetesShape):
    """Selects nodes; all requirements must hold."""

    match_expressions: list[NodeRequirement] = []
    match_fields: list[NodeRequirement] = []


class NodeSelector(KubernetesShape):
    """Nodes that match one of the terms."""

    node_selector_terms: Annotated[list[NodeSelectorTerm], Field(min_length=1)]


class PreferredSchedulingTerm(KubernetesShape):
    """Nodes that are preferred, by weight."""

    weight: Weight
    preference: NodeSelectorTerm


class NodeAffinity(KubernetesShape):
    """Which nodes pods must or should run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: list[PreferredSchedulingTerm] = []


class PodAffinityTerm(KubernetesShape):
    """Other pods, and the node label that defines what is near them."""

    topology_key: QualifiedName
    label_selector: LabelSelector | None = None
    namespaces: list[LabelName] = []
    namespace_selector: LabelSelector | None = None
    match_label_keys: list[QualifiedName] = []
    mismatch_label_keys: list[QualifiedName] = []


class WeightedPodAffinityTerm(KubernetesShape):
    """The same, preferred by weight."""

    weight: Weight
    pod_affinity_term: PodAffinityTerm


class PodAffinity(KubernetesShape):
    """The other pods that pods must or should run near, or in `podAntiAffinity` away from."""

    required_during_scheduling_ignored_during_execution: list[PodAffinityTerm] = []
    preferred_during_scheduling_ignored_during_execution: list[WeightedPodAffinityTerm] = []


class Affinity(KubernetesShape):
    """https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#affinity-and-anti-affinity"""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class TopologySpreadConstraint(KubernetesShape):
    """https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/

    Without a `labelSelector` it selects the service's own pods.
    """

    max_skew: Annotated[StrictInt, Field(ge=1)]
    topology_key: QualifiedName
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    label_selector: LabelSelector | None = None
    min_domains: Annotated[StrictInt, Field(ge=1)] | None = None
    match_label_keys: list[QualifiedName] = []
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    node_taints_policy: Literal["Honor", "Ignore"] | None = None

    @model_validator(mode="after")
    def _can_be_met(self) -> TopologySpreadConstraint:
        if self.min_domains is not None and self.when_unsatisfiable != "DoNotSchedule":
            raise ValueError("`minDomains` needs `whenUnsatisfiable: DoNotSchedule`")
        return self


class HostAlias(KubernetesShape):
    """A line of the pods' /etc/hosts."""

    ip: Address
    hostnames: Annotated[list[SubdomainName], Field(min_length=1)]


class DnsOption(KubernetesShape):
    """An option of the pods' /etc/resolv.conf, such as `{name: ndots, value: "2"}`."""

    name: StrictStr
    value: StrictStr | None = None


class DnsConfig(KubernetesShape):
    """https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-dns-config"""

    nameservers: Annotated[list[Address], Field(max_length=3)] = []
    searches: Annotated[list[StrictStr], Field(max_length=32)] = []
    options: list[DnsOption] = []
