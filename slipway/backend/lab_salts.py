"""Keeps the salts of the lab's stacks out of commits, although they are in `Pulumi.<env>.yaml`.

With a passphrase the engine needs an `encryptionsalt` in `Pulumi.<stack>.yaml` and expects it to be committed. This is
right for a backend that a team shares. It is wrong for a lab, whose passphrase and stacks exist on one machine only: a
committed salt locks all others out. So git is set up, in this clone only, to ignore exactly these lines.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

SALT_LINE = re.compile(r"^encryptionsalt: (?P<salt>\S+)\n?", re.MULTILINE)
SCRIPT = "slipway-lab-salts.sed"
FILTER = "slipway-lab-salts"
RULE = f"Pulumi.*.yaml filter={FILTER}"
# In base64 and the colons between its parts, only `/` is special to sed, so the address ends with `|`.
COMMAND = re.compile(r"^\\\|\^encryptionsalt: (?P<salt>\S+)\$\|d$", re.MULTILINE)


@dataclass(frozen=True)
class LabSalts:
    """The salts of lab stacks that were ever used from the clone that `folder` is in."""

    folder: Path

    def put(self, salt: str, file: Path) -> None:
        """Write `salt` to the settings `file`, in place of another lab's salt, without a change for git."""
        self._overlook(salt)
        settings = file.read_text(encoding="utf-8")
        salted = with_salt(self.without(settings, but=salt), salt)
        if salted != settings:
            file.write_text(salted, encoding="utf-8")
        self._refresh(file)

    def known(self) -> set[str]:
        directory = self._git_directory
        script = directory / SCRIPT if directory else None
        return set(COMMAND.findall(script.read_text(encoding="utf-8"))) if script and script.exists() else set()

    def without(self, settings: str, but: str = "") -> str:
        """The text of a `Pulumi.<env>.yaml` without a lab's salt; the salt of any other backend stays."""
        known = self.known() - {but}
        return SALT_LINE.sub(lambda line: "" if line["salt"] in known else line[0], settings)

    def _overlook(self, salt: str) -> None:
        directory, known = self._git_directory, self.known()
        if directory is None or salt in known:
            return
        commands = (rf"\|^encryptionsalt: {known_salt}$|d" for known_salt in sorted({*known, salt}))
        (directory / SCRIPT).write_text("\n".join(commands) + "\n")
        _add_line(directory / "info" / "attributes", RULE)
        self._git("config", f"filter.{FILTER}.clean", f'sed -f "$(git rev-parse --git-common-dir)/{SCRIPT}"')

    def _refresh(self, file: Path) -> None:
        """Update the file's size in the index: git takes a different size for a change without reading the file."""
        if self._git("diff-files", "--name-only", "--", file.name).stdout:
            staged, seen = self._git("rev-parse", f":./{file.name}"), self._git("hash-object", file.name)
            if seen.stdout == staged.stdout:
                self._git("update-index", "--", file.name)

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


def _add_line(file: Path, line: str) -> None:
    file.parent.mkdir(exist_ok=True)
    existing = file.read_text(encoding="utf-8") if file.exists() else ""
    if line not in existing.splitlines():
        file.write_text(f"{existing}\n{line}\n".lstrip(), encoding="utf-8")
