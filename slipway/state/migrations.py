"""The migrations of services in a recorded state: each is a Job that ran before its service's rollout. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from slipway.state.checkpoint import MIGRATION_LABEL, ResourceState

JOB_TYPE = "kubernetes:batch/v1:Job"
RUN_ANNOTATION = "slipway.dev/migration-run"
"""On that Job: a hash of the image and the command, which run together once on each database."""
ENVIRONMENT_ANNOTATION = "slipway.dev/migration-environment"
"""A hash of its environment variables: they determine which database it is."""
IDENTITY = (RUN_ANNOTATION, ENVIRONMENT_ANNOTATION)
DESTRUCTIVE_ANNOTATION = "slipway.dev/migration-destructive"
RERUN_VARIABLE = "SLIPWAY_RERUN_MIGRATIONS"
"""With `1` the program runs every migration again, whatever the state records."""


def migration_of(resource: ResourceState) -> str:
    """The service whose migration the resource is; empty for any other."""
    if resource.type != JOB_TYPE:
        return ""
    return str(_map(_metadata(resource).get("labels")).get(MIGRATION_LABEL, ""))


def migrations(recorded: Iterable[ResourceState]) -> dict[str, ResourceState]:
    """The migrations of a state, by service."""
    return {service: each for each in recorded if (service := migration_of(each))}


def run_of(migration: ResourceState) -> str:
    """The hash of the run: equal for the same command in the same image."""
    return _annotation(migration, RUN_ANNOTATION)


def identity_of(migration: ResourceState) -> dict[str, str]:
    """Both hashes, by annotation: equal for the same command, image and environment variables."""
    return {name: _annotation(migration, name) for name in IDENTITY}


def is_destructive(migration: ResourceState) -> bool:
    return _annotation(migration, DESTRUCTIVE_ANNOTATION) == "true"


def is_suspended(migration: ResourceState) -> bool:
    """Whether a rollback declared it again, so that it does not run."""
    return _map(migration.inputs.get("spec")).get("suspend") is True


def with_suspension(migration: ResourceState, *, suspended: bool) -> ResourceState:
    """The same Job, suspended or not: the cluster runs it or does not."""
    spec = {key: value for key, value in _map(migration.inputs.get("spec")).items() if key != "suspend"}
    spec = {**spec, "suspend": True} if suspended else spec
    return ResourceState({**migration.raw, "inputs": {**migration.inputs, "spec": spec}})


def _annotation(migration: ResourceState, name: str) -> str:
    return str(_map(_metadata(migration).get("annotations")).get(name, ""))


def _metadata(resource: ResourceState) -> Mapping[str, object]:
    return _map(resource.inputs.get("metadata"))


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
