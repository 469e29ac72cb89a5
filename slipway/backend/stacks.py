"""Creates, lists, tags, unlocks and removes the environments' stacks, and keeps the lab's salts out of commits."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slipway.backend.lock_holders import record_holder
from slipway.backend.self_managed import FileBackend
from slipway.engine.errors import failure
from slipway.engine.pulumi_cli import Pulumi
from slipway.errors import SlipwayError
from slipway.project import Project

SALT_LINE = re.compile(r"^encryptionsalt: (?P<salt>\S+)\n?", re.MULTILINE)
SCRIPT = "slipway-lab-salts.sed"
FILTER = "slipway-lab-salts"
RULE = f"Pulumi.*.yaml filter={FILTER}"
# In base64 and the colons between its parts, only `/` is special to sed, so the address ends with `|`.
COMMAND = re.compile(r"^\\\|\^encryptionsalt: (?P<salt>\S+)\$\|d$", re.MULTILINE)


@dataclass(frozen=True)
class Stacks:
    """The stacks of a project in its backend: `files` is set if that is a folder, `in_lab` if it is the lab's.

    In the lab's backend a stack's salt is read from its state, and git sees no change: see `LabSalts`.
    """

    project: Project
    engine: Pulumi
    files: FileBackend | None
    in_lab: bool

    @cached_property
    def _salts(self) -> LabSalts:
        return LabSalts(self.project.folder)

    def ensure(self, environment: str, say: Callable[[str], None]) -> None:
        """Create the stack of `environment` if it is missing; in the lab's backend, those of all environments."""
        if not self.in_lab:
            self._repair(environment, say)
            if not self.exists(environment):
                self.run(environment, "stack", "init", environment, "--no-select")
                say(f"Created stack {environment}. Commit Pulumi.{environment}.yaml if it got an encryptionsalt.")
            return
        self._ensure_in_lab(environment, say)
        self.ensure_all_in_lab(say, but=environment)

    def ensure_all_in_lab(self, say: Callable[[str], None], but: str = "") -> None:
        """Create a stack for each environment, so that a manual `pulumi up -s ENV` finds it; `say` reports failures."""
        for environment in self.project.environments():
            if environment == but:
                continue
            try:
                self._ensure_in_lab(environment, say)
            except SlipwayError as error:
                say(f"Stack {environment} was not created in the lab's backend: {error}")

    def require_unlocked(self, environment: str) -> None:
        """Raise SlipwayError if another update holds the stack. Checked in a folder only, where it costs nothing.

        Any other backend reports it when the update begins.
        """
        for lock in self.files.locks(environment) if self.files else ():
            doubt = lock.doubt()
            raise SlipwayError(
                f"Stack {environment} is locked: another update holds it.",
                why="\n".join(filter(None, (f"Held by {lock}.", doubt))),
                next_step=f"Wait for it to end. If it {'has ended' if doubt else 'hangs'}, release the lock with "
                f"`pulumi cancel -s {environment}`.",
            )

    def record_lock_holder(self, environment: str) -> bool:
        """Record the process of the engine that this process runs, if stacks are kept in a folder: a lock has only a
        pid, which says little in a container. False while the engine does not hold the stack yet.
        """
        return self.files is None or record_holder(self.files.locks(environment))

    def names(self) -> list[str]:
        """The project's stacks in the backend, whether they have settings here or not."""
        listed = json.loads(self.run("", "stack", "ls", "--json"))
        return sorted(str(stack["name"]).rsplit("/", 1)[-1] for stack in listed)

    def exists(self, environment: str) -> bool:
        # A folder is read without the engine.
        return environment in self.names() if self.files is None else self._state(environment) is not None

    def tags(self, environment: str) -> dict[str, str]:
        listed = json.loads(self.run(environment, "stack", "tag", "ls", "--json", "--stack", environment))
        return {str(name): str(value) for name, value in (listed or {}).items()}

    def set_tags(self, environment: str, tags: Mapping[str, str]) -> None:
        """Set these tags; other tags of the stack stay."""
        for name, value in tags.items():
            self.run(environment, "stack", "tag", "set", name, value, "--stack", environment)

    def remove(self, environment: str) -> None:
        """Remove a stack that has no resources, its history, and the copies that the engine keeps in a folder.

        Its settings file stays.
        """
        self.run(environment, "stack", "rm", environment, "--yes", "--preserve-config")
        if self.files:
            self.files.remove_copies(environment)

    def _ensure_in_lab(self, environment: str, say: Callable[[str], None]) -> None:
        if self._state(environment) is None:
            committed = self.project.environment_file(environment)
            # On copies: in place, `stack init` would rewrite the file in its own layout.
            with tempfile.TemporaryDirectory(prefix="slipway-") as name:
                folder = Path(name)
                shutil.copy(self.project.file, folder)
                # The salt of a deleted lab would need that lab's passphrase, which is deleted too.
                settings = self._salts.without(committed.read_text(encoding="utf-8"))
                (folder / committed.name).write_text(settings, encoding="utf-8")
                self.run(environment, "stack", "init", environment, "--no-select", folder=folder)
            say(f"Created stack {environment} in the lab's backend.")
        self._repair(environment, say)
        salt: object = self._state(environment)
        for key in ("checkpoint", "latest", "secrets_providers", "state", "salt"):
            salt = salt.get(key) if isinstance(salt, dict) else None
        if salt and isinstance(salt, str):
            self._salts.put(salt, self.project.environment_file(environment))

    def _repair(self, environment: str, say: Callable[[str], None]) -> None:
        """Remove the lock and half-written files of a killed engine; in a folder, these can be detected."""
        locks = self.files.locks(environment) if self.files else []
        if self.files is None or not all(lock.is_dead for lock in locks):
            return
        for file in self.files.repair(environment):
            say(f"Removed {file.name} of stack {environment}, which was half written when an update was killed.")
        if locks:
            self.run(environment, "cancel", "--stack", environment, "--yes")
            say(f"Released the lock of stack {environment}: process {locks[0].pid}, which held it, has ended.")

    def run(self, environment: str, *arguments: str, folder: Path | None = None) -> str:
        """Run the engine in the project or in `folder`, and return its output; raises SlipwayError if it fails."""
        done = self.engine.run(*arguments, folder=folder)
        if done.exit_code:
            raise failure(environment, (), done.errors or done.output)
        return done.output

    def _state(self, environment: str) -> dict[str, Any] | None:
        return self.files.state(environment) if self.files else None


@dataclass(frozen=True)
class LabSalts:
    """The salts of lab stacks that were ever used from the clone that `folder` is in; git ignores these lines there.

    With a passphrase the engine needs an `encryptionsalt` in `Pulumi.<stack>.yaml` and expects it to be committed. This
    is right for a backend that a team shares. It is wrong for a lab, whose passphrase and stacks exist on one machine
    only: a committed salt locks all others out. So git is set up, in this clone only, to ignore exactly these lines.
    """

    folder: Path

    def put(self, salt: str, file: Path) -> None:
        """Write `salt` to the settings `file`, in place of another lab's salt, without a change for git."""
        directory, known = self._git_directory, self.known()
        if directory and salt not in known:
            commands = (rf"\|^encryptionsalt: {known_salt}$|d" for known_salt in sorted({*known, salt}))
            (directory / SCRIPT).write_text("\n".join(commands) + "\n")
            attributes = directory / "info" / "attributes"
            attributes.parent.mkdir(exist_ok=True)
            existing = attributes.read_text(encoding="utf-8") if attributes.exists() else ""
            if RULE not in existing.splitlines():
                attributes.write_text(f"{existing}\n{RULE}\n".lstrip(), encoding="utf-8")
            self._git("config", f"filter.{FILTER}.clean", f'sed -f "$(git rev-parse --git-common-dir)/{SCRIPT}"')
        settings = file.read_text(encoding="utf-8")
        salted = with_salt(self.without(settings, but=salt), salt)
        if salted != settings:
            file.write_text(salted, encoding="utf-8")
        # Git takes a different size for a change without reading the file: update the size in the index.
        if self._git("diff-files", "--name-only", "--", file.name).stdout:
            staged, seen = self._git("rev-parse", f":./{file.name}"), self._git("hash-object", file.name)
            if seen.stdout == staged.stdout:
                self._git("update-index", "--", file.name)

    def known(self) -> set[str]:
        directory = self._git_directory
        script = directory / SCRIPT if directory else None
        return set(COMMAND.findall(script.read_text(encoding="utf-8"))) if script and script.exists() else set()

    def without(self, settings: str, but: str = "") -> str:
        """The text of a `Pulumi.<env>.yaml` without a lab's salt; the salt of any other backend stays."""
        known = self.known() - {but}
        return SALT_LINE.sub(lambda line: "" if line["salt"] in known else line[0], settings)

    @cached_property
    def _git_directory(self) -> Path | None:
        found = self._git("rev-parse", "--git-common-dir")
        return None if found.returncode else (self.folder / found.stdout.strip()).resolve()

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["git", *arguments]
        try:
            return subprocess.run(
                command, cwd=self.folder, capture_output=True, encoding="utf-8", errors="surrogateescape", check=False
            )
        except FileNotFoundError:
            return subprocess.CompletedProcess(command, 127, "", "git is not installed")


def with_salt(settings: str, salt: str) -> str:
    """The settings with `salt` added, unless they already have one."""
    return settings if SALT_LINE.search(settings) else f"{settings.rstrip()}\nencryptionsalt: {salt}\n".lstrip()
