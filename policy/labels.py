"""Label selectors and their matches, and namespaces as Kubernetes and the provider default them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from policy.declaration import Resource
from policy.view import View, all_known

DEFAULT_NAMESPACE = "default"


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
