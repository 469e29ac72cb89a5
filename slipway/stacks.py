"""Makes the stacks of the environments."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from slipway.engine_errors import failure
from slipway.errors import SlipwayError
from slipway.lab_salts import LabSalts
from slipway.project import Project
from slipway.pulumi_cli import Pulumi


@dataclass(frozen=True)
class Stacks:
    """The stacks of a project in the backend in use; `lab_backend` is the folder of the lab's, `None` for another.

    In the lab's backend the salt of a stack is read from its state, and git sees no change: see `slipway.lab_salts`.
    """

    project: Project
    engine: Pulumi
    lab_backend: Path | None

    @cached_property
    def _salts(self) -> LabSalts:
        return LabSalts(self.project.folder)

    def ensure(self, environment: str, say: Callable[[str], None]) -> None:
        """Make the stack of `environment` where it is missing; in the lab's backend those of all environments."""
        if self.lab_backend is None:
            self._ensure_in_own_backend(environment, say)
            return
        self._ensure_in_lab(environment, say)
        self.ensure_all_in_lab(say, but=environment)

    def ensure_all_in_lab(self, say: Callable[[str], None], but: str = "") -> None:
        """Have a stack for each environment, so that `pulumi up -s ENV` by hand finds it; says what cannot be made."""
        for environment in self.project.environments():
            if environment == but:
                continue
            try:
                self._ensure_in_lab(environment, say)
            except SlipwayError as error:
                say(f"Stack {environment} was not made in the lab's backend: {error}")

    def require_unlocked(self, environment: str) -> None:
        """Raise SlipwayError when another update holds the stack, where that costs nothing to know: in the lab.

        Any other backend says so when the update begins.
        """
        if self.lab_backend is None:
            return
        for lock in self._lab_locks(environment):
            held = f"pid {lock['pid']} of {lock['username']}@{lock['hostname']}, since {lock['timestamp']}"
            raise SlipwayError(
                f"Stack {environment} is locked: another update holds it.",
                why=f"Held by {held}.",
                next_step=f"Wait for it to end. If it hangs, release the lock with `pulumi cancel -s {environment}`.",
            )

    def _ensure_in_own_backend(self, environment: str, say: Callable[[str], None]) -> None:
        known = json.loads(self._run(environment, "stack", "ls", "--json"))
        if environment in {stack["name"].rsplit("/", 1)[-1] for stack in known}:
            return
        self._run(environment, "stack", "init", environment, "--no-select")
        say(f"Created stack {environment}. Commit Pulumi.{environment}.yaml if it got an encryptionsalt.")

    def _ensure_in_lab(self, environment: str, say: Callable[[str], None]) -> None:
        if self._lab_state(environment) is None:
            self._create_in_lab(environment)
            say(f"Created stack {environment} in the lab's backend.")
        self._release_dead_lock(environment, say)
        if salt := self._lab_salt(environment):
            self._salts.put(salt, self.project.environment_file(environment))

    def _create_in_lab(self, environment: str) -> None:
        """Run `stack init` on copies: in place it would write the file anew, in a layout of its own."""
        committed = self.project.environment_file(environment)
        with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
            shutil.copy(self.project.file, folder)
            # The salt of a lab that is gone would ask for a passphrase that is gone with it.
            (Path(folder) / committed.name).write_text(self._salts.without(committed.read_text()))
            self._run(environment, "stack", "init", environment, "--no-select", folder=Path(folder))

    def _release_dead_lock(self, environment: str, say: Callable[[str], None]) -> None:
        """An engine that was killed leaves its lock; in the lab, whose engines all run here, that can be told."""
        held = self._lab_locks(environment)
        if held and all(_is_dead(lock) for lock in held):
            self._run(environment, "cancel", "--stack", environment, "--yes")
            say(f"Released the lock of stack {environment}: process {held[0]['pid']}, which held it, is gone.")

    def _lab_locks(self, environment: str) -> list[dict[str, object]]:
        locks = self._lab_folder("locks", "organization") / environment
        held = []
        for file in locks.glob("*.json"):
            with suppress(FileNotFoundError):  # released just now
                held.append(json.loads(file.read_text()))
        return held

    def _run(self, environment: str, *arguments: str, folder: Path | None = None) -> str:
        done = self.engine.run(*arguments, folder=folder)
        if done.exit_code:
            raise failure(environment, (), done.errors or done.output)
        return done.output

    def _lab_state(self, environment: str) -> dict[str, object] | None:
        """The stack's checkpoint as the lab's file backend keeps it; asking the engine takes a third of a second."""
        if self.lab_backend is None:
            return None
        file = self._lab_folder("stacks") / f"{environment}.json"
        try:
            content: dict[str, object] = json.loads(file.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise SlipwayError(f"The state of stack {environment} cannot be read: {file}: {error}") from error
        return content

    def _lab_folder(self, *parts: str) -> Path:
        """Where the file backend keeps something of the project's stacks."""
        return Path(self.lab_backend or "", ".pulumi", *parts, self.project.name)

    def _lab_salt(self, environment: str) -> str | None:
        """The salt under which the lab's stack keeps its secrets."""
        value: object = self._lab_state(environment)
        for key in ("checkpoint", "latest", "secrets_providers", "state", "salt"):
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, str) else None


def _is_dead(lock: dict[str, object]) -> bool:
    """Whether the engine that took the lock ran on this machine and does no more."""
    try:
        name = Path(f"/proc/{lock['pid']}/comm").read_text().strip()
    except FileNotFoundError:
        name = ""
    return lock["hostname"] == socket.gethostname() and name != "pulumi"


def backend_folder(url: str | None) -> Path | None:
    """The folder of a `file://` backend; `None` for any other."""
    parts = urlsplit(url or "")
    return Path(unquote(parts.path)).expanduser() if parts.scheme == "file" else None
