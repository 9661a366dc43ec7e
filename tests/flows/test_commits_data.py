"""A run of a commit trains on the commit's data, whatever lies uncommitted beside it; what it records is those."""

import asyncio
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.errors import RequestError
from flows.workspace import Request, open_workspace
from lightline.sources.folder import Folder
from tests.support.photo_folder import make_folder
from tests.support.project import Project, copy_project
from tests.support.serving import Server

FOLDERS = ("in_git", "added", "untracked", "store/inside", "parts", "../outside")
# Of archives that nobody opens here; one may be taken for weights, which begin as a pickle does.
COMMITTED, CHANGED = b"\x80committed", b"\x80changed"
ZIPS = ("in_git.zip", "added.zip", "store/inside.zip", "untracked.zip", "../outside.zip")


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Photos of three classes, kept in every way that there is."""
    project = copy_project(tmp_path_factory.mktemp("commits-data") / "project")
    (project.path / ".git/info/exclude").write_text("/untracked*\n")
    for name in FOLDERS:
        make_folder(project.path / name, per_class=2)
    for name in ZIPS:
        (project.path / name).write_bytes(COMMITTED)
    parts = sorted(str(path.relative_to(project.path)) for path in project.path.glob("parts/*"))
    project.run("dvc", "add", "added", "added.zip", "store", *parts)
    project.commit("photos")
    return project


@pytest.fixture(scope="module")
def project(committed: Project) -> Project:
    """The same with a fourth class in each folder and other archives, which nobody has committed."""
    for name in FOLDERS:
        shutil.copytree(committed.path / name / "red", committed.path / name / "violet")
    for name in ZIPS:
        (committed.path / name).write_bytes(CHANGED)
    return committed


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What the source stage writes of a folder with these classes, or of an archive."""
    monkeypatch.chdir(tmp_path)

    def of(name: str, is_changed: bool) -> str:
        if name.endswith(".zip"):
            return hashlib.sha256(CHANGED if is_changed else COMMITTED).hexdigest()
        make_folder(tmp_path / "expected", per_class=2)
        if is_changed:
            shutil.copytree(tmp_path / "expected/red", tmp_path / "expected/violet")
        return Folder(tmp_path / "expected", 10**8, "auto").identity()["sha256"]

    return of


def _source(
    project: Project, *overrides: str, rev: str = "HEAD", target: str = "source", written: str = "source"
) -> dict[str, Any]:
    """data/source.json in the flow's clone, or another that is `written` there, after a stage."""

    async def run() -> dict[str, Any]:
        request = Request(list(overrides), str(project.path), rev, targets=[target])
        async with open_workspace(request, lambda line: None) as workspace:
            for _, stages in workspace.steps:
                await workspace.reproduce(stages, lambda line: None)
            if target != "source":
                await workspace.save([target])
            return json.loads((workspace.folder / f"data/{written}.json").read_text())

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "is_changed"),
    [
        ("in_git", False),
        ("in_git.zip", False),
        ("added", False),
        ("added.zip", False),
        ("store/inside", False),
        ("store/inside.zip", False),
        ("parts", False),
        ("{project}/in_git", False),
        ("{project}/added", False),
        # No part of any commit: what is there is trained on, and its digest is recorded.
        ("untracked", True),
        ("untracked.zip", True),
        ("{project}/../outside", True),
        ("../outside.zip", True),
    ],
)
def test_a_folder_or_an_archive(project: Project, digest, path: str, is_changed: bool):
    written = _source(project, "data=folder", f'data.path="{path.format(project=project.path)}"')
    assert written["sha256"] == digest(path, is_changed)


@pytest.mark.parametrize(("path", "is_changed"), [("in_git.zip", False), ("added.zip", False), ("untracked.zip", True)])
def test_a_file_of_weights(project: Project, digest, path: str, is_changed: bool):
    written = _source(project, f"model.weights={path}", written="weights")
    assert written["sha256"] == digest(path, is_changed)


@pytest.mark.parametrize(
    ("path", "changed"),
    [("added", ["added"]), ("added.zip", ["added.zip"]), ("store/inside", ["store"]), ("parts", []), ("in_git", [])],
)
def test_what_dvc_tracks_and_nobody_has_added_is_told(project: Project, path: str, changed: list[str]):
    """Of the folder `parts`, what DVC tracks is as it was, and git knows the rest."""

    async def run() -> list[str]:
        request = Request(["data=folder", f"data.path={path}"], str(project.path), targets=["source"])
        async with open_workspace(request, lambda line: None) as workspace:
            read, unread = workspace.uncommitted()
            assert read == []
            return unread

    unread = asyncio.run(run())
    assert [line for line in unread if "dvc add" in line] == [
        f" M {name} (`dvc add` and a commit take it)" for name in changed
    ]
    assert "?? parts/violet/" in unread


def test_an_archive_behind_a_url(project: Project, served: Server):
    sha256 = hashlib.sha256(served.answers[0][1] or b"").hexdigest()
    fetch = ["data.fetch.allow_http=true", "data.fetch.allow_private=true", f"data.sha256={sha256}"]
    assert _source(project, "data=folder", f'data.path="{served.url}/x.zip"', *fetch)["sha256"] == sha256


@pytest.mark.parametrize("is_absolute", [False, True])
def test_a_table_of_images_that_dvc_tracks(project: Project, is_absolute: bool):
    """It names an image that was not added: that one is not there."""
    prefix = f"{project.path}/" if is_absolute else ""
    names = [f"{prefix}added/{name}/{number}.png" for name in ("blue", "red", "violet") for number in range(2)]
    rows = "".join(f"{name},{Path(name).parent.name}\n" for name in names)
    (project.path / "labels.csv").write_text(f"path,label\n{rows}")
    project.run("git", "add", "labels.csv")
    project.run("git", "commit", "--quiet", "--message", "labels")
    table = ("data=table", "data.path=labels.csv", "data.max_rejected=2")
    assert _source(project, *table, target="download")["missing"] == _digest_of_list(names[-2:])


def _digest_of_list(names: list[str]) -> str:
    from lightline.files import content_digest

    return content_digest(names)


def test_an_older_commit_has_its_own(project: Project, digest):
    project.run("git", "tag", "old")
    project.run("dvc", "add", "added")
    project.run("git", "commit", "--quiet", "--message", "violet", "added.dvc")
    folder = ("data=folder", "data.path=added")
    assert _source(project, *folder, target="download")["sha256"] == digest("added", True)
    shutil.rmtree(Path("expected"))
    assert _source(project, *folder, rev="old")["sha256"] == digest("added", False)
    project.run("git", "reset", "--quiet", "old")
    project.run("git", "checkout", "--quiet", "added.dvc")


def test_from_the_remote_or_not_at_all(project: Project, digest, tmp_path: Path):
    project.run("dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "remote"))
    project.run("dvc", "push", "added.zip.dvc")
    for file in ("added.zip.dvc", "store.dvc"):
        md5 = (project.path / file).read_text().partition("md5: ")[2].split()[0]
        (project.path / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    assert _source(project, "data=folder", "data.path=added.zip")["sha256"] == digest("added.zip", False)
    with pytest.raises(RequestError, match=r"store is tracked by DVC \(store\.dvc\).*`dvc pull store\.dvc`"):
        _source(project, "data=folder", "data.path=store/inside")


def test_an_experiment_in_a_copy_does_not_take_the_workspaces(project: Project):
    options = ("--temp", "-S", "data=folder", "-S", "data.path=added")
    done = project.run("dvc", "exp", "run", *options, "source", check=False)
    assert "added is tracked by DVC (added.dvc), and what this commit has of it is not here" in done.stderr


@pytest.fixture
def served() -> Iterator[Server]:
    with Server() as server:
        server.answers = [(200, b"content")]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
