"""The services that are deployed: written into the copy of the checkout, and changed there."""

from __future__ import annotations

import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from bench.choice import Size
from slipway.cli.new import new

# No instruction runs anything: what is timed is the builder, and the way to it and to the registry.
DOCKERFILE = """\
ARG BASE_IMAGE=python:3.12-slim

FROM scratch AS test
COPY version.txt /

FROM scratch AS runtime
COPY --from=test version.txt /
USER 10001:10001
"""
SERVICE = """\
name: {name}
replicas: 0
env: {{LOG_LEVEL: info}}
"""
ANSWER, VERSION = "service=SERVICE)", 'service=SERVICE, version="{version}")'
PATH = "/hello"


class BenchServices:
    """The services of a copy in `folder`, in place of those that are committed there.

    Each has a version, which is part of what is built. No two runs write the same: the builder knows none of it.
    """

    def __init__(self, folder: Path, size: Size, run: str) -> None:
        self._folder, self._size, self._run = folder / "services", size, run
        self.names = [f"bench-{number:03}" for number in range(1, size.services + 1)]
        self.versions = dict.fromkeys(self.names, 1)

    def write(self) -> None:
        """Remove the services that are there, and write those of the size, in version 1."""
        for spec in self._folder.glob("*/service.yaml"):
            shutil.rmtree(spec.parent)
        for name in self.names:
            if self._size.real:
                with redirect_stdout(StringIO()):  # what a person does next
                    new(name, self._folder.parent)
            else:
                service = self._service(name)
                service.mkdir()
                (service / "Dockerfile").write_text(DOCKERFILE)
                (service / "service.yaml").write_text(SERVICE.format(name=name))
        self._write_versions(self.names, replacing=ANSWER)

    def change(self, *names: str) -> None:
        """A new version of these services, of all where none is named."""
        for name in names or self.names:
            self._write_versions([name], replacing=VERSION.format(version=self.text(name)))

    def text(self, name: str) -> str:
        """The version that is in the service's files."""
        return f"{self._run}-{self.versions[name]}"

    def _write_versions(self, names: list[str], *, replacing: str) -> None:
        for name in names:
            if replacing != ANSWER:
                self.versions[name] += 1
            if not self._size.real:
                (self._service(name) / "version.txt").write_text(self.text(name))
                continue
            routes = self._service(name) / name.replace("-", "_") / "routes.py"
            routes.write_text(routes.read_text().replace(replacing, VERSION.format(version=self.text(name))))

    def _service(self, name: str) -> Path:
        return self._folder / name.replace("-", "_")
