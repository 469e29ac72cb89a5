"""What `slipway doctor` prints, and what its exit code says."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from threading import Thread

import pytest

from lab.toolchain import PartStatus
from slipway.cli import doctor as module
from slipway.cli.doctor import doctor
from slipway.paths import CHECKOUT

GOOD = PartStatus("Tool", "1.2.3", "1.2.3", "/opt/tool", "PATH", ok=True)
MISSING = PartStatus("Tool", "1.2.3", "", "", "", ok=False, to_do="`make up` installs it")
LAB_MISSING = PartStatus("runc", "any", "", "", "", ok=False, to_do="install it", for_lab=True)


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has everything, no lab, and no cluster of its own."""
    for name in ("KUBECONFIG", "SLIPWAY_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    for name in ("MEMORY_GIB", "DISK_GIB", "DISK_FOR_BUILDS_GIB"):
        monkeypatch.setattr(module, name, 0)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return tmp_path


def survey_is(monkeypatch: pytest.MonkeyPatch, *statuses: PartStatus) -> None:
    monkeypatch.setattr(module, "survey", lambda: list(statuses))


def as_json(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    doctor(json_output=True)
    return {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}


def test_a_machine_that_has_everything(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    survey_is(monkeypatch, GOOD)
    assert doctor(json_output=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["part", "wanted", "found", "how", "where", "what", "to", "do"]
    assert next(line for line in lines if "Tool" in line).split() == [
        "ok",
        "Tool",
        "1.2.3",
        "1.2.3",
        "PATH",
        "/opt/tool",
    ]
    assert (
        next(line for line in lines if line.startswith("ok  lab")).split("not made")[1].strip() == "`make up` makes it"
    )
    assert lines[-1] == "All parts are ready."


def test_a_missing_part_is_marked_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    survey_is(monkeypatch, GOOD, MISSING)
    assert doctor(json_output=False) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith("!!")] == [
        ["!!", "Tool", "1.2.3", "-", "`make", "up`", "installs", "it"]
    ]
    assert lines[-1] == "1 of 7 parts need a fix."


def test_json_holds_every_column(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    survey_is(monkeypatch, MISSING)
    assert as_json(capsys)["Tool"] == {
        "name": "Tool",
        "wanted": "1.2.3",
        "version": "",
        "where": "",
        "source": "",
        "ok": False,
        "to_do": "`make up` installs it",
        "for_lab": False,
    }


@pytest.mark.parametrize(
    ("part", "attribute"), [("memory", "MEMORY_GIB"), ("free disk", "DISK_GIB"), ("Python", "WANTED_PYTHON")]
)
def test_a_machine_that_is_too_small(
    part: str, attribute: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    survey_is(monkeypatch, GOOD)
    assert as_json(capsys)[part]["ok"] is True
    monkeypatch.setattr(module, attribute, (9, 9) if attribute == "WANTED_PYTHON" else 10**6)
    status = as_json(capsys)[part]
    assert status["ok"] is False
    assert status["to_do"]


def test_the_readme_and_the_lab_want_as_much_as_the_doctor() -> None:
    """Not those of the fixture, which wants nothing."""
    wanted = dict(re.findall(r"^(\w+_GIB) = (\d+)$", Path(module.__file__).read_text(), re.MULTILINE))
    readme = (CHECKOUT / "README.md").read_text()
    assert (
        f"4 GiB of memory ({wanted['MEMORY_GIB']} of them free), {wanted['DISK_FOR_BUILDS_GIB']} GiB of disk while the "
        f"toolchain is built ({wanted['DISK_GIB']} after that)"
    ) in readme
    assert f"about {wanted['DISK_GIB']} GiB of disk" in (CHECKOUT / "lab/README.md").read_text()
    assert f"the lab needs about {wanted['DISK_GIB']}" in (CHECKOUT / "lab/machine.py").read_text()


def test_a_path_below_the_home_folder_is_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for home, where, shown in (
        ("/home/ada", "/home/ada/bin/tool", "~/bin/tool"),
        ("/home/ada", "/home/adam/bin/tool", "/home/adam/bin/tool"),
        ("/", "/opt/tool", "/opt/tool"),
    ):
        monkeypatch.setenv("HOME", home)
        survey_is(monkeypatch, replace(GOOD, where=where))
        doctor(json_output=False)
        (line,) = (line for line in capsys.readouterr().out.splitlines() if "Tool" in line)
        assert line.split()[-1] == shown


def test_more_disk_is_wanted_while_something_is_to_be_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "DISK_FOR_BUILDS_GIB", 10**6)
    survey_is(monkeypatch, GOOD)
    assert as_json(capsys)["free disk"]["ok"] is True
    survey_is(monkeypatch, MISSING)
    assert as_json(capsys)["free disk"]["ok"] is False


def test_the_lab_needs_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    survey_is(monkeypatch, GOOD)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert as_json(capsys)["root"] | {"for_lab": None} == {
        "name": "root",
        "wanted": "yes",
        "version": "no, user 1000",
        "where": "",
        "source": "",
        "ok": False,
        "to_do": "run as root: the lab makes mounts, network interfaces and containers",
        "for_lab": None,
    }


@pytest.fixture
def listening() -> Iterator[str]:
    """The address of something that listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def write_kubeconfig(path: Path, server: str) -> Path:
    path.write_text(
        json.dumps(
            {
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "it"}}],
                "clusters": [{"name": "it", "cluster": {"server": server}}],
            }
        )
    )
    return path


def lab_environment(machine: Path, server: str, registry: str) -> None:
    file = machine / "data" / "lab" / "environment.json"
    file.parent.mkdir(parents=True)
    kubeconfig = write_kubeconfig(machine / "lab-kubeconfig", server)
    file.write_text(json.dumps({"KUBECONFIG": str(kubeconfig), "SLIPWAY_REGISTRY": registry}))


def test_a_lab_that_is_up(
    machine: Path, listening: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    survey_is(monkeypatch, GOOD)
    lab_environment(machine, f"https://{listening}", listening)
    assert as_json(capsys)["lab"]["version"] == "up"


def test_a_lab_that_is_down_is_no_missing_part(
    machine: Path, listening: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    survey_is(monkeypatch, GOOD)
    lab_environment(machine, f"https://{listening}", "127.0.0.1:1")
    status = as_json(capsys)["lab"]
    assert (status["version"], status["to_do"], status["ok"]) == ("down", "`slipway lab up` starts it", True)
    assert doctor(json_output=True) == 0


def test_with_a_cluster_of_ones_own_the_labs_needs_are_none(
    machine: Path, listening: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    survey_is(monkeypatch, GOOD, LAB_MISSING)
    assert doctor(json_output=True) == 1
    capsys.readouterr()
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(machine / "mine", f"https://{listening}")))
    monkeypatch.setenv("SLIPWAY_REGISTRY", "registry.example.test")
    parts = as_json(capsys)
    assert parts["runc"]["to_do"] == "not needed with a cluster and a registry of your own"
    assert parts["your cluster"]["version"] == "answers"
    assert "lab" not in parts
    assert doctor(json_output=True) == 0


def test_a_cluster_that_does_not_answer(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    survey_is(monkeypatch, GOOD)
    monkeypatch.setenv("SLIPWAY_REGISTRY", "registry.example.test")
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(machine / "mine", "https://127.0.0.1:1")))
    status = as_json(capsys)["your cluster"]
    assert (status["ok"], status["to_do"]) == (False, "check why https://127.0.0.1:1 does not answer")
    monkeypatch.setenv("KUBECONFIG", str(machine / "no-such-file"))
    assert str(as_json(capsys)["your cluster"]["to_do"]).startswith(
        "the kubeconfig has no current-context; name one with"
    )


def test_a_cluster_behind_a_proxy_is_asked_through_it(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which refuses whoever is not logged in; where it is not there, it is named with its variable."""
    survey_is(monkeypatch, GOOD)
    for name in ("no_proxy", "NO_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLIPWAY_REGISTRY", "registry.example.test")
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(machine / "mine", "http://api.invalid")))
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as proxy:
        Thread(target=proxy.handle_request, daemon=True).start()
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        assert as_json(capsys)["your cluster"]["version"] == "answers"
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    status = as_json(capsys)["your cluster"]
    assert status["ok"] is False
    assert "http://127.0.0.1:1, which HTTP_PROXY in the environment names" in str(status["to_do"])


def test_the_cluster_of_a_context_that_an_environment_names(
    machine: Path, listening: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    survey_is(monkeypatch, GOOD)
    kubeconfig = write_kubeconfig(machine / "mine", f"https://{listening}")
    kubeconfig.write_text(kubeconfig.read_text().replace("current-context", "colour"))
    (machine / "Pulumi.yaml").write_text("name: shop\n")
    (machine / "Pulumi.prod.yaml").write_text("config: {slipway:context: here}\n")
    monkeypatch.chdir(machine)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setenv("SLIPWAY_REGISTRY", "registry.example.test")
    assert as_json(capsys)["your cluster"]["version"] == "answers"


def test_a_cluster_without_a_registry_is_reported(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    survey_is(monkeypatch, GOOD)
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(machine / "mine", "https://127.0.0.1:1")))
    status = as_json(capsys)["cluster"]
    assert status["ok"] is False
    assert "no registry is" in str(status["where"])
    assert "SLIPWAY_REGISTRY" in str(status["to_do"])
