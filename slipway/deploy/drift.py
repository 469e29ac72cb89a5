"""What differs outside of an update's inputs: the cluster from the state, base images from their tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from slipway.backend.update_info import ROLLBACK_SETTING
from slipway.cluster.deployed import Deployed
from slipway.cluster.drift import Drift, find
from slipway.cluster.verification import verdicts_of
from slipway.engine.stages import IMAGE_TYPE
from slipway.errors import SlipwayError
from slipway.registry import image_digest
from slipway.stack import Stack
from slipway.state.checkpoint import Snapshot, resources


def find_drift(stack: Stack, deployed: Deployed, warn: Callable[[str], None]) -> Drift:
    """Where the cluster differs from the state that is `deployed`; SlipwayError if the cluster does not answer."""
    (state,) = opened(stack, [deployed.state], warn)
    return find(replace(deployed, state=state), stack.project.name)


def opened(stack: Stack, states: Sequence[Snapshot], warn: Callable[[str], None]) -> Sequence[Snapshot]:
    """The decrypted states; if that fails, the states as they are, and `warn` says that secrets are not compared."""
    try:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(stack.decrypted, states))
    except SlipwayError as error:
        warn(f"Secrets are not compared: {error.what} {error.why}".strip())
        return states


@dataclass(frozen=True)
class Unchanged:
    """An update of `deployed` would change nothing: the number of checks that were met, and where the cluster differs
    from the state all the same.
    """

    deployed: Deployed
    checks: int
    drift: Drift


def find_unchanged(stack: Stack, warn: Callable[[str], None]) -> Unchanged | None:
    """The environment, if an update could change nothing; `None` if the engine has to run.

    Files, settings, variables, plugins and state are as the last update left them. The rest is checked here: whether
    the base images are still the same, what the cluster has, and whether the services work.
    """
    if ROLLBACK_SETTING in stack.config():
        return None
    try:
        deployed = stack.deployed()
        with ThreadPoolExecutor() as pool:
            same_bases, verdicts = pool.submit(has_same_bases, deployed.state), pool.submit(verdicts_of, deployed)
            drift = find_drift(stack, deployed, warn)
        if not same_bases.result():
            return None
        if drift.changes:  # before the checks, which may fail for that reason
            return Unchanged(deployed, 0, drift)
        # A failed Job of a cron job is not part of an update, which cannot run it again.
        if any(each.problems for each in verdicts.result() if not each.about):
            return None
    except SlipwayError:  # the update reports it, with everything else
        return None
    return Unchanged(deployed, sum(each.checks for each in verdicts.result()), drift)


def has_same_bases(state: Snapshot) -> bool:
    """Whether the registries still have the base image of every build under its tag."""
    arguments = (each.inputs.get("buildArgs") or {} for each in resources(state) if each.type == IMAGE_TYPE)
    bases = {str(each["BASE_IMAGE"]) for each in arguments if "BASE_IMAGE" in each}
    tags = (base.rpartition("@") for base in bases)
    return all(":" not in tag.rpartition("/")[2] or image_digest(tag) == digest for tag, _, digest in tags)
