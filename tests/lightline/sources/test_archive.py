"""Archives of class folders: every kind gives what the folder gives, nothing is extracted, damage is told."""

import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from lightline.errors import DataError
from lightline.sources import open_source
from lightline.sources.base import SourceImage
from tests.support.archive_source import KINDS, contents, digest, refused, tar_with, zip_with
from tests.support.folder_source import params

NAMES = ["train/cat/1.png", "train/dog/1.png", "test/cat/2.png", "test/dog/old/3.png", ".DS_Store", "train/cat/._1.png"]


def test_an_archive_of_any_kind_gives_the_dataset_that_the_folder_gives(write, pack, repository):
    expected = digest(write(Path("raw"), NAMES))
    before = set(repository.rglob("*"))
    for kind in KINDS:
        archive = pack(Path("raw"), repository / "images.dat", kind)  # recognised without its name
        assert digest(archive) == expected, kind
        archive.unlink()
    assert set(repository.rglob("*")) == before


def test_a_folder_around_everything_changes_nothing(write, pack):
    write(Path("outer/raw"), NAMES)
    expected = digest("outer/raw")
    for kind in ("zip", "tar.gz"):
        assert digest(pack(Path("outer"), Path("images"), kind)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_images_stay_readable_after_the_archive_has_moved_on(write, pack, png, kind):
    write(Path("raw"), ["cat/1.png", "cat/2.png", "dog/1.png"])
    images = {image.id: image for image in contents(pack(Path("raw"), Path("images"), kind))}
    assert [images[name].read() for name in ("cat/1.png", "cat/2.png", "dog/1.png")] == [png(0), png(1), png(2)]


@pytest.mark.parametrize("name", ["/cat/9.png", "../cat/9.png", "cat/../../9.png"])
def test_names_that_lead_out_of_a_tar_are_refused(png, name):
    archive = tar_with(png, (tarfile.TarInfo(name), b"x"))
    assert refused(archive) == {name: "its name leads out of the archive"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(png, kind):
    info = tarfile.TarInfo("cat/link.png")
    info.type, info.linkname = kind, "cat/1.png"
    assert refused(tar_with(png, (info, b""))) == {"cat/link.png": "a link or device in the archive"}


def test_an_oversized_member_is_refused_unread(png):
    archive = tar_with(png, (tarfile.TarInfo("cat/film.avi"), bytes(2_000_000)))
    reason = "2000000 bytes are more than an image of data.max_pixels = 1000 can take"
    assert refused(archive) == {"cat/film.avi": reason}


def test_names_that_lead_out_of_a_zip_are_refused(png):
    archive = zip_with(png, zipfile.ZipInfo("../../cat/9.png"), b"x")
    assert refused(archive) == {"../../cat/9.png": "its name leads out of the archive"}


def test_links_in_a_zip_are_refused(png):
    info = zipfile.ZipInfo("cat/link.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert refused(zip_with(png, info, b"1.png")) == {"cat/link.png": "a link or device in the archive"}


def test_a_refused_member_beside_the_split_folders_changes_nothing_about_them(png):
    names = ["train/cat/1.png", "train/dog/2.png", "test/cat/3.png"]
    with zipfile.ZipFile("images.zip", "w") as file:
        for number, name in enumerate(names):
            file.writestr(name, png(number))
        link = zipfile.ZipInfo("latest/cat/1.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "../../train/cat/1.png")
    assert refused("images.zip") == {"latest/cat/1.png": "a link or device in the archive"}
    assert [image.id for image in contents("images.zip") if isinstance(image, SourceImage)] == names


def test_a_member_without_a_name_is_in_no_class_folder(png):
    archive = zip_with(png, zipfile.ZipInfo("x"), b"x")
    content = archive.read_bytes()
    entry = content.rindex(b"PK\x01\x02")
    nameless = content[entry : entry + 28] + b"\0\0\x01\0" + content[entry + 32 :]  # the name becomes an extra field
    archive.write_bytes(content[:entry] + nameless)
    assert refused(archive) == {"": "lies in no class folder"}


def test_a_zip_of_a_version_to_come_is_an_error(png):
    archive = zip_with(png, zipfile.ZipInfo("cat/9.png"), b"x")
    content = archive.read_bytes()
    entry = content.rindex(b"PK\x01\x02")
    archive.write_bytes(content[: entry + 6] + b"\xff" + content[entry + 7 :])
    with pytest.raises(DataError, match=r"is damaged or no zip.*: zip file version 25.5"):
        contents(archive)


def test_encrypted_members_are_refused(png):
    archive = zip_with(png, zipfile.ZipInfo("cat/9.png"), b"x")
    content = archive.read_bytes()
    entry = content.rindex(b"PK\x01\x02")
    archive.write_bytes(content[: entry + 8] + b"\x01" + content[entry + 9 :])
    assert refused(archive) == {"cat/9.png": "it is encrypted"}


def test_one_damaged_member_of_a_zip_does_not_lose_the_others(png):
    archive = zip_with(png, zipfile.ZipInfo("cat/9.png"), b"not what it was")
    archive.write_bytes(archive.read_bytes().replace(b"not what it was", b"not what it is!"))
    assert "damaged in the archive" in refused(archive)["cat/9.png"]
    assert len(contents(archive)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_archive_is_an_error(write, pack, kind):
    archive = pack(write(Path("raw"), [f"{c}/{n}.png" for c in "ab" for n in range(50)]), Path("images"), kind)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DataError, match=r"images is damaged or no zip, tar"):
        contents(archive)


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_a_changed_byte_in_an_archive_is_noticed(write, pack, kind):
    archive = pack(write(Path("raw"), [f"{c}/{n}.png" for c in "ab" for n in range(50)]), Path("images"), kind)
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes(content)
    try:
        problems = refused(archive)
    except DataError as error:
        problems = str(error)
    assert "damaged" in str(problems)


@pytest.mark.parametrize("cut", [False, True], ids=["damaged", "cut"])
def test_a_damaged_header_of_a_tar_is_not_its_end(write, pack, cut):
    archive = pack(write(Path("raw"), [f"{c}/{n}.png" for c in "ab" for n in range(5)]), Path("images"), "tar")
    content = bytearray(archive.read_bytes())
    with tarfile.open(archive) as members:
        begin = [info.offset for info in members if info.isfile()][5]
    content[begin] ^= 0xFF
    archive.write_bytes(content[: begin + 100] if cut else content)
    with pytest.raises(DataError, match=rf"images is damaged or no zip, tar.* at byte {begin}"):
        contents(archive)


def test_a_wrong_checksum_at_the_end_of_a_gzip_is_noticed(write, pack):
    archive = pack(write(Path("raw"), NAMES), Path("images"), "tar.gz")
    content = archive.read_bytes()
    archive.write_bytes(content[:-8] + b"\0\0\0\0" + content[-4:])
    with pytest.raises(DataError, match="CRC"):
        contents(archive)


@pytest.mark.parametrize("content", [b"", b"just text", b"\x1f\x8b\x08 no gzip", b"PK\x03\x04 no zip", bytes(2000)])
def test_a_file_that_is_no_archive_is_an_error(content):
    Path("images.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"images.zip (is damaged or no zip|has no class folders)"):
        contents("images.zip")


def test_the_identity_is_the_digest_and_a_given_one_must_match(write, pack):
    archive = pack(write(Path("raw"), NAMES), Path("images.zip"), "zip")
    found = open_source(params(archive)).identity()
    assert set(found) == {"source", "sha256"}
    assert open_source(params(archive, sha256=found["sha256"])).identity() == found
    with pytest.raises(DataError, match=f"has SHA-256 {found['sha256']}, but data.sha256 = {'0' * 64}"):
        open_source(params(archive, sha256="0" * 64)).identity()
