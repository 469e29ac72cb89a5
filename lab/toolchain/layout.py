"""Where each installed part is, for the lab, the shell and the Pulumi engine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.toolchain.files import link_atomically, pulumi_home, toolchain_home
from lab.toolchain.parts import BUILDKIT, COREDNS, CRANE, KUBECTL, KUBERNETES, PULUMI, Part


@dataclass(frozen=True)
class Toolchain:
    """Paths of the installed executables. `kube` takes the component (`kubelet`, ...) as its first argument."""

    pulumi: Path
    kube: Path
    kubectl: Path
    crane: Path
    buildkitd: Path
    buildctl: Path
    coredns: Path
    pulumi_home: Path

    def environment(self) -> dict[str, str | list[str]]:
        """The content of `toolchain.json`: variables of a shell, and folders for its PATH, in front and behind."""
        return {
            "PATH": [str(self.pulumi.parent), str(self.buildctl.parent)],
            # Any version will do: behind, it is there for users without one, and hides no other.
            "PATH_BEHIND": [str(self.kubectl.parent), str(self.crane.parent)],
            "PULUMI_HOME": str(self.pulumi_home),
            # Plugins on PATH are linked into PULUMI_HOME if their version is right. The engine would take any other
            # version from PATH too, with only a warning.
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
            # The version is pinned: the check for a newer one is useless, and costs time at every command.
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }


def installed() -> Toolchain:
    """Where the parts are once they are installed; changes nothing."""
    buildkit = bin_folder(BUILDKIT)
    return Toolchain(
        pulumi=bin_folder(PULUMI) / "pulumi",
        kube=bin_folder(KUBERNETES) / KUBERNETES.multicall,
        kubectl=bin_folder(KUBECTL) / "kubectl",
        crane=bin_folder(CRANE) / "crane",
        buildkitd=buildkit / "buildkitd",
        buildctl=buildkit / "buildctl",
        coredns=bin_folder(COREDNS) / "coredns",
        pulumi_home=pulumi_home(),
    )


def part_folder(part: Part) -> Path:
    """The part's folder in the cache: its stamp, and `bin` with its executables."""
    return toolchain_home() / part.folder_name


def bin_folder(part: Part) -> Path:
    return part_folder(part) / "bin"


def plugin_folder(part: Part) -> Path:
    """Where the engine looks for a resource plugin of exactly this version."""
    name = part.executables[0].removeprefix("pulumi-resource-")
    return pulumi_home() / "plugins" / f"resource-{name}-v{part.version}"


def turn_off_engine_log() -> None:
    """Put a file where the engine would make the folder of its own log; it runs without one.

    Otherwise each run logs everything there, encrypted and for the engine's makers alone: 40 % of its processor time,
    and half a gigabyte after a day of tests. No setting turns it off; the messages of an update are in our own log.
    """
    logs = pulumi_home() / "logs"
    if logs.is_dir():
        shutil.rmtree(logs)
    logs.parent.mkdir(parents=True, exist_ok=True)
    logs.touch()


def show_to_engine(part: Part) -> None:
    """Put a link to the plugin into a folder of PULUMI_HOME (a real folder: the engine ignores links to folders)."""
    folder = plugin_folder(part)
    executable = part.executables[0]
    link_atomically(folder / executable, bin_folder(part) / executable)
    # Left by an interrupted `pulumi plugin install`; the engine skips a folder with this mark.
    folder.with_name(f"{folder.name}.partial").unlink(missing_ok=True)
