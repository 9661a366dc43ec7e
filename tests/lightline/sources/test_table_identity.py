"""What changes a table's identity, and what does not."""

from pathlib import Path

import pytest

from tests.support.tables import IMAGES, listed, source, write_table


@pytest.fixture
def folder(write) -> Path:
    return write(Path("set"), IMAGES)


def test_a_change_of_the_table_or_of_an_image_changes_the_identity(folder, write):
    frame = {"path": [*IMAGES, "images/later.png"], "label": list("abab")}
    write_table(folder / "table.csv", frame)
    found = [source().identity()]
    assert source().identity() == found[0]
    write(folder, {"images/2.png": b"another"})
    found.append(source().identity())
    write(folder, {"images/later.png": b"now there"})
    found.append(source().identity())
    write_table(folder / "table.csv", frame | {"label": list("abba")})
    found.append(source().identity())
    write(folder, {"images/unlisted.png": b"does not count"})
    assert source().identity() == found[-1]
    assert len({str(identity) for identity in found}) == 4


@pytest.mark.parametrize("is_tracked", [False, True])
def test_a_copy_of_the_repository_finds_the_users_images(folder, repository, tmp_path, monkeypatch, write, is_tracked):
    write_table(folder / "table.csv", {"path": IMAGES, "label": list("aba")})
    identity = source().identity()
    clone = tmp_path / "clone"
    clone.mkdir()
    if is_tracked:
        write(clone, {"set/table.csv": (folder / "table.csv").read_bytes()})
    monkeypatch.chdir(clone)
    monkeypatch.setenv("LIGHTLINE_ORIGIN", str(repository))
    assert source().identity() == identity
    assert len(listed(source())) == 3
