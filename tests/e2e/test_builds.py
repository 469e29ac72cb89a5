"""Services out of a larger source tree with a build secret and an SSH key, without unit tests, and built elsewhere."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from lab.toolchain import DebianTool, install_debian_tools
from slipway.engine.stages import IMAGE_TYPE
from slipway.progress import Progress

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

# Of this run alone, so that no layer of an earlier one answers for it.
KEY = f"deploy-key-{secrets.token_hex(4)}"
# Asks the agent for its keys: message 11, whose answer has their comments.
ASK_AGENT = (
    "import os, socket; agent = socket.socket(socket.AF_UNIX); agent.connect(os.environ['SSH_AUTH_SOCK']);"
    r" agent.sendall(b'\0\0\0\1\x0b'); answer = agent.makefile('rb');"
    f" assert b'{KEY}' in answer.read(int.from_bytes(answer.read(4), 'big'))"
)
TOKEN, OTHER_TOKEN = "hidden-token-4711", "hidden-token-4712"
DOCKERFILE = f"""\
ARG BASE_IMAGE
FROM ${{BASE_IMAGE}} AS unit-tests
RUN --mount=type=secret,id=pip_token,required \\
    cut -c1-12 /run/secrets/pip_token | grep -qx hidden-token

FROM ${{BASE_IMAGE}} AS server
ARG VERSION
WORKDIR /www
COPY page.txt ./
RUN --mount=type=secret,id=pip_token,required \\
    sha256sum /run/secrets/pip_token | grep -q {hashlib.sha256(TOKEN.encode()).hexdigest()} \\
    && echo "version ${{VERSION}}" >version && touch healthz readyz
RUN --mount=type=ssh,required python3 -c "{ASK_AGENT}"
USER 10001:10001
CMD ["python3", "-c", "import http.server as h, signal, sys; signal.signal(15, lambda *_: sys.exit(0)); \\
     h.test(h.SimpleHTTPRequestHandler, port=8080)"]
"""
UNTESTED = DOCKERFILE[DOCKERFILE.index("FROM ${BASE_IMAGE} AS server") :].replace(
    "FROM ${BASE_IMAGE}", "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}"
)
SEARCH = """\
name: search-service
build:
  context: ../shop
  dockerfile: ../shop/search.Dockerfile
  args: {VERSION: 1.40}
  secrets: [pip_token]
  ssh: [default]
  target: server
  testTarget: unit-tests
checks:
  - {get: /version, has: version 1.40}
"""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """The socket of an SSH agent that has one key, `KEY`."""
    install_debian_tools(Progress(), [DebianTool("openssh-client", ("ssh-agent", "ssh-add", "ssh-keygen"))])
    socket, key = tmp_path / "agent", tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", KEY, "-f", str(key)], check=True)
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not socket.is_socket() and time.monotonic() < deadline:
            time.sleep(0.05)
        subprocess.run(["ssh-add", "-q", str(key)], env={"SSH_AUTH_SOCK": str(socket)}, check=True)
        yield str(socket)
    finally:
        process.terminate()
        process.wait(timeout=10)


def service(project: Any, folder: str, spec: str, dockerfile: str = "") -> Path:
    path = Path(project.folder, "services", folder)
    path.mkdir(exist_ok=True)
    (path / "service.yaml").write_text(dedent(spec))
    if dockerfile:
        (path / "Dockerfile").write_text(dockerfile)
    return path


def images(project: Any) -> dict[str, str]:
    return {name: each["image"] for name, each in project.outputs()["services"].items()}


def built(project: Any) -> set[str]:
    exported = project.run("pulumi", "stack", "export", "--stack", "e2e")
    assert exported.code == 0, exported.output
    return {
        each["urn"].rpartition("::")[2]
        for each in json.loads(exported.output)["deployment"]["resources"]
        if each["type"] == IMAGE_TYPE
    }


@pytest.mark.thorough
def test_images_are_built_from_elsewhere_without_tests_or_not_at_all(project: Any, agent: str) -> None:
    project = project.with_environment(SSH_AUTH_SOCK=agent)
    for name in ("user_service", "order_service", "kit"):
        shutil.rmtree(project.folder / "services" / name)
    shop = project.folder / "services" / "shop"
    shop.mkdir()
    (shop / "search.Dockerfile").write_text(DOCKERFILE)
    (shop / "page.txt").write_text("one\n")
    service(project, "search", SEARCH)
    project.configure("  slipway:buildCache: registry")

    missing = project.slipway("up", "-s", "e2e", "--yes")
    assert missing.code == 2, missing.output
    assert "SEARCH_SERVICE_PIP_TOKEN" in missing.output

    with_token = project.with_environment(SEARCH_SERVICE_PIP_TOKEN=TOKEN)
    first = with_token.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    image = images(project)["search-service"]
    other_token = project.with_environment(SEARCH_SERVICE_PIP_TOKEN=OTHER_TOKEN)
    again = other_token.slipway("up", "-s", "e2e", "--yes", "--force")
    assert again.code == 0, again.output
    assert images(project)["search-service"] == image, "another token builds nothing anew"

    service(project, "plain", "name: plain\nbuild: {testTarget: null, target: server, args: {VERSION: 2},"
            " secrets: [pip_token], ssh: [default]}\n", UNTESTED)  # fmt: skip
    (project.folder / "services/plain/page.txt").write_text("two\n")
    service(project, "copy", f"name: copy\nimage: {image}\nchecks:\n  - {{get: /version, has: version 1.40}}\n")
    project.replace("services/search/service.yaml", "VERSION: 1.40", "VERSION: 1.50")
    project.replace("services/search/service.yaml", "has: version 1.40", "has: version 1.50")
    both = with_token.with_environment(PLAIN_PIP_TOKEN=TOKEN)
    second = both.slipway("up", "-s", "e2e", "--yes")
    assert second.code == 0, second.output
    assert "unit-tests-exist" in second.output
    assert built(project) == {"search-service", "search-service-test", "plain"}
    after = images(project)
    assert after["search-service"] != image == after["copy"]

    back = project.slipway("rollback", "-s", "e2e", "--yes")
    assert back.code == 0, back.output
    assert images(project) == {"search-service": image}

    everything = missing.output + first.output + again.output + second.output + back.output
    kept = [file for file in (project.folder.parent / "backend").rglob("*") if file.is_file()]
    for token in (TOKEN, OTHER_TOKEN):
        assert token not in everything
        assert [file for file in kept if token in file.read_text(errors="replace")] == []


@pytest.mark.thorough
def test_a_preview_says_why_a_clone_under_another_umask_is_built_again(released: Any) -> None:
    for file in Path(released.folder, "services", "user_service").rglob("*"):
        file.chmod(file.stat().st_mode ^ 0o020)
    previewed = released.slipway("preview", "-s", "e2e")
    assert previewed.code == 0, previewed.output
    why = "built again from services/user_service and services/kit: of its files only modes have changed"
    assert why in previewed.output
    assert "Pods restart: user-service (1 pod)" in previewed.output
