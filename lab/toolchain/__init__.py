"""The pinned toolchain: `install` provides every part, `survey` checks them without changing anything."""

from lab.toolchain.debian import DEBIAN_TOOLS, DebianTool, install_debian_tools
from lab.toolchain.inspection import PartStatus, survey
from lab.toolchain.installation import install, install_lab_parts, install_part
from lab.toolchain.layout import Toolchain, installed

__all__ = [
    "DEBIAN_TOOLS",
    "DebianTool",
    "PartStatus",
    "Toolchain",
    "install",
    "install_debian_tools",
    "install_lab_parts",
    "install_part",
    "installed",
    "survey",
]
