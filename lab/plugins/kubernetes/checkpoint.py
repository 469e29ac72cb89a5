"""What the state keeps of a resource: the live object, its inputs in `__inputs`, and two more private keys."""

from __future__ import annotations

from dataclasses import dataclass

from lab.plugins.kubernetes.normalize import to_dashes, to_underscores
from lab.plugins.kubernetes.secrecy import mark_secrets
from lab.plugins.kubernetes.values import Object, Secret, mapping_at, plain, text_at

INPUTS = "__inputs"
INITIAL_API_VERSION = "__initialApiVersion"
FIELD_MANAGER = "__fieldManager"


@dataclass(frozen=True)
class Checkpoint:
    """A recorded state, secrets unwrapped."""

    live: Object
    inputs: Object
    initial_api_version: str
    field_manager: str

    @classmethod
    def of(cls, state: Object) -> Checkpoint:
        """Taken from the state as the engine sends it."""
        told = plain(state)
        if is_definition(told):
            told = to_dashes(told)
        if "live" in told and "inputs" in told:  # pulumi-kubernetes before 1.0 nested the two
            told = {**told["live"], INPUTS: told["inputs"]}
        return cls(
            live={key: value for key, value in told.items() if not key.startswith("__")},
            inputs=mapping_at(told, INPUTS),
            initial_api_version=text_at(told, INITIAL_API_VERSION),
            field_manager=text_at(told, FIELD_MANAGER),
        )


def _without_field_sets(live: Object) -> Object:
    """The live object with its managers, but not the fields each one holds.

    The engine writes the whole state at every step of an update, and those sets were a sixth of what that took.
    """
    metadata = mapping_at(live, "metadata")
    if "managedFields" not in metadata:
        return live
    managers = [
        {key: value for key, value in entry.items() if key != "fieldsV1"} for entry in metadata["managedFields"]
    ]
    return {**live, "metadata": {**metadata, "managedFields": managers}}


def is_definition(value: Object) -> bool:
    """Whether this is a CustomResourceDefinition, whose schema keys the SDK spells with underscores."""
    return value.get("kind") == "CustomResourceDefinition"


def record(*, live: Object, inputs: Object, declared: Object, initial_api_version: str, field_manager: str) -> Object:
    """The state to record; `declared` are the inputs as they came, secrets still marked."""
    if is_definition(live):
        live, inputs = to_underscores(live), to_underscores(inputs)
    state = mark_secrets(_without_field_sets(live), declared)
    state[INPUTS] = mark_secrets(inputs, declared)
    if declared.get("kind") == "Secret" and "stringData" in declared and "data" in state:
        state["data"] = Secret(plain(state["data"]))
    state[INITIAL_API_VERSION] = initial_api_version
    state[FIELD_MANAGER] = field_manager
    return state
