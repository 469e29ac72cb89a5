"""What the engine compresses of its files (PULUMI_DIY_BACKEND_GZIP, PULUMI_DIY_BACKEND_ZSTD), and how it is opened."""

from __future__ import annotations

import gzip
import zlib

COMPRESSIONS = ("", ".gz", ".zst")
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def decompressed(content: bytes) -> bytes:
    """Go by what the content is, as the engine does, not by the file's name; ValueError for what cannot be opened."""
    if content.startswith(GZIP_MAGIC):
        try:
            return gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(str(error)) from error
    if content.startswith(ZSTD_MAGIC):
        import zstandard  # noqa: PLC0415 -- seldom needed

        try:
            with zstandard.ZstdDecompressor().stream_reader(content) as reader:
                return reader.read()
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
    return content
