"""The state of a stack in a folder, however the engine has packed it."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from slipway.backend.self_managed import FileBackend
from slipway.errors import SlipwayError

PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("", bytes),
    (".gz", gzip.compress),
    (".zst", lambda content: zstandard.ZstdCompressor().compress(content)),
]


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    folder = tmp_path / ".pulumi" / "stacks" / "slipway"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(("suffix", "pack"), PACKED, ids=["plain", "gzip", "zstandard"])
def test_a_state_is_read_however_it_is_packed(
    tmp_path: Path, stacks: Path, *, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    (stacks / f"dev.json{suffix}").write_bytes(pack(json.dumps({"version": 3}).encode()))
    assert FileBackend(tmp_path, "slipway").state("dev") == {"version": 3}
    assert FileBackend(tmp_path, "slipway").state("prod") is None


def test_the_newest_of_the_states_is_read(tmp_path: Path, stacks: Path) -> None:
    for age, (suffix, pack) in enumerate(PACKED):
        file = stacks / f"dev.json{suffix}"
        file.write_bytes(pack(json.dumps({"age": age}).encode()))
        os.utime(file, (100 - age, 100 - age))
    assert FileBackend(tmp_path, "slipway").state("dev") == {"age": 0}


@pytest.mark.parametrize(("suffix", "pack"), PACKED, ids=["plain", "gzip", "zstandard"])
def test_a_torn_state_is_named(tmp_path: Path, stacks: Path, *, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    content = pack(json.dumps({"version": list(range(99))}).encode())
    (stacks / f"dev.json{suffix}").write_bytes(content[: len(content) // 2])
    with pytest.raises(SlipwayError, match=f"dev.json{suffix}"):
        FileBackend(tmp_path, "slipway").state("dev")


@pytest.mark.lab
@pytest.mark.thorough  # test_engine.py has what the engine compresses read
def test_a_compressed_backend_is_updated_again(scratch: Any) -> None:
    for _ in range(2):
        result = scratch("up", "-s", "dev", "--yes", PULUMI_DIY_BACKEND_GZIP="true")
        assert result.returncode == 0, result.stderr
