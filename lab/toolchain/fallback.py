"""Launchers of the two fallback plugins: small scripts that start a module of this checkout as a Pulumi plugin."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from lab.toolchain.files import write_atomically
from slipway.paths import CHECKOUT

LANGUAGE_HOST_MODULE = "lab.plugins.language_python"

_LAUNCHER = """\
#!/bin/sh
# Starts {module} of the checkout that `slipway` runs from; outside of its environment
# of the checkout named below; written anew by every installation of the toolchain.
checkout={checkout}
python={python}
if [ -x "$SLIPWAY_CHECKOUT/.venv/bin/python" ] && [ -d "$SLIPWAY_CHECKOUT/lab/plugins" ]; then
  checkout=$SLIPWAY_CHECKOUT
  python=$checkout/.venv/bin/python
elif [ ! -x "$python" ] || [ ! -d "$checkout/lab/plugins" ]; then
  echo "$0 belongs to $checkout, which is gone; run 'make up' in the checkout you use now" >&2
  exit 1
fi
export PYTHONPATH="$checkout${{PYTHONPATH:+:$PYTHONPATH}}"
exec "$python" -P -m {module} "$@"
"""


def launcher_text(module: str) -> str:
    """The script for `module`; `-P` keeps the program's folder, in which the engine starts it, off `sys.path`."""
    own = CHECKOUT / ".venv" / "bin" / "python"
    python = own if own.exists() else Path(sys.executable)
    return _LAUNCHER.format(module=module, checkout=shlex.quote(str(CHECKOUT)), python=shlex.quote(str(python)))


def is_launcher(path: Path) -> bool:
    """Whether `path` is one of these scripts and not an official plugin."""
    if not path.is_file() or path.stat().st_size > 4096:
        return False
    return b" of the checkout named below; written anew by " in path.read_bytes()


def point_launcher(path: Path, module: str) -> None:
    """Make `path` start this checkout's `module`; unchanged if it does already."""
    text = launcher_text(module)
    if not path.is_symlink() and path.is_file() and path.read_bytes() == text.encode():
        return
    write_atomically(path, text, mode=0o755)
