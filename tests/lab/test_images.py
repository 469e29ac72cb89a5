"""Layers are the same bytes for the same content, and say the digests that a registry will compute."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from io import BytesIO
from pathlib import Path

from lab.images import Entry, archive_of, compress_layer

ENTRIES = [
    Entry("/usr/local/bin/python", link="/usr/bin/python3"),
    Entry("etc/pip.conf", b"[global]\n"),
    Entry("pause", b"\x7fELF", mode=0o755),
]


def test_digests_are_of_what_they_say(tmp_path: Path) -> None:
    archive = archive_of(ENTRIES)
    layer = compress_layer(archive, tmp_path / "layer.tar.gz")
    packed = layer.path.read_bytes()
    assert layer.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert layer.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(packed)).hexdigest()}"
    assert gzip.decompress(packed) == archive.getvalue()


def test_the_same_content_makes_the_same_bytes(tmp_path: Path) -> None:
    first = compress_layer(archive_of(ENTRIES), tmp_path / "first")
    second = compress_layer(archive_of(ENTRIES), tmp_path / "second")
    assert first.path.read_bytes() == second.path.read_bytes()


def test_an_archive_holds_the_requested_files_and_links() -> None:
    with tarfile.open(fileobj=BytesIO(archive_of(ENTRIES).getvalue())) as tar:
        members = {member.name: member for member in tar}
        content = tar.extractfile("etc/pip.conf")
        assert content is not None
        assert content.read() == b"[global]\n"
    assert members["usr/local/bin/python"].issym()
    assert members["usr/local/bin/python"].linkname == "/usr/bin/python3"
    assert {name for name, member in members.items() if member.isdir()} == {"etc", "usr", "usr/local", "usr/local/bin"}
    assert members["usr/local"].mode == 0o755
    assert (members["pause"].mode, members["etc/pip.conf"].mode) == (0o755, 0o644)
