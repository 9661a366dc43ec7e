"""Archives of every kind."""

import bz2
import gzip
import lzma

import zstandard


def compressed(content: bytes, kind: str) -> bytes:
    """The content as a file of one of the kinds that archives come in."""
    by_kind = {
        "tar": bytes,
        "tar.gz": gzip.compress,
        "tar.bz2": bz2.compress,
        "tar.xz": lzma.compress,
        "tar.zst": zstandard.compress,
    }
    return by_kind[kind](content)
