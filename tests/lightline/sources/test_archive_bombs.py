"""Archives made to take up the machine: refused by the name of the member, before anything unfolds."""

import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from lightline.errors import DataError
from lightline.sources import archive as archive_module
from tests.support.archive_source import KINDS, contents, refused, tar_with, zip_with


@pytest.fixture
def _tight_limits(monkeypatch):
    """What is refused from 256 MiB on, from 2 MB on; else making the bombs would take long."""
    monkeypatch.setattr(archive_module, "_ALWAYS_ALLOWED", 2_000_000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("_tight_limits")
def test_a_bomb_is_refused_by_the_name_of_its_member_before_it_unfolds(write, pack, kind, monkeypatch):
    write(Path("raw"), ["cat/1.png", "dog/1.png"])
    write(Path("raw"), {f"dog/bomb{number}.png": bytes(900_000) for number in range(4)})
    bomb = pack(Path("raw"), Path("bomb"), kind)
    if kind == "tar":  # which is as large as what it holds
        assert len(contents(bomb)) == 6
        return
    assert bomb.stat().st_size < 20_000
    monkeypatch.setattr(archive_module, "_read_zip", lambda *_: pytest.fail("unfolded"))
    monkeypatch.setattr(archive_module, "_read_tar", lambda *_: pytest.fail("unfolded"))
    with pytest.raises(DataError, match=r"unfolds to more than \d+ at its member '(\./)?dog/bomb\d.png', 200 times"):
        contents(bomb)


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_members_are_refused_by_the_name_of_the_first_too_many(write, pack, kind, monkeypatch):
    monkeypatch.setattr(archive_module, "_MAX_MEMBERS", 3)
    archive = pack(write(Path("raw"), [f"{c}/{n}.png" for c in "ab" for n in range(4)]), Path("images"), kind)
    with pytest.raises(DataError, match=r"images has more than 3 members; '(\./)?[ab]/\d.png' is the first too many"):
        contents(archive)


def test_a_list_of_members_without_end_is_not_read_into_memory(write, pack, monkeypatch):
    archive = pack(write(Path("raw"), [f"{c}/{n}.png" for c in "ab" for n in range(40)]), Path("images"), "zip")
    monkeypatch.setattr(archive_module, "_MAX_DIRECTORY", 2000)
    with pytest.raises(DataError, match=r"images has a list of members of \d+ bytes, more than 2000"):
        contents(archive)


def test_a_zip_member_that_is_larger_than_it_says_is_read_no_further(png):
    info = zipfile.ZipInfo("cat/9.png")
    info.compress_type = zipfile.ZIP_DEFLATED
    archive = zip_with(png, info, bytes(100_000_000))
    content = archive.read_bytes()
    archive.write_bytes(content.replace(struct.pack("<I", 100_000_000), struct.pack("<I", 1000)))
    tracemalloc.start()
    try:
        assert "damaged in the archive" in refused(archive)["cat/9.png"]
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_members_that_python_would_unfold_without_limit_are_refused(png, method):
    info = zipfile.ZipInfo("cat/9.png")
    info.compress_type = method
    assert "pack the archive with deflate" in refused(zip_with(png, info, png(2)))["cat/9.png"]


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
def test_a_header_of_a_tar_that_would_fill_memory_is_refused(png, kind):
    info = tarfile.TarInfo("cat/9.png")
    info.type = kind
    with pytest.raises(DataError, match=r"entry 'cat/9.png' says that its header has 3000000 bytes, which cannot be"):
        contents(tar_with(png, (info, bytes(3_000_000))))


def test_a_negative_size_in_a_tar_is_refused(png):
    archive = tar_with(png, (tarfile.TarInfo("cat/9.png"), b"x" * 512))
    content = bytearray(archive.read_bytes())
    start = content.rindex(b"cat/9.png")
    content[start + 124 : start + 136] = b"\xff" * 10 + struct.pack(">h", -512)
    content[start + 148 : start + 156] = b"%06o\0 " % (
        sum(content[start : start + 148]) + 8 * 32 + sum(content[start + 156 : start + 512])
    )
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"cat/9.png.* says that its content has -512 bytes|is damaged"):
        contents(archive)


def test_a_file_with_holes_in_a_tar_is_refused(png):
    info = tarfile.TarInfo("cat/9.png")
    info.type = tarfile.GNUTYPE_SPARSE
    archive = tar_with(png, (info, b""))
    assert refused(archive) == {"cat/9.png": "a file with holes in the archive; pack it without --sparse"}
