"""Where a cluster differs from a stack's state, for `slipway drift`, `preview --drift` and `up` alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from slipway.cluster.deployed import Deployed
from slipway.cluster.drift import Drift, find
from slipway.errors import SlipwayError
from slipway.stack import Stack
from slipway.state.checkpoint import Snapshot


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
