"""`slipway env`: prints the exports a shell needs to run `pulumi`, `kubectl` and `slipway` by hand."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import typer

from slipway import project
from slipway.environment_variables import resolve


def env(*, json_output: bool) -> int:
    """Print `export K='v'` lines, or one JSON object, without variables that the user has already set."""
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
