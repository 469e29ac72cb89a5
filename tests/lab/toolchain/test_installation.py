"""Each part is chosen in its order, is there as a whole or not at all, and is not touched again."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.toolchain import installation, layout
from lab.toolchain.installation import Installation, changed_files, install, is_current, read_stamp
from lab.toolchain.layout import bin_folder, installation_lock, part_folder, plugin_folder
from lab.toolchain.parts import LANGUAGE_HOST, GoBuild, Part
from slipway.errors import SlipwayError
from slipway.progress import Progress

CHECKOUT = Path(__file__).resolve().parents[3]
MakePart = Callable[..., Part]
Put = Callable[[str, str], Path]
PutPlugin = Callable[[Path, str], Path]


def ensure(part: Part, progress: Progress | None = None) -> None:
    run = Installation(progress or Progress())
    try:
        run.ensure(part)
    finally:
        run.close()


def source(part: Part) -> str:
    stamp = read_stamp(part_folder(part))
    return stamp.source if stamp else ""


def says(part: Part, name: str = "tool") -> str:
    return subprocess.run([bin_folder(part) / name], capture_output=True, text=True, check=True).stdout.strip()


def test_the_right_version_on_path_is_taken(make_part: MakePart, on_path: Put) -> None:
    part = make_part()
    tool = on_path("tool", "echo tool v1.2.3")
    ensure(part)
    assert source(part) == "PATH"
    assert (bin_folder(part) / "tool").readlink() == tool


def test_another_version_on_path_is_passed_over_and_reported_once(
    make_part: MakePart, on_path: Put, site: Any, progress: Progress, screen: io.StringIO
) -> None:
    tool = on_path("tool", "echo tool v1.2.4")
    part = make_part(site.offer_archive({"tool": "echo tool v1.2.3"}))
    ensure(part, progress)
    ensure(part, progress)
    assert source(part) == "download"
    assert says(part) == "tool v1.2.3"
    assert screen.getvalue().splitlines()[0] == f"Tool 1.2.3: {tool} is not used: another version (1.2.4)"
    assert screen.getvalue().count("is not used") == 1


def test_what_is_brought_is_of_the_pinned_version_where_any_will_do(
    make_part: MakePart, site: Any, fake_go: Callable[..., Path]
) -> None:
    fake_go(version="0.0.1")
    part = make_part(site.offer_archive({"tool": "echo tool v9.9.9"}), any_version=True)
    with pytest.raises(SlipwayError) as caught:
        ensure(part)
    assert caught.value.why == "tool reports 0.0.1"


def test_path_is_passed_over_when_one_of_several_executables_is_missing(
    make_part: MakePart, on_path: Put, site: Any
) -> None:
    on_path("tool", "echo tool v1.2.3")
    scripts = {"tool": "echo tool v1.2.3", "toolctl": "echo toolctl v1.2.3"}
    part = make_part(site.offer_archive(scripts), executables=("tool", "toolctl"))
    ensure(part)
    assert source(part) == "download"


def test_a_download_of_another_version_is_passed_over(
    make_part: MakePart, site: Any, fake_go: Callable[..., Path], progress: Progress, screen: io.StringIO
) -> None:
    fake_go()
    part = make_part(site.offer_archive({"tool": "echo tool v9.9.9"}))
    ensure(part, progress)
    assert source(part) == "build"
    assert "skipped after" in screen.getvalue()
    assert "tool reports 9.9.9" in screen.getvalue()


def test_a_download_that_breaks_off_again_and_again_is_reported_and_the_part_built(
    make_part: MakePart, site: Any, fake_go: Callable[..., Path], progress: Progress, screen: io.StringIO
) -> None:
    fake_go()
    part = make_part(site.offer_archive({"tool": "echo tool v1.2.3"}))
    site.cut["/tool.tar.gz"] = [30, 40, 50]
    ensure(part, progress)
    assert (source(part), says(part)) == ("build", "tool v1.2.3")
    assert re.search(r"Downloading Tool 1\.2\.3: skipped after .*/tool\.tar\.gz was interrupted \(", screen.getvalue())


def test_what_cannot_be_downloaded_is_built(
    make_part: MakePart, fake_go: Callable[..., Path], progress: Progress, screen: io.StringIO
) -> None:
    fake_go()
    part = make_part()
    ensure(part, progress)
    assert (source(part), says(part)) == ("build", "tool v1.2.3")
    lines = [re.sub(r"\d+\.\d s", "N s", line) for line in screen.getvalue().splitlines()]
    assert lines == [
        "Downloading Tool 1.2.3 ...",
        "Downloading Tool 1.2.3: skipped after N s: 127.0.0.1:1 cannot be reached ([Errno 111] Connection refused)",
        "Building Tool 1.2.3 ...",
        "Building Tool 1.2.3: done in N s, 0 s of processor time",
    ]


def test_an_unreachable_site_is_tried_once_in_a_run(
    make_part: MakePart, fake_go: Callable[..., Path], progress: Progress, screen: io.StringIO
) -> None:
    fake_go()
    run = Installation(progress)
    run.ensure(make_part())
    run.ensure(make_part(name="second"))
    run.close()
    assert screen.getvalue().count("Downloading") == 2, "begun and skipped, once"
    assert source(make_part(name="second")) == "build"


def test_an_installed_part_is_left_alone(
    make_part: MakePart, fake_go: Callable[..., Path], progress: Progress, screen: io.StringIO
) -> None:
    fake_go()
    part = make_part()
    ensure(part)
    before = (bin_folder(part) / "tool").stat()
    fake_go("echo built again >&2; exit 1")
    ensure(part, progress)
    assert screen.getvalue() == ""
    assert (bin_folder(part) / "tool").stat() == before


def test_a_changed_executable_is_made_anew(make_part: MakePart, fake_go: Callable[..., Path]) -> None:
    fake_go()
    part = make_part()
    ensure(part)
    (bin_folder(part) / "tool").write_text("#!/bin/sh\n")
    ensure(part)
    assert says(part) == "tool v1.2.3"


def test_a_changed_pin_is_made_anew(make_part: MakePart, fake_go: Callable[..., Path], home: Path) -> None:
    fake_go()
    part = make_part()
    ensure(part)
    assert is_current(part, read_stamp(part_folder(part)))
    (home / "module" / "go.sum").write_text("example.test/other v1.0.0 h1:x\n")
    assert not is_current(part, read_stamp(part_folder(part)))
    ensure(part)
    assert is_current(part, read_stamp(part_folder(part)))


def test_a_tool_that_left_path_is_looked_for_anew(
    make_part: MakePart, on_path: Put, fake_go: Callable[..., Path]
) -> None:
    part = make_part()
    tool = on_path("tool", "echo tool v1.2.3")
    ensure(part)
    tool.unlink()
    fake_go()
    ensure(part)
    assert source(part) == "build"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"part": "tool"}', '{"files": {"tool": {"size": 1}}}'])
def test_a_stamp_that_cannot_be_read_is_no_stamp(text: str, make_part: MakePart, fake_go: Callable[..., Path]) -> None:
    fake_go()
    part = make_part()
    ensure(part)
    (part_folder(part) / "stamp.json").write_text(text)
    assert read_stamp(part_folder(part)) is None
    ensure(part)
    assert source(part) == "build"


def test_only_the_thorough_check_sees_a_change_that_keeps_size_and_time(
    make_part: MakePart, fake_go: Callable[..., Path]
) -> None:
    fake_go()
    part = make_part()
    ensure(part)
    tool = bin_folder(part) / "tool"
    before = tool.stat()
    tool.write_bytes(tool.read_bytes().replace(b"1.2.3", b"6.6.6"))
    os.utime(tool, ns=(before.st_atime_ns, before.st_mtime_ns))
    stamp = read_stamp(part_folder(part))
    assert stamp is not None
    assert changed_files(part_folder(part), stamp) == []
    assert changed_files(part_folder(part), stamp, thorough=True) == ["tool"]


def test_a_failing_build_says_which_part_why_and_where_the_log_is(
    make_part: MakePart, fake_go: Callable[..., Path], home: Path
) -> None:
    fake_go("echo 'main.go:7: undefined: frobnicate' >&2; exit 1")
    with pytest.raises(SlipwayError) as caught:
        ensure(make_part())
    log = home / "cache" / "logs" / "tool-1.2.3.log"
    assert caught.value.what == "Building Tool 1.2.3 (tool) failed (exit 1)"
    assert caught.value.why.endswith("main.go:7: undefined: frobnicate")
    assert caught.value.next_step == f"The whole log is in {log}. Run the same command again to go on."
    assert "undefined: frobnicate" in log.read_text()
    assert source(make_part()) == ""


def test_a_build_of_another_version_is_refused(make_part: MakePart, fake_go: Callable[..., Path]) -> None:
    fake_go(version="0.0.1")
    with pytest.raises(SlipwayError) as caught:
        ensure(make_part())
    assert caught.value.what == "Building Tool 1.2.3 gave another version"
    assert caught.value.why == "tool reports 0.0.1"
    assert source(make_part()) == ""


KILLED_RUN = """
import sys
from pathlib import Path
from lab.toolchain.installation import Installation
from lab.toolchain.parts import GoBuild, Part, Release, VersionQuestion
from slipway.progress import Progress
part = Part("tool", "Tool", "1.2.3", ("tool",), Release({"http://127.0.0.1:1/t": "http://127.0.0.1:1/t"}),
            GoBuild(sys.argv[1], {"tool": "."}), VersionQuestion((), "v{version}"))
Installation(Progress()).ensure(part)
"""


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_build_leaves_nothing_running_and_the_next_run_goes_on(
    signal_number: int, make_part: MakePart, fake_go: Callable[..., Path], home: Path
) -> None:
    fake_go(f"echo half > $2; echo $$ > {home}/compiler; exec sleep 60")
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED_RUN), str(home / "module")],
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        stderr=subprocess.DEVNULL,
    )
    compiler = int(wait_for(lambda: (home / "compiler").read_text().strip()))
    run.send_signal(signal_number)
    run.wait(20)
    wait_for(lambda: not Path(f"/proc/{compiler}/cmdline").exists() or is_zombie(compiler))
    part = make_part()
    assert not part_folder(part).exists()
    assert list(part_folder(part).parent.glob("tool-1.2.3.partial/bin/tool")) != [], "the half was really there"

    fake_go()
    ensure(part)
    assert says(part) == "tool v1.2.3"
    assert [path.name for path in part_folder(part).parent.iterdir()] == ["tool-1.2.3"]


def wait_for(look: Callable[[], Any], deadline_seconds: float = 20) -> Any:
    """The first true answer of `look`; a file that is not there yet is no answer."""
    end = time.monotonic() + deadline_seconds
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            if found := look():
                return found
        time.sleep(0.05)
    raise AssertionError("it did not come about in time")


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_second_installation_waits_and_says_so(progress: Progress, screen: io.StringIO) -> None:
    inside, done = threading.Event(), threading.Event()

    def first() -> None:
        with installation_lock(Progress()):
            inside.set()
            done.wait(20)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(20)
    threading.Timer(0.5, done.set).start()
    with installation_lock(progress):
        assert done.is_set()
    thread.join()
    assert f"Waiting for another installation (process {os.getpid()}): done in" in screen.getvalue()


def test_one_binary_stands_for_all_its_components(make_part: MakePart, on_path: Put, home: Path) -> None:
    body = """
case $1 in
  version) echo "go version go99.1.0 linux/amd64" ;;
  build) while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\\necho "$(basename $0) v1.2.3 $1"\\n' > "$2"; chmod +x "$2" ;;
esac"""
    on_path("go", body)
    build = GoBuild(str(home / "module"), {"multi": "."})
    part = make_part(executables=("one", "two"), multicall="multi", build=build)
    ensure(part)
    assert (bin_folder(part) / "one").readlink() == Path("multi")
    assert says(part, "two") == "two v1.2.3"


def test_separate_binaries_are_run_by_name_as_the_one_binary_is(make_part: MakePart, on_path: Put) -> None:
    on_path("one", "echo one v1.2.3 $1")
    on_path("two", "echo two v1.2.3 $1")
    part = make_part(executables=("one", "two"), multicall="multi")
    ensure(part)
    answer = subprocess.run([bin_folder(part) / "multi", "two", "-x"], capture_output=True, text=True, check=True)
    assert answer.stdout == "two v1.2.3 -x\n"


class TestPlugins:
    """The two plugins that have a fallback in this checkout."""

    @pytest.fixture
    def provider(self, make_part: MakePart) -> Part:
        return make_part(
            executables=("pulumi-resource-tool",), question=None, build=None, fallback_module="lab.plugins.tool"
        )

    def test_the_checkouts_own_is_used_last_and_reported_once(
        self, provider: Part, progress: Progress, screen: io.StringIO
    ) -> None:
        ensure(provider, progress)
        ensure(provider, progress)
        launcher = (bin_folder(provider) / "pulumi-resource-tool").read_text()
        assert f"checkout={CHECKOUT}\n" in launcher
        assert launcher.endswith('exec "$python" -P -m lab.plugins.tool "$@"\n')
        notes = [line for line in screen.getvalue().splitlines() if "own is used" in line]
        assert notes == [
            "Tool: this checkout's own is used, because pulumi-resource-tool 1.2.3 is not on PATH and "
            "127.0.0.1:1 cannot be reached ([Errno 111] Connection refused)"
        ]

    def test_an_official_one_on_path_is_taken(self, provider: Part, home: Path, put_plugin: PutPlugin) -> None:
        plugin = put_plugin(home / "path" / "pulumi-resource-tool", "1.2.3")
        ensure(provider)
        assert source(provider) == "PATH"
        assert (bin_folder(provider) / "pulumi-resource-tool").readlink() == plugin

    def test_an_official_one_in_the_users_pulumi_home_is_taken(
        self, provider: Part, home: Path, put_plugin: PutPlugin
    ) -> None:
        plugin = put_plugin(home / ".pulumi/plugins/resource-tool-v1.2.3/pulumi-resource-tool", "1.2.3")
        ensure(provider)
        assert (bin_folder(provider) / "pulumi-resource-tool").readlink() == plugin

    def test_half_a_one_on_path_is_passed_over_and_reported(
        self, provider: Part, half_a_plugin: Path, progress: Progress, screen: io.StringIO
    ) -> None:
        ensure(provider, progress)
        assert source(provider) == "fallback"
        assert f"Tool 1.2.3: {half_a_plugin} is not used: it does not start as a plugin" in screen.getvalue()

    def test_one_in_the_users_pulumi_home_that_was_not_finished_is_passed_over_and_reported(
        self, provider: Part, home: Path, put_plugin: PutPlugin, progress: Progress, screen: io.StringIO
    ) -> None:
        plugin = put_plugin(home / ".pulumi/plugins/resource-tool-v1.2.3/pulumi-resource-tool", "1.2.3")
        mark = home / ".pulumi/plugins/resource-tool-v1.2.3.partial"
        mark.touch()
        ensure(provider, progress)
        assert source(provider) == "fallback"
        message = f"Tool 1.2.3: {plugin} is not used: `pulumi plugin install` did not finish it"
        assert message in screen.getvalue()
        mark.unlink()
        ensure(provider)
        assert source(provider) == "PATH"

    def test_an_official_one_that_comes_later_replaces_ours(
        self, provider: Part, home: Path, put_plugin: PutPlugin
    ) -> None:
        ensure(provider)
        put_plugin(home / "path" / "pulumi-resource-tool", "1.2.2")
        ensure(provider)
        assert source(provider) == "fallback", "another version does not"
        put_plugin(home / "path" / "pulumi-resource-tool", "1.2.3")
        ensure(provider)
        assert source(provider) == "PATH"

    def test_a_second_checkout_points_the_launchers_at_itself(
        self, provider: Part, home: Path, monkeypatch: pytest.MonkeyPatch, progress: Progress, screen: io.StringIO
    ) -> None:
        ensure(provider)
        monkeypatch.setattr(layout, "CHECKOUT", home / "another clone")
        ensure(provider, progress)
        launcher = bin_folder(provider) / "pulumi-resource-tool"
        assert f"checkout='{home}/another clone'\n" in launcher.read_text()
        assert screen.getvalue() == ""
        answer = subprocess.run([launcher], capture_output=True, text=True, check=False)
        assert answer.returncode == 1
        assert answer.stderr == (
            f"{launcher} belongs to {home}/another clone, which is gone; run 'make up' in the checkout you use now\n"
        )

    def test_the_checkout_that_slipway_runs_from_comes_first(
        self, provider: Part, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(layout, "CHECKOUT", home / "gone")
        ensure(provider)
        python = home / "here" / ".venv" / "bin" / "python"
        (home / "here" / "lab" / "plugins").mkdir(parents=True)
        python.parent.mkdir(parents=True)
        python.write_text('#!/bin/sh\necho "$PYTHONPATH $@"\n')
        python.chmod(0o755)
        launcher = bin_folder(provider) / "pulumi-resource-tool"
        environment = {"SLIPWAY_CHECKOUT": str(home / "here"), "PATH": "/bin"}
        answer = subprocess.run([launcher, "engine"], capture_output=True, text=True, check=True, env=environment)
        assert answer.stdout == f"{home}/here -P -m lab.plugins.tool engine\n"

    def test_an_engine_built_here_gets_the_checkouts_language_host(
        self, make_part: MakePart, fake_go: Callable[..., Path]
    ) -> None:
        fake_go()
        part = make_part(companion=LANGUAGE_HOST)
        ensure(part)
        assert layout.is_launcher(bin_folder(part) / LANGUAGE_HOST)
        assert source(part) == "build"
        ensure(part)
        assert is_current(part, read_stamp(part_folder(part)))

    def test_an_engine_built_here_gets_the_language_host_on_path(
        self, make_part: MakePart, fake_go: Callable[..., Path], home: Path, put_plugin: PutPlugin
    ) -> None:
        fake_go()
        part = make_part(companion=LANGUAGE_HOST)
        ensure(part)
        host = put_plugin(home / "path" / LANGUAGE_HOST, "1.2.3")
        ensure(part)
        assert (bin_folder(part) / LANGUAGE_HOST).readlink() == host

    def test_a_language_host_of_another_version_on_path_is_passed_over_and_reported(
        self, make_part: MakePart, fake_go: Callable[..., Path], put_plugin: PutPlugin, home: Path, capsys: Any
    ) -> None:
        fake_go()
        part = make_part(companion=LANGUAGE_HOST)
        other = put_plugin(home / "path" / LANGUAGE_HOST, "1.2.2")
        ensure(part)
        assert layout.is_launcher(bin_folder(part) / LANGUAGE_HOST)
        assert capsys.readouterr().err.splitlines()[-1] == (
            "Python language host: this checkout's own is used, because an engine built here has none and "
            f"{other} has 1.2.2, not 1.2.3"
        )

    def test_an_engine_on_path_is_only_taken_with_its_language_host(
        self, make_part: MakePart, on_path: Put, site: Any
    ) -> None:
        on_path("tool", "echo tool v1.2.3")
        release = site.offer_archive({"tool": "echo tool v1.2.3", LANGUAGE_HOST: "true"})
        part = make_part(release, companion=LANGUAGE_HOST)
        ensure(part)
        assert source(part) == "download"
        assert (bin_folder(part) / LANGUAGE_HOST).is_file()
        other = make_part(release, companion=LANGUAGE_HOST, name="other")
        on_path(LANGUAGE_HOST, "true")
        ensure(other)
        assert source(other) == "PATH"


def test_a_cache_that_cannot_be_written_is_reported(home: Path, progress: Progress) -> None:
    (home / "cache").write_text("a file where a folder should be")
    with pytest.raises(SlipwayError) as caught:
        install(progress)
    assert caught.value.what == f"The toolchain cannot be written to {home}/cache and {home}/data"
    assert "cache" in caught.value.why
    assert "SLIPWAY_CACHE" in caught.value.next_step


def test_another_operating_system_is_refused(monkeypatch: pytest.MonkeyPatch, progress: Progress, home: Path) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(SlipwayError, match="is for Linux, and this is darwin"):
        install(progress)
    assert not (home / "cache").exists()


def test_a_cluster_of_ones_own_spares_the_parts_of_the_lab(
    make_part: MakePart, on_path: Put, monkeypatch: pytest.MonkeyPatch, progress: Progress
) -> None:
    on_path("tool", "echo tool v1.2.3")
    always, lab_only = make_part(), make_part(name="lab-only")
    monkeypatch.setattr(installation, "PROGRAMS", (always, lab_only))
    monkeypatch.setattr(installation, "PROVIDERS", ())
    monkeypatch.setattr(installation, "LAB_PARTS", (lab_only,))
    install(progress, for_lab=False)
    assert (source(always), source(lab_only)) == ("PATH", "")
    install(progress)
    assert source(lab_only) == "PATH"


def test_install_writes_what_a_shell_needs_and_shows_the_plugins_to_the_engine(
    make_part: MakePart, on_path: Put, home: Path, monkeypatch: pytest.MonkeyPatch, progress: Progress
) -> None:
    on_path("tool", "echo tool v1.2.3")
    provider = make_part(
        name="provider",
        executables=("pulumi-resource-tool",),
        question=None,
        build=None,
        fallback_module="lab.plugins.tool",
    )
    monkeypatch.setattr(installation, "PROGRAMS", (make_part(),))
    monkeypatch.setattr(installation, "PROVIDERS", (provider,))
    unfinished = home / "data/pulumi-home/plugins/resource-tool-v1.2.3.partial"
    unfinished.parent.mkdir(parents=True)
    unfinished.touch()
    old_log = home / "data/pulumi-home/logs/pulumi-0.log"
    old_log.parent.mkdir()
    old_log.touch()
    toolchain = install(progress)
    written = home / "data" / "toolchain.json"
    assert written.stat().st_mode & 0o777 == 0o600
    assert json.loads(written.read_text()) == {
        "PATH": [str(home / "cache/toolchain/pulumi-3.259.0/bin"), str(home / "cache/toolchain/buildkit-0.34.2/bin")],
        "PATH_BEHIND": [
            str(home / "cache/toolchain/kubectl-1.34.4/bin"),
            str(home / "cache/toolchain/crane-0.22.0/bin"),
        ],
        "PULUMI_HOME": str(home / "data/pulumi-home"),
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    assert toolchain.kube == home / "cache/toolchain/kubernetes-1.34.4/bin/kube"
    assert not unfinished.exists()
    assert (home / "data/pulumi-home/logs").is_file(), "the engine must not keep its own log"
    assert (plugin_folder(provider) / "pulumi-resource-tool").resolve() == bin_folder(provider) / "pulumi-resource-tool"
    assert not plugin_folder(provider).is_symlink(), "the engine ignores folders that are links"
