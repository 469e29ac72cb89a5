"""Decrypts the secrets of a recorded state, with the engine itself and a temporary backend."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from slipway.backend.self_managed import CHECKPOINT_VERSION, ORGANIZATION
from slipway.engine.pulumi_cli import Completed, Pulumi
from slipway.errors import ConfigurationError
from slipway.state.checkpoint import Snapshot
from slipway.values import has_encrypted

PASSPHRASE, FORMER_PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE", "SLIPWAY_FORMER_PASSPHRASE"


def decrypted(engine: Pulumi, project: str, stack: str, snapshot: Snapshot) -> Snapshot:
    """The state with its secrets decrypted (`plaintext` instead of `ciphertext`) by the engine itself.

    The state contains its secrets provider; it is put, still encrypted, into a temporary backend for this call.
    Decrypted secrets are never written to a file. Raises ConfigurationError if neither the present passphrase or key
    nor a former passphrase decrypts it.
    """
    if not has_encrypted(snapshot):
        return snapshot
    done = _opened(engine, project, stack, snapshot)
    if done.exit_code and (former := _former_passphrase(engine.environment)):
        done = _opened(replace(engine, environment=former), project, stack, snapshot)
    if done.exit_code:
        raise ConfigurationError(
            f"The secrets of a recorded state of stack {stack} cannot be decrypted.",
            why=(done.errors or done.output).strip(),
            next_step=f"Set {PASSPHRASE} or {PASSPHRASE}_FILE, or give access to the key. If the state was recorded "
            f"under another passphrase, also set {FORMER_PASSPHRASE} or {FORMER_PASSPHRASE}_FILE to that one.",
        )
    opened: Snapshot = json.loads(done.output)["deployment"]
    return opened


def _opened(engine: Pulumi, project: str, stack: str, snapshot: Snapshot) -> Completed:
    with tempfile.TemporaryDirectory(prefix="slipway-state-") as name:
        folder = Path(name)
        (folder / "Pulumi.yaml").write_text(json.dumps({"name": project, "runtime": "python"}))
        stacks = folder / ".pulumi" / "stacks" / project
        stacks.mkdir(parents=True)
        (folder / ".pulumi" / "meta.yaml").write_text("version: 1\n")
        # Pending operations do not concern the secrets, and an export warns of them.
        latest = {key: value for key, value in snapshot.items() if key != "pending_operations"}
        checkpoint = {"stack": f"{ORGANIZATION}/{project}/{stack}", "latest": latest}
        (stacks / f"{stack}.json").write_text(json.dumps({"version": CHECKPOINT_VERSION, "checkpoint": checkpoint}))
        scratch = {
            **engine.environment,
            "PULUMI_BACKEND_URL": folder.as_uri(),
            "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        }
        return replace(engine, environment=scratch).run(
            "stack", "export", "--show-secrets", "--stack", stack, folder=folder
        )


def _former_passphrase(environment: Mapping[str, str]) -> Mapping[str, str] | None:
    """The environment with the passphrase before `pulumi stack change-secrets-provider`; `None` if none is set."""
    for suffix in ("", "_FILE"):
        if former := environment.get(f"{FORMER_PASSPHRASE}{suffix}"):
            rest = {name: value for name, value in environment.items() if not name.startswith(PASSPHRASE)}
            return {**rest, f"{PASSPHRASE}{suffix}": former}
    return None
