"""Hard links in a tar archive, as one of a folder without duplicates has them: other names of the same images."""

import io
import tarfile
from pathlib import Path

import pytest

from lightline.errors import DataError
from lightline.sources import archive as archive_module
from lightline.sources.base import SourceImage
from tests.support.archive_source import KINDS, contents, refused
from tests.support.archives import compressed


def tar(png, *links: tuple[str, str], prefix="", kind="tar") -> Path:
    """An archive of cat/1.png, dog/1.png and .trash/1.png, and of links: (name, name of the member before it)."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as file:
        for number, name in enumerate(["cat/1.png", "dog/1.png", ".trash/1.png"]):
            info = tarfile.TarInfo(prefix + name)
            info.size = len(png(number))
            file.addfile(info, io.BytesIO(png(number)))
        for name, target in links:
            info = tarfile.TarInfo(prefix + name)
            info.type, info.linkname = tarfile.LNKTYPE, target
            file.addfile(info)
    Path("images").write_bytes(compressed(plain.getvalue(), kind))
    return Path("images")


def read(archive: Path) -> dict[str, bytes]:
    return {image.id: image.read() for image in contents(archive) if isinstance(image, SourceImage)}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "zip"])
@pytest.mark.parametrize("prefix", ["", "./", "photos/"])
def test_a_hard_link_is_its_members_image_under_another_name(png, kind, prefix):
    links = [
        ("dog/2.png", f"{prefix}cat/1.png"),
        ("owl/1.png", f"{prefix}dog/2.png"),
    ]  # a link to a link, a class of links
    archive = tar(png, *links, prefix=prefix, kind=kind)
    assert read(archive) == {"cat/1.png": png(0), "dog/1.png": png(1), "dog/2.png": png(0), "owl/1.png": png(0)}
    assert refused(archive) == {}


def test_a_member_that_is_passed_over_still_gives_its_links_their_content(png):
    assert read(tar(png, ("dog/2.png", ".trash/1.png")))["dog/2.png"] == png(2)


@pytest.mark.parametrize("target", ["cat/9.png", "../../etc/passwd", "/etc/passwd", "dog/2.png"])
def test_a_hard_link_to_what_is_not_before_it_in_the_archive_is_refused(png, target):
    archive = tar(png, ("dog/2.png", target))
    assert refused(archive) == {"dog/2.png": "a hard link to nothing before it in the archive"}
    assert len(read(archive)) == 2


def test_a_hard_link_whose_own_name_leads_out_is_refused(png):
    assert refused(tar(png, ("../dog/2.png", "cat/1.png"))) == {"../dog/2.png": "its name leads out of the archive"}


def test_what_hard_links_unfold_to_counts(png, monkeypatch):
    monkeypatch.setattr(archive_module, "_ALWAYS_ALLOWED", 1000)
    monkeypatch.setattr(archive_module, "_MAX_RATIO", 1)
    archive = tar(png, *[(f"dog/{number}.png", "cat/1.png") for number in range(2, 200)], kind="tar.gz")
    with pytest.raises(DataError, match=r"unfolds to more than \d+ at its member 'dog/\d+.png'"):
        contents(archive)
