"""Diff: which inputs changed since the last update, and whether the object must be replaced."""

from __future__ import annotations

from dataclasses import replace

from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes import directives, immutable, naming, tokens, values
from lab.plugins.kubernetes.awaiting.readiness import is_condition_true
from lab.plugins.kubernetes.checkpoint import Checkpoint
from lab.plugins.kubernetes.client import ApiError, UnreachableError
from lab.plugins.kubernetes.configured import Configured
from lab.plugins.kubernetes.diff import Change, changes, replaces
from lab.plugins.kubernetes.discovery import UnknownKindError
from lab.plugins.kubernetes.normalize import normalize
from lab.plugins.kubernetes.objects import Writer, target_of
from lab.plugins.kubernetes.paths import Path
from lab.plugins.kubernetes.values import Object, text_at
from lab.plugins.serving import PluginError

DiffResponse = provider_pb2.DiffResponse
PropertyDiff = provider_pb2.PropertyDiff


def diff(configured: Configured, request: provider_pb2.DiffRequest) -> DiffResponse:
    """Compare the inputs as recorded with the new ones; equal ones never reach the cluster."""
    if request.old_inputs == request.news and not _asks_replace_unready(request):
        return DiffResponse(changes=DiffResponse.DIFF_NONE)
    recorded = Checkpoint.of(values.read(request.olds))
    old = normalize(values.plain(values.read(request.old_inputs)) or recorded.inputs)
    new = normalize(values.plain(values.read(request.news)))
    found = _without_ignored(list(changes(old, new)), list(request.ignoreChanges))
    found = _with_replacements(configured, request.urn, found, recorded=recorded, new=new)
    unready = _unready_job(configured, new, recorded)
    if not found and not unready:
        return DiffResponse(changes=DiffResponse.DIFF_NONE)
    return _response(found, unready, new=new, live=recorded.live)


def _response(found: list[Change], unready: list[str], *, new: Object, live: Object) -> DiffResponse:
    replacing = [str(change.path) for change in found if change.replaces] + unready
    return DiffResponse(
        changes=DiffResponse.DIFF_SOME,
        replaces=replacing,
        deleteBeforeReplace=bool(replacing) and _keeps_name(new, live),
        diffs=list(dict.fromkeys(str(change.path.parts[0]) for change in found if change.path.parts)),
        detailedDiff={str(change.path): _property_diff(change) for change in found},
        hasDetailedDiff=True,
    )


def _property_diff(change: Change) -> PropertyDiff:
    name = f"{change.kind}_REPLACE" if change.replaces else change.kind
    return PropertyDiff(kind=PropertyDiff.Kind.Value(name), inputDiff=True)


def _keeps_name(new: Object, live: Object) -> bool:
    """Whether the new object must have the old one's name, which therefore has to go first."""
    same = all(
        (text_at(new, "metadata", key) or fallback) == (text_at(live, "metadata", key) or fallback)
        for key, fallback in (("name", ""), ("namespace", "default"))
    )
    return same and not directives.is_true(new, directives.AUTONAMED)


def _without_ignored(found: list[Change], ignored: list[str]) -> list[Change]:
    try:
        paths = [Path.parse(text) for text in ignored]
    except ValueError as error:
        raise PluginError(f"failed to parse ignore path: {error}") from error
    return [change for change in found if not any(path.covers(change.path) for path in paths)]


def _with_replacements(
    configured: Configured, urn: str, found: list[Change], *, recorded: Checkpoint, new: Object
) -> list[Change]:
    """The changes, those marked that the API server cannot make in place."""
    if not found:
        return []
    target = target_of(new)
    token = tokens.resolve(tokens.type_of(urn), target.kind)
    fields = [Path.parse("metadata.name"), Path.parse("metadata.namespace")]
    if not token.is_patch:
        settings = configured.settings
        fields = immutable.replacing_fields(
            target,
            new,
            mutable_config_maps=settings.enable_config_map_mutable,
            mutable_secrets=settings.enable_secret_mutable,
        )
    if immutable.is_other_object(text_at(recorded.live, "apiVersion"), text_at(new, "apiVersion")):
        fields = [*fields, Path(("apiVersion",))]
    marked = [replace(change, replaces=replaces(change, fields)) for change in found]
    if any(change.replaces for change in marked) or token.is_patch or values.has_unknown(new):
        return marked
    if immutable.needs_server(target, [change.path for change in marked]):
        refused = _refused_by_server(configured, recorded, new)
        marked = [replace(change, replaces=any(path.covers(change.path) for path in refused)) for change in marked]
    return marked


def _refused_by_server(configured: Configured, recorded: Checkpoint, new: Object) -> list[Path]:
    """The fields a dry run calls immutable; other refusals are for the update itself to tell."""
    try:
        reached = configured.cluster.reach()
        endpoint = reached.discovery.endpoint(target_of(new))
        manager = naming.field_manager({"__fieldManager": recorded.field_manager}, new)
        Writer(reached, manager, force=True, dry_run=True).apply(endpoint, new)
    except ApiError as error:
        return immutable.immutable_fields(error.body) if error.status == 422 else []
    except (UnknownKindError, PluginError):
        return []
    return []


def _asks_replace_unready(request: provider_pb2.DiffRequest) -> bool:
    metadata = request.news.fields["metadata"].struct_value if "metadata" in request.news.fields else None
    return (
        metadata is not None
        and "annotations" in metadata.fields
        and (metadata.fields["annotations"].struct_value.fields[directives.REPLACE_UNREADY].string_value == "true")
    )


def _unready_job(configured: Configured, new: Object, recorded: Checkpoint) -> list[str]:
    """A Job with `pulumi.com/replaceUnready` that is not complete is replaced."""
    if not directives.is_true(new, directives.REPLACE_UNREADY) or new.get("kind") != "Job":
        return []
    try:
        reached = configured.cluster.reach()
        endpoint = reached.discovery.endpoint(target_of(new))
        name = text_at(recorded.live, "metadata", "name")
        live = reached.client.get(endpoint.path(text_at(recorded.live, "metadata", "namespace"), name))
    except (ApiError, UnreachableError, UnknownKindError):
        return []
    return [] if is_condition_true(live, "Complete") else [f'metadata.annotations["{directives.REPLACE_UNREADY}"]']
