"""Keeps the salts of the lab's stacks out of what is committed, though they stand in `Pulumi.<env>.yaml`.

With a passphrase the engine wants an `encryptionsalt` in `Pulumi.<stack>.yaml` and expects it to be committed. Right
for a backend that a team shares; wrong for a lab, whose passphrase and stacks exist on one machine only: committed, its
salt locks everybody else out. So git is told, in this clone only, to overlook exactly those lines.
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
# Of base64 and the colon between its parts, nothing means anything to sed but the end of the address.
COMMAND = re.compile(r"^\\\|\^encryptionsalt: (?P<salt>\S+)\$\|d$", re.MULTILINE)


@dataclass(frozen=True)
class LabSalts:
    """The salts of lab stacks that were ever used from the clone that `folder` is in."""

    folder: Path

    def put(self, salt: str, file: Path) -> None:
        """Have `salt` in the settings `file`, instead of one of another lab, without git seeing a change."""
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
        """The text of a `Pulumi.<env>.yaml` without a salt of a lab; one of any other backend stays."""
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
        """Let the index know the file's new size: git takes another size for a change without looking further."""
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
    """The settings with `salt`, unless they have one of their own."""
    return settings if SALT_LINE.search(settings) else f"{settings.rstrip()}\nencryptionsalt: {salt}\n".lstrip()


def _add_line(file: Path, line: str) -> None:
    file.parent.mkdir(exist_ok=True)
    existing = file.read_text(encoding="utf-8") if file.exists() else ""
    if line not in existing.splitlines():
        file.write_text(f"{existing}\n{line}\n".lstrip(), encoding="utf-8")
