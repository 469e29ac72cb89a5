"""Labels of every Kubernetes object, a stack transformation with its other defaults, and how inputs of objects are read
and changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from functools import partial
from inspect import isawaitable
from pathlib import Path
from typing import Any

import pulumi
from pulumi import ResourceHook, ResourceHookArgs, ResourceHookBinding, _types
from pulumi.resource_hooks import ResourceHookOptions
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor

from components.program import in_thread, register_transformation
from slipway.backend import History
from slipway.cluster.client import Cluster
from slipway.cluster.deployed import ApiResource
from slipway.cluster.ownership import Creations, Ownership
from slipway.engine.pulumi_cli import Pulumi
from slipway.engine.stages import OWNERSHIP_HOOK
from slipway.project import Project
from slipway.state.kubernetes_objects import NAMESPACE_TYPE, directives

# https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
NAME_LABEL = "app.kubernetes.io/name"
COMPONENT_LABEL = "app.kubernetes.io/component"
# Of components.rollback, which also declares the recorded objects that the provider declared.
RECORDED = "RecordedComponent"
# Components whose objects the provider itself declares.
REMOTE_TYPES = {
    "kubernetes:helm.sh/v4:Chart",
    "kubernetes:yaml/v2:ConfigFile",
    "kubernetes:yaml/v2:ConfigGroup",
    "kubernetes:kustomize/v2:Directory",
}
# A finalizer without a controller must not hold an update for the provider's ten minutes.
DELETE_TIMEOUT = "120s"
# Everything in it is deleted first.
NAMESPACE_DELETE_TIMEOUT = "600s"


def object_labels(name: str) -> dict[str, str]:
    """The labels of every object of this project; `name` is its owner, such as a service."""
    return {
        NAME_LABEL: name,
        "app.kubernetes.io/part-of": pulumi.get_project(),
        "app.kubernetes.io/managed-by": "pulumi",
    }


def register_kubernetes_defaults(context: str | None, adopt: Collection[str]) -> None:
    """Give every Kubernetes object of this program its directives, a delete timeout, and a hook that refuses to create
    an object that exists and is not this stack's. Call it before the first resource is declared.
    """
    hooks = None if isinstance(get_monitor(), MockMonitor) else _ownership_hook(context, adopt)
    register_transformation(partial(_with_defaults, hooks))


def _with_defaults(
    hooks: ResourceHookBinding | None, args: pulumi.ResourceTransformationArgs
) -> pulumi.ResourceTransformationResult | None:
    if args.type_ in REMOTE_TYPES and hooks and args.resource.__class__.__name__ != RECORDED:
        of_children = pulumi.ResourceOptions(transforms=[partial(_with_defaults_of_child, hooks)])
        return pulumi.ResourceTransformationResult(args.props, pulumi.ResourceOptions.merge(args.opts, of_children))
    annotations = directives(args.type_)
    is_object = "metadata" in args.props or {"kind", "api_version"} <= set(args.props)
    if not annotations or not is_object or args.opts.id or args.opts.urn:
        return None
    props = {**args.props, "metadata": _annotated(args.props.get("metadata"), annotations)}
    return pulumi.ResourceTransformationResult(props, _options(args.type_, args.opts, hooks))


def _options(type_: str, opts: pulumi.ResourceOptions, hooks: ResourceHookBinding | None) -> pulumi.ResourceOptions:
    delete = NAMESPACE_DELETE_TIMEOUT if type_ == NAMESPACE_TYPE else DELETE_TIMEOUT
    timeouts = opts.custom_timeouts or pulumi.CustomTimeouts()
    defaults = pulumi.ResourceOptions(
        custom_timeouts=pulumi.CustomTimeouts(timeouts.create, timeouts.update, timeouts.delete or delete),
        hooks=hooks,
    )
    return pulumi.ResourceOptions.merge(opts, defaults)


def _with_defaults_of_child(
    hooks: ResourceHookBinding, args: pulumi.ResourceTransformArgs
) -> pulumi.ResourceTransformResult | None:
    """The same for objects that the provider declares, which transformations do not see; adds missing labels too."""
    annotations = directives(args.type_)
    if not annotations or not args.custom:
        return None
    metadata = dict(_annotated(args.props.get("metadata"), annotations))
    labels = object_labels(str(metadata.get("name", args.name)))
    metadata["labels"] = changed(metadata.get("labels"), lambda given: {**labels, **given})
    props = {**args.props, "metadata": metadata}
    return pulumi.ResourceTransformResult(props, _options(args.type_, args.opts, hooks))


def _annotated(metadata: Any, more: Mapping[str, str]) -> Any:
    """`metadata` with more annotations; either may be an output."""
    return changed(
        metadata,
        lambda known: {**known, "annotations": changed(known.get("annotations"), lambda given: {**given, **more})},
    )


def _ownership_hook(context: str | None, adopt: Collection[str]) -> ResourceHookBinding:
    """The hook reads nothing and opens no connection before the engine creates a resource."""
    folder, stack = Path.cwd(), pulumi.get_stack()
    project = Project(folder)

    ownership = Ownership(
        partial(Cluster.connect, context),
        lambda: History.open(Pulumi(folder, os.environ), project, stack),
        Creations.of(folder, project.name, stack),
        adopt,
    )

    async def refuse_what_is_not_owned(args: ResourceHookArgs) -> None:
        inputs = args.new_inputs or {}
        metadata, kind = inputs.get("metadata"), ApiResource(str(inputs.get("apiVersion")), str(inputs.get("kind")))
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        if not isinstance(metadata, Mapping) or not isinstance(name, str):
            return  # the provider generates a name that no other object has
        namespace = metadata.get("namespace")
        note = await in_thread(
            ownership.require,
            args.urn,
            kind,
            namespace if isinstance(namespace, str) else "default",
            name,
            preview=pulumi.runtime.is_dry_run(),
        )
        if note:
            pulumi.log.info(note)

    hook = ResourceHook(OWNERSHIP_HOOK, refuse_what_is_not_owned, ResourceHookOptions(on_dry_run=True))
    return ResourceHookBinding(before_create=[hook])


def plain(value: Any) -> Any:
    """An object of an SDK class as a mapping with the same keys, in Python's spelling; any other value unchanged.

    Fields that are None are left out: they are not set.
    """
    if not _types.is_input_type(type(value)):
        return value
    fields = _types.input_type_to_untranslated_dict(value)
    return {key: each for key, each in fields.items() if each is not None}


def changed(value: Any, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Any:
    """The mapping `value`, which may be an output, changed by `change`; `None` counts as an empty mapping."""
    if isinstance(value, pulumi.Output) or isawaitable(value):
        return pulumi.Output.from_input(value).apply(lambda known: changed(known, change))
    mapping = plain(value)
    if mapping is None or isinstance(mapping, Mapping):
        return change(dict(mapping or {}))
    return value  # the provider says what is wrong with it


def key_of(mapping: Mapping[str, Any], camel: str) -> str:
    """The key of field `camel` in `mapping`: Python's spelling if `mapping` has it, else Kubernetes' own."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in camel)
    return snake if snake in mapping else camel
