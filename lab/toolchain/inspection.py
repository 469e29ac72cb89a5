"""Checks every part of the toolchain without changing anything: where it is, its version, what to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata

from lab.toolchain.debian import DEBIAN_TOOLS, DebianTool
from lab.toolchain.go import find_go, pinned_version, wanted_version
from lab.toolchain.installation import changed_files, is_current, read_stamp
from lab.toolchain.layout import bin_folder, is_launcher, part_folder, plugin_folder
from lab.toolchain.parts import LAB_PARTS, LANGUAGE_HOST, PROGRAMS, PROVIDERS, PULUMI, Part
from lab.toolchain.versions import (
    ask_executable,
    ask_plugin,
    find_nearby,
    nearby_executables,
    reported_version,
    version_in,
    why_unusable,
    will_do,
)

INSTALL = "`make up` installs it"
_DOES_NOT_START = "does not start: run it with the argument 127.0.0.1:1 to see why"


@dataclass(frozen=True)
class PartStatus:
    """One line of the survey. `ok` means that nothing must be done; `to_do` may still have a remark.

    `for_lab` marks parts that users with their own cluster and registry do not need.
    """

    name: str
    wanted: str
    version: str
    where: str
    source: str
    ok: bool
    to_do: str = ""
    for_lab: bool = False


def survey() -> list[PartStatus]:
    """The status of every part, by hashes and version; takes a few seconds, installs nothing."""
    parts = [replace(_part_status(part), for_lab=part in LAB_PARTS) for part in (*PROGRAMS, *PROVIDERS)]
    everything_there = all(status.ok for status in parts)
    return [
        *parts,
        _language_host_status(),
        _go_status(needed=not everything_there),
        *(_debian_status(tool) for tool in DEBIAN_TOOLS),
    ]


def _part_status(part: Part) -> PartStatus:
    stamp = read_stamp(part_folder(part))
    if stamp is None:
        return _not_installed(part)
    required = _wanted(part)
    if not is_current(part, stamp, thorough=True):
        folder = part_folder(part)
        changed = ", ".join(changed_files(folder, stamp, thorough=True)) or "its source"
        to_do = f"{changed} changed since it was installed; `make up` installs it again"
        return PartStatus(part.title, required, stamp.version, str(folder), stamp.source, ok=False, to_do=to_do)
    executable = bin_folder(part) / part.executables[0]
    where = str(executable.resolve() if stamp.source == "PATH" else executable)
    link = plugin_folder(part) / part.executables[0]
    linked = part.question is not None or link.exists()
    if part.question is None and linked and not link.samefile(executable):  # the engine runs this one
        executable, where = link, str(link)
    version = reported_version(part, executable)
    right = version == part.version or (part.any_version and stamp.source == "PATH" and will_do(part, executable))
    sdk = sdk_version(part)
    if not right:
        to_do = _another_version(version, required) if version else _DOES_NOT_START
    elif not linked:
        to_do = "`make up` links it into PULUMI_HOME"
    elif sdk not in ("", part.version):
        to_do = (
            f"the program's SDK is {sdk} and asks for a plugin of that version, not {part.version}; "
            f"`.venv/bin/pip install {_sdk_name(part)}=={part.version}` installs the one that goes with it"
        )
    else:
        to_do = ""
    return PartStatus(part.title, required, version, where, stamp.source, ok=not to_do, to_do=to_do)


def sdk_version(part: Part) -> str:
    """The version of the Python SDK through which the program asks for the plugin; empty if it has none."""
    try:
        return metadata.version(_sdk_name(part)) if part.question is None else ""
    except metadata.PackageNotFoundError:
        return ""


def _sdk_name(part: Part) -> str:
    return part.executables[0].replace("pulumi-resource-", "pulumi-", 1)


def _another_version(version: str, required: str) -> str:
    return f"it is {version}, and {required} is required; {INSTALL}"


def _wanted(part: Part) -> str:
    return "any" if part.any_version else part.version


def _not_installed(part: Part) -> PartStatus:
    found = nearby_executables(part)
    if not found:
        return PartStatus(part.title, _wanted(part), "", "", "", ok=False, to_do=INSTALL)
    path = next(iter(found.values()))
    version = reported_version(part, path)
    unusable = why_unusable(part, found)
    to_do = f"{unusable}; {INSTALL}" if unusable else "`make up` will use it"
    return PartStatus(part.title, _wanted(part), version, str(path), "PATH", ok=not unusable, to_do=to_do)


def _language_host_status() -> PartStatus:
    title = "Python language host"
    engine = bin_folder(PULUMI) / "pulumi"
    if not engine.exists():
        engine = find_nearby(PULUMI).get("pulumi", engine)
    host = engine.resolve().parent / LANGUAGE_HOST
    if not host.exists():
        return PartStatus(title, PULUMI.version, "", "", "", ok=False, to_do=INSTALL)
    version = ask_plugin(host)
    source = "fallback" if is_launcher(host) else "beside the engine"
    wrong = _another_version(version, PULUMI.version) if version else f"see why {host} does not start"
    ok = version == PULUMI.version
    return PartStatus(title, PULUMI.version, version, str(host), source, ok, "" if ok else wrong)


def _go_status(*, needed: bool) -> PartStatus:
    required = f">= {'.'.join(map(str, wanted_version()))}"
    if go := find_go():
        return PartStatus("Go", required, ".".join(map(str, go.version)), str(go.executable), "", ok=True)
    to_do = f"`make up` installs Go {pinned_version()}" if needed else "not needed while its builds are installed"
    return PartStatus("Go", required, "", "", "", ok=not needed, to_do=to_do)


def _debian_status(tool: DebianTool) -> PartStatus:
    found = tool.find()
    if not found:
        to_do = f"`make up` installs it (apt-get install {tool.package})"
        return PartStatus(tool.package, "any", "", "", "", ok=False, to_do=to_do, for_lab=True)
    version = version_in(ask_executable(found[0], tool.version_arguments)) if tool.version_arguments else ""
    return PartStatus(tool.package, "any", version, str(found[0]), "", ok=True, for_lab=True)
