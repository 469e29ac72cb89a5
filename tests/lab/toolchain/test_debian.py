"""Packages are installed only where missing, by root, around the usual obstacles, and their services stay down."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.toolchain import debian
from lab.toolchain.debian import DebianTool, install_debian_tools
from slipway.errors import SlipwayError
from slipway.progress import Progress

Put = Callable[[str, str], Path]
TOOLS = (DebianTool("frob-server", ("frobd",)), DebianTool("sh", ("sh",)))


@pytest.fixture(autouse=True)
def system(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for the system's folders, and root's user id."""
    monkeypatch.setattr(debian, "POLICY", home / "policy-rc.d")
    monkeypatch.setattr(debian, "CREATE_CLUSTER", home / "createcluster.d" / "slipway.conf")
    monkeypatch.setattr(debian, "UNIT_FOLDERS", (home / "units",))
    monkeypatch.setattr(debian, "_LOCK_POLL_SECONDS", 0.05)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    (home / "units").mkdir()
    (home / "units" / "old.service").touch()
    return home


@pytest.fixture
def apt_get(on_path: Put, home: Path) -> Callable[[str], None]:
    """An apt-get that does what `before` says, then brings `frobd`, its service, and a record of the call."""

    def put(before: str) -> None:
        on_path(
            "apt-get",
            f"""
echo "apt-get $@" >> {home}/calls
cp {home}/policy-rc.d {home}/policy-seen 2>/dev/null
if [ "$1" = update ]; then touch {home}/updated; exit 0; fi
{before}
touch {home}/units/frob.service
printf '#!/bin/sh\\n' > {home}/path/frobd; chmod +x {home}/path/frobd""",
        )

    return put


@pytest.fixture(autouse=True)
def systemctl(on_path: Put, home: Path) -> None:
    on_path("systemctl", f'echo "systemctl $@" >> {home}/calls')


def calls(home: Path) -> list[str]:
    file = home / "calls"
    return file.read_text().splitlines() if file.exists() else []


def test_what_is_there_is_not_installed(progress: Progress, screen: io.StringIO, home: Path, on_path: Put) -> None:
    on_path("frobd", "true")
    install_debian_tools(progress, TOOLS)
    assert (calls(home), screen.getvalue()) == ([], "")


def test_only_the_missing_is_installed_and_its_service_neither_started_nor_enabled(
    progress: Progress, home: Path, apt_get: Callable[[str], None], screen: io.StringIO
) -> None:
    apt_get(":")
    install_debian_tools(progress, TOOLS)
    install, disable = calls(home)
    assert install.startswith("apt-get install -y --no-install-recommends --no-upgrade ")
    assert install.endswith(" frob-server")
    assert disable == "systemctl disable frob.service"
    assert (home / "policy-seen").read_text().endswith("exit 101\n")
    assert not (home / "policy-rc.d").exists()
    assert not (home / "createcluster.d" / "slipway.conf").exists()
    assert screen.getvalue().startswith("Installing frob-server ...\nInstalling frob-server: done in ")


def test_a_policy_of_somebody_else_stays(progress: Progress, home: Path, apt_get: Callable[[str], None]) -> None:
    (home / "policy-rc.d").write_text("#!/bin/sh\nexit 104\n")
    apt_get(":")
    install_debian_tools(progress, TOOLS)
    assert (home / "policy-rc.d").read_text() == "#!/bin/sh\nexit 104\n"


def test_what_a_killed_run_left_is_taken_away(progress: Progress, home: Path, on_path: Put) -> None:
    (home / "policy-rc.d").write_text(f"#!/bin/sh\n{debian._MARK}\nexit 101\n")
    on_path("frobd", "true")
    install_debian_tools(progress, TOOLS)
    assert not (home / "policy-rc.d").exists()


def test_package_lists_are_updated_when_they_are_too_old(
    progress: Progress, home: Path, apt_get: Callable[[str], None]
) -> None:
    apt_get(f'[ -e {home}/updated ] || {{ echo "E: Unable to locate package frob-server"; exit 100; }}')
    install_debian_tools(progress, TOOLS)
    assert [line.split()[1] for line in calls(home)] == ["install", "update", "install", "disable"]


def test_a_dpkg_that_was_interrupted_is_put_right(
    progress: Progress, home: Path, apt_get: Callable[[str], None], on_path: Put
) -> None:
    on_path("dpkg", f"touch {home}/configured")
    refusal = "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
    apt_get(f'[ -e {home}/configured ] || {{ echo "{refusal}"; exit 100; }}')
    install_debian_tools(progress, TOOLS)
    assert (home / "configured").exists()


def test_a_taken_lock_is_waited_for(progress: Progress, home: Path, apt_get: Callable[[str], None]) -> None:
    refusal = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)"
    apt_get(f'if [ ! -e {home}/tried ]; then touch {home}/tried; echo "{refusal}"; exit 100; fi')
    install_debian_tools(progress, TOOLS)
    assert [line.split()[1] for line in calls(home)] == ["install", "install", "disable"]


def test_any_other_failure_is_shown_with_the_end_of_the_log(
    progress: Progress, home: Path, apt_get: Callable[[str], None]
) -> None:
    apt_get('echo "E: You don\'t have enough free space in /var/cache/apt/archives/."; exit 100')
    with pytest.raises(SlipwayError) as caught:
        install_debian_tools(progress, TOOLS)
    assert caught.value.what == "apt-get install failed (exit 100)"
    assert caught.value.why.endswith("E: You don't have enough free space in /var/cache/apt/archives/.")
    assert str(home / "cache" / "logs" / "apt.log") in caught.value.next_step
    assert not (home / "policy-rc.d").exists()


def test_a_remedy_that_does_not_help_is_tried_once(
    progress: Progress, home: Path, apt_get: Callable[[str], None]
) -> None:
    apt_get('echo "E: Unable to locate package frob-server"; exit 100')
    with pytest.raises(SlipwayError, match="apt-get install failed"):
        install_debian_tools(progress, TOOLS)
    assert [line.split()[1] for line in calls(home)] == ["install", "update", "install"]


def test_a_package_that_does_not_bring_its_program_is_an_error(progress: Progress, on_path: Put) -> None:
    on_path("apt-get", "true")
    with pytest.raises(SlipwayError) as caught:
        install_debian_tools(progress, TOOLS)
    assert caught.value.what == "apt-get installed frob-server, but programs for the lab are missing"
    assert caught.value.why == "frob-server: frobd"


def test_only_root_can_install(
    progress: Progress, monkeypatch: pytest.MonkeyPatch, apt_get: Callable[[str], None], home: Path
) -> None:
    apt_get(":")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SlipwayError) as caught:
        install_debian_tools(progress, TOOLS)
    assert caught.value.what == "The lab lacks frob-server, and only root can install packages"
    assert caught.value.next_step.endswith("apt-get install frob-server")
    assert calls(home) == []


def test_a_system_without_apt_get_is_reported(progress: Progress, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("PATH", str(home / "path"))
    with pytest.raises(SlipwayError, match="has no apt-get"):
        install_debian_tools(progress, (DebianTool("frob-server", ("frobd",)),))


def test_a_tool_is_found_by_name_or_by_pattern(home: Path, on_path: Put) -> None:
    frobd = on_path("frobd", "true")
    assert DebianTool("frob", ("frobd",)).find() == [frobd]
    assert DebianTool("frob", (f"{home}/pa*/frobd",)).find() == [frobd]
    assert DebianTool("frob", ("frobd", "frobctl")).find() == [], "half a tool is none"
    assert DebianTool("frob", (f"{home}/pa*/frobctl",)).find() == []
