"""The environment variables that a hook, a terminal or a build server sets for others, put right for every command."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from slipway.errors import ConfigurationError

# `git rev-parse --local-env-vars` without those that configure git.
GIT_REPOSITORY = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_IMPLICIT_WORK_TREE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_SHALLOW_FILE"),
    *("GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE", "GIT_NO_REPLACE_OBJECTS", "GIT_INTERNAL_SUPER_PREFIX"),
)
# `rich` prints nothing at all into a width of 0, which a terminal without a size has, and typer reads its own number.
WIDTHS = ("COLUMNS", "LINES", "TERMINAL_WIDTH")


def correct_variables(environment: MutableMapping[str, str]) -> None:
    """Change the variables of this process, which all that it starts inherit.

    Raises ConfigurationError where there is no folder for what Slipway, the engine and docker keep for this user.
    """
    # A hook of git says by these which repository it runs for; ours is the one that the project is in.
    # PYTHONINSPECT would have the program and the policy pack wait for somebody to type once they are done.
    for name in (*GIT_REPOSITORY, "PYTHONINSPECT"):
        environment.pop(name, None)
    for name in WIDTHS:
        value = environment.get(name, "")
        if not value.isdigit() or not int(value):
            environment.pop(name, None)
    if not environment.get("HOME"):  # a service of systemd: Pulumi and docker want it, Python knows it without
        environment.pop("HOME", None)
        try:
            environment["HOME"] = str(Path.home())
        except RuntimeError as error:
            raise ConfigurationError(
                f"HOME is not set, and user {os.geteuid()} has no home folder.",
                next_step="Set HOME to a folder that this user may write.",
            ) from error
