"""Entry point of the Python language host; its last argument is the engine's address."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

CHECKOUT = Path(__file__).resolve().parents[3]


def main() -> NoReturn:
    """Serve the engine that started this process, until it is gone."""
    from lab.plugins.language_python.processes import ProgramProcess  # noqa: PLC0415 -- see below

    _forget_launcher()
    # The program's interpreter takes longest to get ready: it loads the SDK while this process loads gRPC.
    waiting = ProgramProcess.start(sys.executable)

    from lab.plugins import serving  # noqa: PLC0415

    serving.spare_the_sdk()

    from lab.plugins.language_python.host import LanguageHost  # noqa: PLC0415

    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    host = LanguageHost(engine_address=arguments[-1] if arguments else "", waiting=waiting)
    serving.serve(host.register, on_stop=host.stop)


def _forget_launcher() -> None:
    """Remove this checkout from PYTHONPATH, where the launcher put it: programs must not import from it."""
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folders[0] == str(CHECKOUT):
        os.environ["PYTHONPATH"] = os.pathsep.join(folders[1:])


if __name__ == "__main__":
    main()
