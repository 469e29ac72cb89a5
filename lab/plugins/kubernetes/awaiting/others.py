"""Readiness of the kinds without pods or endpoints of their own: volumes, quotas, definitions, namespaces, tokens."""

from __future__ import annotations

from lab.plugins.kubernetes.awaiting.readiness import (
    DONE,
    Readiness,
    Sight,
    condition,
    failed,
    is_condition_true,
    is_observed,
    reason_of,
    waiting,
)
from lab.plugins.kubernetes.values import mapping_at, text_at

CLASS_ROLE = "storageclasses"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def persistent_volume(sight: Sight) -> Readiness:
    phase = text_at(sight.live, "status", "phase")
    if phase in ("Available", "Bound"):
        return DONE
    return waiting(
        f"Waiting for the volume to be available (phase {phase or 'not set'})", f"the volume is {phase or 'new'}"
    )


def persistent_volume_claim(sight: Sight) -> Readiness:
    """Bound; or pending where its storage class binds only when the first pod comes."""
    phase = text_at(sight.live, "status", "phase")
    if phase == "Bound":
        return DONE
    name = text_at(sight.live, "spec", "storageClassName")
    modes = [text_at(item, "volumeBindingMode") for item in sight.of(CLASS_ROLE) if _is_class(item, name)]
    if phase == "Pending" and "WaitForFirstConsumer" in modes:
        return DONE
    if phase == "Lost":
        return failed("the claim has lost its volume", "the PersistentVolume bound to this claim is gone")
    told = f"the claim is {phase or 'new'}, storage class {name or 'not set'}"
    return waiting(f"Waiting for the claim to be bound (phase {phase or 'not set'})", told)


def _is_class(item: dict[str, object], name: str) -> bool:
    if name:
        return text_at(item, "metadata", "name") == name
    return text_at(item, "metadata", "annotations", _DEFAULT_CLASS) == "true"


def resource_quota(sight: Sight) -> Readiness:
    if mapping_at(sight.live, "spec", "hard") == mapping_at(sight.live, "status", "hard"):
        return DONE
    return waiting("Waiting for the quota to be in force", "the quota's status does not show its limits yet")


def secret(sight: Sight) -> Readiness:
    """A service account token is filled in by a controller; every other secret is what it is."""
    if text_at(sight.live, "type") != "kubernetes.io/service-account-token" or mapping_at(sight.live, "data"):
        return DONE
    return waiting("Waiting for the token to be generated", "no controller has filled in the token")


def custom_resource_definition(sight: Sight) -> Readiness:
    """Established: the API server serves the new kind."""
    live = sight.live
    if is_condition_true(live, "Established"):
        return DONE
    names = condition(live, "NamesAccepted")
    if names.get("status") == "False" and sight.age("names refused") >= 2:
        return failed("the definition's names are taken", reason_of(names))
    return waiting("Waiting for the definition to be established", "the definition is not established")


def namespace(sight: Sight) -> Readiness:
    if text_at(sight.live, "status", "phase") == "Terminating":
        return failed("the namespace is being deleted", "the namespace is terminating")
    return DONE


def anything(sight: Sight) -> Readiness:
    """Any kind by the common conditions, as `PULUMI_K8S_AWAIT_ALL` asks for (cli-utils' kstatus)."""
    live = sight.live
    if "observedGeneration" in mapping_at(live, "status") and not is_observed(live):
        return waiting("Waiting for the controller to see the change", "the controller has not seen the change")
    stalled = condition(live, "Stalled")
    if stalled.get("status") == "True":
        return failed("the object is stalled", reason_of(stalled))
    ready, reconciling = condition(live, "Ready"), condition(live, "Reconciling")
    if reconciling.get("status") == "True":
        return waiting(text_at(reconciling, "message") or "Reconciling", reason_of(reconciling))
    if ready and ready.get("status") != "True":
        return waiting(text_at(ready, "message") or "Waiting for readiness", reason_of(ready))
    return DONE
