"""An update of some services only: the program declares them and what they call; the engine excludes all others."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence

from policy import program_check
from slipway.engine.events import STACK_TYPE
from slipway.state.checkpoint import Snapshot, resources

VARIABLE = "SLIPWAY_TARGET_SERVICES"
"""The services that the program must declare, with a proof that the engine got the same list."""


class TargetsError(ValueError):
    """The variable was not set by an update of this stack as it is now."""


def exclude_arguments(state: Snapshot, services: Collection[str]) -> list[str]:
    """Arguments of `pulumi up` that exclude every resource of `state` except those of `services`.

    The engine's `--target` does not work: it deletes resources that depend on a target and are not declared.
    """
    others = (each.urn for each in resources(state) if each.service not in services and each.type != STACK_TYPE)
    return [argument for urn in others for argument in ("--exclude", urn)]


def target_variables(services: Sequence[str], gate: Mapping[str, str]) -> dict[str, str]:
    """The variable for the program; `gate` has the variable that tells it that it has passed the policies."""
    return {VARIABLE: ",".join([_proof(gate, services), *services])}


def targets_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The only services that must be declared; empty means all of them.

    Raises TargetsError for a value that was set by hand or is left over: an engine that does not know of it would
    delete every resource that is not declared.
    """
    proof, *services = environ.get(VARIABLE, "").split(",")
    if not proof and not services:
        return ()
    if not hmac.compare_digest(proof, _proof(environ, services)):
        raise TargetsError(f"{VARIABLE} is set by `slipway` only, for one update; unset it")
    return tuple(services)


def _proof(gate: Mapping[str, str], services: Sequence[str]) -> str:
    return hashlib.sha256(" ".join([gate.get(program_check.VARIABLE, ""), *services]).encode()).hexdigest()
