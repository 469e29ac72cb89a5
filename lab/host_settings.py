"""Kernel settings that the lab and its kubelet change, saved so that `down` can restore them."""

from __future__ import annotations

from pathlib import Path

from .files import read_json_object, write_json
from .proc import boot_id
from .settings import LabSettings

_ROOT = Path("/proc/sys")
# The lab sets the first; the kubelet sets the others at its start.
CHANGED = (
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def _memory(settings: LabSettings) -> Path:
    return settings.home / "host-settings.json"


def remember(settings: LabSettings, root: Path = _ROOT) -> None:
    """Save the values from before the lab, once per boot, because a second read would return the lab's own."""
    known = read_json_object(_memory(settings))
    if known and known.get("boot_id") == boot_id():
        return
    values = {name: (root / name).read_text().strip() for name in CHANGED if (root / name).exists()}
    write_json(_memory(settings), {"boot_id": boot_id(), "values": values})


def restore(settings: LabSettings, root: Path = _ROOT) -> None:
    known = read_json_object(_memory(settings))
    if known and known.get("boot_id") == boot_id():
        for name, value in known["values"].items():
            if (root / name).read_text().strip() != value:
                (root / name).write_text(value)
    _memory(settings).unlink(missing_ok=True)
