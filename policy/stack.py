"""All resources of a stack at once, and how they refer to each other: by label selector, namespace and name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from policy.declaration import Resource, View, all_known, any_known, known_matches
from policy.kinds import is_built_in, pods

# A key and a value; `None` stands for all objects, known or not, that no single label tells apart.
Label = tuple[str, str] | None
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True)
class Pod:
    """A pod or pod template and the resource that makes pods from it."""

    resource: Resource
    template: View

    @property
    def labels(self) -> View:
        return self.template.at("metadata", "labels")

    @property
    def spec(self) -> View:
        return self.template.at("spec")


class DeclaredStack:
    """The resources, and the registries that images may come from, each with or without a path.

    Look-ups use one label first, so that a stack of thousands takes time linear in its size.
    """

    def __init__(self, resources: Iterable[Resource], registries: Iterable[str] = ()) -> None:
        self.resources = tuple(resources)
        self.registries = tuple(registries)
        self._by_value: dict[tuple[str, tuple[str, ...]], dict[Any, list[Resource]]] = {}
        self._selecting: dict[tuple[str, tuple[str, ...]], dict[Label, list[Resource]]] = {}

    def of_kind(self, *kinds: str) -> list[Resource]:
        """Kubernetes' own objects of these kinds."""
        return [resource for kind in kinds for resource in self._by_kind.get(kind, ())]

    @cached_property
    def _by_kind(self) -> dict[str, list[Resource]]:
        found: dict[str, list[Resource]] = defaultdict(list)
        for resource in self.resources:
            if is_built_in(resource):
                found[resource.kind].append(resource)
        return found

    @cached_property
    def by_type_and_name(self) -> dict[tuple[str, str], Resource]:
        return {(resource.type, resource.name): resource for resource in self.resources}

    def where(self, kind: str, value: View, *keys: str) -> list[Resource]:
        """Objects of the kind that may have the same value below `keys`: candidates that the caller must check."""
        if (kind, keys) not in self._by_value:
            index: dict[Any, list[Resource]] = defaultdict(list)
            for each in self.of_kind(kind):
                found = View.of(each).at(*keys).value
                index[found if isinstance(found, str) else None].append(each)
            self._by_value[kind, keys] = index
        index, text = self._by_value[kind, keys], value.value
        if value.unknown:
            return self.of_kind(kind)
        return [*(index.get(text, ()) if isinstance(text, str) else ()), *index.get(None, ())]

    def named(self, kind: str, name: View, beside: Resource) -> list[Resource]:
        """Objects of the kind that `beside` refers to by this name in its own namespace.

        Raises Undecided if none is known to be it and one may be.
        """
        return known_matches(self.where(kind, name, "metadata", "name"), lambda each: is_object(each, name, beside))

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        return tuple(Pod(resource, template) for resource in self.resources for template in pods(resource))

    def pods_as(self, account: str) -> list[Pod]:
        """Pods that may run under the ServiceAccount of this name."""
        return [*self._pods_by_account.get(account, ()), *self._pods_by_account.get(None, ())]

    @cached_property
    def _pods_by_account(self) -> dict[str | None, list[Pod]]:
        found: dict[str | None, list[Pod]] = defaultdict(list)
        for pod in self.pods:
            name = pod.spec.at("serviceAccountName").value
            if name is not None:
                found[name if isinstance(name, str) else None].append(pod)
        return found

    @cached_property
    def _pods_by_label(self) -> dict[Label, list[Pod]]:
        found: dict[Label, list[Pod]] = defaultdict(list)
        for pod in self.pods:
            for label in _labels(pod.labels.value) or [None]:
                found[label].append(pod)
        return found

    def pods_having(self, labels_wanted: View) -> Iterator[Pod]:
        """Pods that may have these labels: candidates that the caller must check."""
        labels = _labels(labels_wanted.value)
        if not labels:
            return iter(self.pods)
        return iter([*self._pods_by_label.get(labels[0], []), *self._pods_by_label.get(None, [])])

    def selecting(self, pod: Pod, kind: str, *keys: str) -> Iterator[Resource]:
        """Objects of the kind, their label selector below `keys`, that may select the pod; check each by `selects`."""
        if (kind, keys) not in self._selecting:
            by_first_label: dict[Label, list[Resource]] = defaultdict(list)
            for each in self.of_kind(kind):
                wanted = _labels(View.of(each).at(*keys).at("matchLabels").value)
                by_first_label[wanted[0] if wanted else None].append(each)
            self._selecting[kind, keys] = by_first_label
        index = self._selecting[kind, keys]
        labels = _labels(pod.labels.value)
        if labels is None:
            return iter(self.of_kind(kind))
        return (each for label in [*labels, None] for each in index.get(label, ()))

    def selects(self, by: Resource, selector: View, pod: Pod) -> bool:
        """Whether the label selector of `by` selects this pod, which must be in the same namespace."""
        return all_known((lambda: same_namespace(by, pod.resource), lambda: matches(selector, pod.labels)))

    def selects_any(self, by: Resource, selector: View) -> bool:
        """Whether the label selector of `by` selects any pod of the stack."""
        pods = self.pods_having(selector.at("matchLabels"))
        return any_known(pods, lambda pod: self.selects(by, selector, pod))


def _labels(value: Any) -> list[Label] | None:
    """The labels as pairs; `None` if one of them is not known."""
    if not isinstance(value, Mapping):
        return [] if value is None else None
    known: list[Label] = [(str(key), each) for key, each in value.items() if isinstance(each, str)]
    return known if len(known) == len(value) else None


def has_labels(match_labels: View, labels: View) -> bool:
    """Whether `labels` have every key and value of the mapping `match_labels`."""
    return all_known(_label_conditions(match_labels, labels))


def matches(selector: View, labels: View) -> bool:
    """Whether a LabelSelector selects an object with these labels; an empty one selects everything.

    https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
    """
    expressions = [partial(_holds, each, labels) for each in selector.at("matchExpressions").items()]
    return all_known([*_label_conditions(selector.at("matchLabels"), labels), *expressions])


def _label_conditions(match_labels: View, labels: View) -> list[Callable[[], bool]]:
    return [partial(_equal, labels.at(key), value) for key, value in match_labels.entries().items()]


def _equal(one: View, other: View) -> bool:
    return bool(one.read() == other.read())


def _holds(expression: View, labels: View) -> bool:
    label = labels.at(str(expression.at("key").text())).read()
    values = [value.read() for value in expression.at("values").items()]
    match expression.at("operator").text():
        case "In":
            return label in values
        case "NotIn":
            return label not in values
        case "Exists":
            return label is not None
        case "DoesNotExist":
            return label is None
    return False


def namespace(resource: Resource) -> View:
    """The namespace it is created in: its own, its provider's, or `default`."""
    own = View.of(resource).at("metadata", "namespace")
    if own.value is not None:
        return own
    default = resource.options.default_namespace
    return View(DEFAULT_NAMESPACE if default is None else default, own.path, resource)


def same_namespace(one: Resource, other: Resource) -> bool:
    return _equal(namespace(one), namespace(other))


def object_name(resource: Resource) -> View:
    """The object's name in the cluster."""
    return View.of(resource).at("metadata", "name")


def is_object(resource: Resource, name: View, beside: Resource) -> bool:
    """Whether `resource` is the object that `beside` refers to by `name` in its own namespace."""
    return all_known((partial(_equal, object_name(resource), name), partial(same_namespace, resource, beside)))
