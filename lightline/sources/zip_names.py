"""What the members of a zip archive are called, whichever program has written it."""

import struct
import zipfile
import zlib

_IS_UTF8 = 0x800  # the flag for it
_UNICODE_PATH = 0x7075  # Info-ZIP's extra field that says the name once more, in UTF-8
_MAKERS_WITH_BACKSLASHES = (0, 10, 14)  # MS-DOS, NTFS and VFAT, where no file's name can hold one


def name_of(info: zipfile.ZipInfo) -> tuple[str, bool]:
    """Read a member's name, its folders divided by slashes, and whether that is a guess.

    A name that is marked as UTF-8, or is valid UTF-8 without the mark (as macOS writes it), or stands in UTF-8 beside
    it, is that. Any other is read in code page 437, as the format says, and may have been meant otherwise.
    """
    stored = info.orig_filename.partition("\0")[0]
    name, is_guess = stored, False
    if not (stored.isascii() or info.flag_bits & _IS_UTF8):
        raw = stored.encode("cp437")  # as which zipfile has read it
        found = _unicode_path(info.extra, raw) or _decoded(raw)
        name, is_guess = found or stored, found is None
    if info.create_system in _MAKERS_WITH_BACKSLASHES:
        name = name.replace("\\", "/")
    return name, is_guess


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Read the name in the extra field, if there is one of this name: of version 1, with the checksum of the other."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        content, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and content[:5] == struct.pack("<BI", 1, zlib.crc32(raw)):
            return _decoded(content[5:])
    return None
