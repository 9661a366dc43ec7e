"""The clone that a run works in."""

import asyncio
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import pytest

from flows.apply import can_take
from flows.errors import RequestError, UnavailableError
from flows.git import clone, find_origin, git
from tests.support.flow_workspace import reproduce_all, use


def test_lines_arrive_whole_and_in_order(small_project, set_work):
    set_work(small_project, "print('50 %', end='\\r'); print('100 %')\nfor n in range(2000): print('line', n)")
    lines = use(small_project, reproduce_all)
    assert "100 %" in lines
    assert [line for line in lines if line.startswith("line ")] == [f"line {n}" for n in range(2000)]


def test_stages_know_where_the_run_comes_from(small_project, set_work, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/false")
    set_work(small_project, "print(os.environ['LIGHTLINE_ORIGIN'], os.environ['SHELL'], sys.executable, os.getcwd())")
    names = []

    async def steps(workspace, lines):
        names.append(workspace.folder)
        await reproduce_all(workspace, lines)

    lines = use(small_project, steps)
    assert f"{small_project.path} /bin/sh {sys.executable} {names[0]}" in lines
    assert not names[0].exists()


def test_cached_results_and_remotes_are_the_origins(small_project, tmp_path):
    small_project.run("dvc", "remote", "add", "--default", "store", "../store")
    small_project.run("dvc", "remote", "add", "--local", "bucket", "s3://bucket")
    small_project.run("dvc", "remote", "modify", "--local", "bucket", "secret_access_key", "secret")
    small_project.run("dvc", "cache", "dir", "../shared-cache")
    small_project.commit()
    shown = {}

    async def steps(workspace, lines):
        for name in ("remote.store.url", "remote.bucket.secret_access_key", "core.remote", "cache.dir"):
            command = ("dvc", "config", "--local", name)
            shown[name] = subprocess.check_output(command, cwd=workspace.folder, text=True).strip()
        for name in ("remote.store.url", "cache.dir"):
            shown[name] = (workspace.folder / ".dvc" / shown[name]).resolve()

    use(small_project, steps)
    assert shown == {
        "remote.store.url": tmp_path / "store",
        "remote.bucket.secret_access_key": "secret",
        "core.remote": "store",
        "cache.dir": tmp_path / "shared-cache",
    }


def test_parameters_are_checked_by_the_commits_own_code(small_project):
    params = small_project.path / "lightline/config/training.py"
    field = "    drop_last: bool"
    assert field in params.read_text()
    params.write_text(params.read_text().replace(field, f"    brand_new: int\n{field}"))
    small_project.commit()
    with pytest.raises(RequestError, match=r"trainer\.brand_new is missing"):
        use(small_project, reproduce_all)


def test_a_commit_with_a_damaged_lock_is_no_obstacle(small_project):
    (small_project.path / "dvc.lock").write_text("")
    small_project.commit()
    assert any("dvc.lock of this commit is damaged" in line for line in use(small_project, reproduce_all))


def test_a_branch_a_tag_and_a_commit(small_project, tmp_path):
    commit = small_project.run("git", "rev-parse", "HEAD").stdout.strip()
    small_project.run("git", "tag", "v1")
    small_project.run("git", "branch", "side")
    small_project.commit("later")
    origin = find_origin(str(small_project.path))

    def checked_out(rev):
        return asyncio.run(clone(origin, rev, Path(mkdtemp(dir=tmp_path))))

    assert [checked_out(rev) for rev in ("v1", "side", commit[:10], "HEAD~1")] == [commit] * 4
    for rev in ("nowhere", "--help"):
        with pytest.raises(RequestError, match=f"rev = '{rev}'"):
            checked_out(rev)


@pytest.mark.parametrize(
    ("repo", "message"),
    [("/nowhere", "there is no folder /nowhere"), ("/", "is not in a git repository")],
)
def test_no_repository(repo, message):
    with pytest.raises(RequestError, match=message):
        find_origin(repo)


def test_a_repository_without_dvc(tmp_path):
    subprocess.run(("git", "init", "--quiet", str(tmp_path)), check=True)
    with pytest.raises(RequestError, match="is no DVC project"):
        find_origin(str(tmp_path))


def test_an_experiment_overwrites_nothing_that_git_does_not_track(small_project):
    commit = small_project.run("git", "rev-parse", "HEAD").stdout.strip()
    (small_project.path / "new.txt").write_text("of the experiment")
    experiment = small_project.commit("experiment")
    small_project.run("git", "update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/mine", experiment)
    small_project.run("git", "reset", "--quiet", "--hard", commit)
    assert can_take(small_project.path, "mine")
    (small_project.path / "other.txt").write_text("mine")
    assert can_take(small_project.path, "mine")
    (small_project.path / "new.txt").write_text("mine")
    assert not can_take(small_project.path, "mine")


def test_a_repository_that_cannot_be_reached(small_project, monkeypatch, tmp_path):
    monkeypatch.setattr("flows.git._DELAY", 0.01)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UnavailableError) as error:
        use(small_project, reproduce_all, repo="https://me:secret@127.0.0.1:9/x.git")
    assert "secret" not in str(error.value)


def test_a_clone_has_its_origin_whatever_git_calls_it_by_itself(small_project, tmp_path, monkeypatch):
    settings = {"COUNT": "1", "KEY_0": "clone.defaultRemoteName", "VALUE_0": "upstream"}
    for name, value in settings.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    (tmp_path / "clone").mkdir()
    asyncio.run(clone(find_origin(str(small_project.path)), "HEAD", tmp_path / "clone"))
    assert git("remote", folder=tmp_path / "clone") == "origin"


@pytest.mark.parametrize("address", ["alice@gerrit.example.org:photos.git", "host:photos.git", "https://a.org/b.git"])
def test_addresses_as_git_knows_them(address):
    origin = find_origin(address)
    assert origin.url == address
    assert not origin.is_here


@pytest.mark.parametrize("path", ["nowhere", "~nobody-here/x"])
def test_what_is_neither_a_folder_nor_an_address_is_told(path):
    with pytest.raises(RequestError, match=f"repo = '{path}'"):
        find_origin(path)
