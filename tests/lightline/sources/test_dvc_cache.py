"""Images that `dvc add` has put into its cache: links there are data, links elsewhere are not, in a real repository."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.folder_source import NAMES, found, refused, source

OUTSIDE = "a symbolic link that leads out of the folder; put there what it leads to"


@pytest.fixture
def dvc(repository):
    """Run DVC in the repository, whose files git ignores as this project's."""
    shutil.copy(ROOT / ".gitignore", repository)

    def run(*command: str) -> None:
        subprocess.run(("dvc", *command), check=True, capture_output=True, cwd=repository)

    subprocess.run(("git", "init", "--quiet"), check=True)
    run("init", "--quiet")
    run("config", "cache.type", "symlink")
    return run


def ignored(*paths: str) -> list[str]:
    """Those of the paths that git ignores."""
    return subprocess.run(("git", "check-ignore", *paths), capture_output=True, text=True, check=False).stdout.split()


def test_the_default_path_can_be_given_to_dvc_and_its_links_are_data(dvc, write, png, tmp_path):
    write(Path("data/raw"), NAMES)
    write(tmp_path / "elsewhere", ["secret.png"])
    expected = source("data/raw").identity()
    dvc("add", "data/raw")
    assert Path("data/raw/cat/1.png").is_symlink()
    assert ignored("data/raw", "data/raw.dvc", "data/dataset", "data/splits.parquet") == [
        *("data/raw", "data/dataset", "data/splits.parquet")
    ]
    assert source("data/raw").identity() == expected
    assert [image.id for image in found("data/raw")] == NAMES
    assert found("data/raw")[0].read() == png(0)
    Path("data/raw/cat/out.png").symlink_to(tmp_path / "elsewhere/secret.png")
    Path("data/raw/cat/config.png").symlink_to(Path(".dvc/config").absolute())
    Path("data/raw/cat/cache").symlink_to(Path(".dvc/cache").absolute())
    assert refused("data/raw") == dict.fromkeys(["cat/cache", "cat/config.png", "cat/out.png"], OUTSIDE)
    assert len(found("data/raw")) == 4


def test_a_cache_elsewhere_counts_as_the_repository_says_and_what_it_lacks_is_told(dvc, write, tmp_path):
    dvc("cache", "dir", str(tmp_path / "shared"))
    write(Path("photos"), NAMES)
    dvc("add", "photos")
    target = Path("photos/cat/1.png").readlink()
    assert target.is_relative_to(tmp_path / "shared")
    assert len(found("photos")) == 4
    target.unlink()
    assert refused("photos") == {"cat/1.png": "a symbolic link to what DVC's cache lacks; `dvc pull` may bring it"}


def test_links_into_the_cache_of_another_repository_are_refused(dvc, write, tmp_path, monkeypatch):
    write(Path("photos"), NAMES)
    dvc("add", "photos")
    write(tmp_path / "foreign", NAMES)
    (tmp_path / "foreign/cat/out.png").symlink_to(Path("photos/cat/1.png").readlink())
    assert refused(tmp_path / "foreign") == {}  # the repository that runs
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert refused(tmp_path / "foreign") == {"cat/out.png": OUTSIDE}
