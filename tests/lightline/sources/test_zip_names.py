"""Names in zip archives, whichever program and system they come from: those of the folder that was packed."""

import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path

import pytest

from lightline.sources.base import Remark
from tests.support.archive_source import contents, digest, refused

UMLAUT = "Übung"
DECOMPOSED = unicodedata.normalize("NFD", UMLAUT)
MS_DOS, UNIX = 0, 3


class Entry(zipfile.ZipInfo):
    """A member whose name is stored as it is given, without the mark of UTF-8."""

    stored = b""

    def _encodeFilenameFlags(self):  # noqa: N802 - zipfile's own
        return self.stored, self.flag_bits & ~0x800


def packed(png, names: list[bytes], system=UNIX, extra=b"") -> Path:
    with zipfile.ZipFile("images.zip", "w") as file:
        for number, name in enumerate(names):
            entry = Entry(f"{number}")
            entry.stored, entry.create_system, entry.extra = name, system, extra
            file.writestr(entry, png(number))
    return Path("images.zip")


def classes(archive: Path) -> set[str]:
    return {image.class_name for image in contents(archive) if not isinstance(image, Remark)}


def remarks(archive: Path) -> list[str]:
    return [image.text for image in contents(archive) if isinstance(image, Remark)]


def unicode_path(stored: bytes, name: str, checksum: int | None = None) -> bytes:
    content = struct.pack("<BI", 1, zlib.crc32(stored) if checksum is None else checksum) + name.encode()
    return struct.pack("<HH", 0x5455, 5) + bytes(5) + struct.pack("<HH", 0x7075, len(content)) + content


def test_names_as_macos_packs_them_are_the_folders(write, png):
    names = [f"photos/{DECOMPOSED}/1.png", "photos/naïve/1.png"]
    expected = digest(write(Path("folder"), [name.removeprefix("photos/") for name in names]))
    resources = ["photos/.DS_Store", f"__MACOSX/photos/._{DECOMPOSED}", "__MACOSX/photos/naïve/._1.png"]
    archive = packed(png, [name.encode() for name in names + resources])
    assert classes(archive) == {UMLAUT, "naïve"}
    assert digest(archive) == expected
    assert (remarks(archive), refused(archive)) == ([], {})


def test_names_in_the_formats_own_code_page_are_read_as_such_and_told(png):
    names = [f"{UMLAUT}/1.png".encode("cp437"), b"dog/1.png", "naïve/1.png".encode()]  # the last is UTF-8
    archive = packed(png, names)
    assert classes(archive) == {UMLAUT, "dog", "naïve"}
    (remark,) = remarks(archive)
    assert remark.startswith(
        f"1 names in images.zip are not in UTF-8 and were read in code page 437, as zip says: '{UMLAUT}/"
    )


def test_names_in_an_encoding_that_the_archive_does_not_tell_are_usable_and_told(png):
    archive = packed(png, ["猫/1.png".encode("shift_jis"), "犬/1.png".encode("shift_jis")])
    assert classes(archive) == {"猫".encode("shift_jis").decode("cp437"), "犬".encode("shift_jis").decode("cp437")}
    assert remarks(archive)[0].startswith("2 names in images.zip are not in UTF-8")


@pytest.mark.parametrize(("checksum", "expected", "told"), [(None, "猫", 0), (1, "ö", 1)])
def test_the_name_in_the_extra_field_counts_where_it_is_of_this_name(png, checksum, expected, told):
    stored = "ö/1.png".encode("cp437")
    archive = packed(png, [stored, b"dog/1.png"], extra=unicode_path(stored, "猫/1.png", checksum))
    assert classes(archive) == {expected, "dog"}
    assert len(remarks(archive)) == told


def test_folders_are_divided_as_windows_does_it_where_the_archive_is_from_there(png):
    assert classes(packed(png, [b"photos\\cat\\1.png", b"photos\\dog\\1.png"], MS_DOS)) == {"cat", "dog"}
    assert refused(packed(png, [b"a/1.png", b"b/1.png", b"..\\..\\x.png"], MS_DOS)) == {
        "../../x.png": "its name leads out of the archive"
    }
    assert classes(packed(png, [b"a\\b/1.png", b"c/1.png"], UNIX)) == {"a\\b", "c"}
