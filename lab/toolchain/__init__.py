"""The pinned toolchain: `install` has every part ready, `survey` looks without touching anything."""

from lab.toolchain.install import install
from lab.toolchain.layout import Toolchain, installed

__all__ = ["Toolchain", "install", "installed"]
