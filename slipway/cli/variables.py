"""Environment variables: corrects those that a hook or a terminal set, and prints those of `slipway env`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

import typer

from slipway import project
from slipway.errors import ConfigurationError

# `git rev-parse --local-env-vars` without those that configure git.
GIT_REPOSITORY = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_IMPLICIT_WORK_TREE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_SHALLOW_FILE"),
    *("GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE", "GIT_NO_REPLACE_OBJECTS", "GIT_INTERNAL_SUPER_PREFIX"),
)
# `rich` prints nothing at a width of 0, which a terminal without a size has; typer reads a variable of its own.
WIDTHS = ("COLUMNS", "LINES", "TERMINAL_WIDTH")


def env(*, json_output: bool) -> int:
    """Print `export K='v'` lines, or one JSON object, without variables that the user has already set."""
    import shlex  # noqa: PLC0415 -- every command imports this module; it and the next for this one alone

    from slipway.environment_variables import resolve  # noqa: PLC0415

    found = project.find(Path.cwd())
    environment = resolve(os.environ, found.folder if found else None)
    exports = dict(sorted(environment.exports.items()))
    if json_output:
        typer.echo(json.dumps(exports, indent=2))
        return 0
    for name, value in exports.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    if sys.stdout.isatty():
        typer.echo('# To set these in this shell: eval "$(slipway env)"', err=True)
    return 0


def correct_variables(environment: MutableMapping[str, str]) -> None:
    """Change the variables of this process, which its child processes inherit.

    Raises ConfigurationError if this user has no home folder for the files of Slipway, the engine and docker.
    """
    # A git hook sets these to the repository that it runs for; ours is the one that the project is in.
    # PYTHONINSPECT would make the program and the policy pack wait for input when they are done.
    for name in (*GIT_REPOSITORY, "PYTHONINSPECT"):
        environment.pop(name, None)
    for name in WIDTHS:
        value = environment.get(name, "")
        if not value.isdigit() or not int(value):
            environment.pop(name, None)
    if not environment.get("HOME"):  # a service of systemd: Pulumi and docker need it, Python finds it
        environment.pop("HOME", None)
        try:
            environment["HOME"] = str(Path.home())
        except RuntimeError as error:
            raise ConfigurationError(
                f"HOME is not set, and user {os.geteuid()} has no home folder.",
                next_step="Set HOME to a folder that this user may write.",
            ) from error
