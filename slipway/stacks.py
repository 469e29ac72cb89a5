"""Makes the stacks of the environments, and hands the engine the settings of one."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from slipway.engine_errors import failure
from slipway.errors import SlipwayError
from slipway.lab_salts import LabSalts, with_salt
from slipway.project import Project
from slipway.pulumi_cli import Pulumi


@dataclass(frozen=True)
class Stacks:
    """The stacks of a project in the backend in use; `lab_backend` is the folder of the lab's, `None` for another.

    In the lab's backend the salt of a stack is read from its state, and the checkout's files stay as they were
    committed: see `slipway.lab_salts`.
    """

    project: Project
    engine: Pulumi
    lab_backend: Path | None

    def ensure(self, environment: str, say: Callable[[str], None]) -> None:
        """Make the stack of `environment` where it is missing; in the lab's backend those of all environments."""
        if self.lab_backend is None:
            self._ensure_in_own_backend(environment, say)
            return
        for name in dict.fromkeys([environment, *self.project.environments()]):
            if self._lab_state(name) is None:
                self._create_in_lab(name)
                say(f"Created stack {name} in the lab's backend.")
        salts = map(self._lab_salt, self.project.environments())
        LabSalts(self.project.folder).remember([salt for salt in salts if salt])

    @contextmanager
    def config_file(self, environment: str) -> Iterator[Path]:
        """The settings that the engine is to read and may write to: in the lab a copy that has the stack's salt."""
        committed = self.project.environment_file(environment)
        salt = self._lab_salt(environment)
        if salt is None:
            yield committed
            return
        with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
            copy = Path(folder) / committed.name
            copy.write_text(with_salt(LabSalts(self.project.folder).without(committed.read_text()), salt))
            yield copy

    def _ensure_in_own_backend(self, environment: str, say: Callable[[str], None]) -> None:
        known = json.loads(self._run(environment, "stack", "ls", "--json"))
        if environment in {stack["name"].rsplit("/", 1)[-1] for stack in known}:
            return
        self._run(environment, "stack", "init", environment, "--no-select")
        say(f"Created stack {environment}. Commit Pulumi.{environment}.yaml if it got an encryptionsalt.")

    def _create_in_lab(self, environment: str) -> None:
        """Run `stack init` on a copy of the project's two files, because it writes the new salt next to them."""
        committed = self.project.environment_file(environment)
        settings = committed.read_text()
        own = LabSalts(self.project.folder).without(settings)
        if own != settings:  # a plain `pulumi up` left the salt of a lab that is gone
            committed.write_text(own)
        with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
            for file in (self.project.file, committed):
                shutil.copy(file, folder)
            self._run(environment, "stack", "init", environment, "--no-select", folder=Path(folder))

    def _run(self, environment: str, *arguments: str, folder: Path | None = None) -> str:
        done = self.engine.run(*arguments, folder=folder)
        if done.exit_code:
            raise failure(environment, (), done.errors or done.output)
        return done.output

    def _lab_state(self, environment: str) -> dict[str, object] | None:
        """The stack's checkpoint as the lab's file backend keeps it; asking the engine takes a third of a second."""
        if self.lab_backend is None:
            return None
        file = self.lab_backend / ".pulumi" / "stacks" / self.project.name / f"{environment}.json"
        try:
            content: dict[str, object] = json.loads(file.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise SlipwayError(f"The state of stack {environment} cannot be read: {file}: {error}") from error
        return content

    def _lab_salt(self, environment: str) -> str | None:
        """The salt under which the lab's stack keeps its secrets."""
        value: object = self._lab_state(environment)
        for key in ("checkpoint", "latest", "secrets_providers", "state", "salt"):
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, str) else None


def backend_folder(url: str | None) -> Path | None:
    """The folder of a `file://` backend; `None` for any other."""
    parts = urlsplit(url or "")
    return Path(unquote(parts.path)).expanduser() if parts.scheme == "file" else None
