"""Each part is chosen in its order, is there as a whole or not at all, and is not touched again."""

from __future__ import annotations

from lab.toolchain import install as install_package  # noqa: F401 - kept apart from the module below
