"""Downloads against real servers on 127.0.0.1: what is kept, what is refused or tried again, what stays secret."""

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lightline.config.data import FolderSource
from lightline.errors import DataError
from lightline.runtime.fetch.errors import FetchError, without_secrets
from lightline.runtime.fetch.fetch import fetch
from lightline.sources import open_source
from tests.support import ROOT
from tests.support.serving import CONTENT, SHA256, get, kept
from tests.support.small_disk import run_on_small_disk
from tests.support.source_settings import FETCH, RULES


def test_a_file_is_downloaded_once(server, repository, capsys):
    path = get(f"{server.url}/images.zip")
    assert path.read_bytes() == CONTENT
    assert path == repository / ".lightline/downloads" / SHA256
    assert get(f"{server.url}/images.zip") == path
    assert server.requests == ["/images.zip"]
    assert capsys.readouterr().out.count("\n") == 2


def test_a_kept_file_that_was_changed_is_downloaded_anew(server):
    path = get(f"{server.url}/images.zip")
    path.write_bytes(b"changed")
    assert get(f"{server.url}/images.zip").read_bytes() == CONTENT


def test_a_file_with_another_digest_is_not_kept(server, repository):
    with pytest.raises(
        FetchError, match=f"images.zip has sha256 {SHA256}, but {'0' * 64} is expected; it was not kept"
    ):
        get(f"{server.url}/images.zip", "0" * 64)
    assert kept(repository) == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("passing", [(503, b""), (429, b""), (200, None)])
def test_what_can_pass_is_tried_again(server, passing, capsys):
    server.answers = [passing, passing, (200, CONTENT)]
    assert get(f"{server.url}/images.zip").read_bytes() == CONTENT
    assert len(server.requests) == 3
    assert capsys.readouterr().err.count("Trying again in 0 s.") == 2


def test_what_does_not_pass_ends_after_the_last_attempt(server, repository):
    server.answers = [(503, b"")]
    with pytest.raises(FetchError, match=r"images.zip answered 503 Service Unavailable"):
        get(f"{server.url}/images.zip")
    assert len(server.requests) == 3
    assert kept(repository) == []


@pytest.mark.parametrize(("status", "message"), [(404, "does not exist"), (403, "403 Forbidden"), (401, "401")])
def test_what_cannot_pass_is_not_tried_again(server, status, message):
    server.answers = [(status, b"")]
    with pytest.raises(FetchError, match=message):
        get(f"{server.url}/images.zip")
    assert len(server.requests) == 1


def test_no_server_is_an_error_after_the_last_attempt(server, capsys):
    port = server.server_port
    server.server_close()
    with pytest.raises(FetchError, match="cannot be reached"):
        get(f"http://127.0.0.1:{port}/images.zip")
    assert capsys.readouterr().err.count("Trying again") == 2


def test_the_next_url_is_used_where_one_fails(server):
    server.answers = [(404, b""), (200, CONTENT)]
    assert fetch([f"{server.url}/a", f"{server.url}/b"], "sha256", SHA256, RULES).read_bytes() == CONTENT
    assert server.requests == ["/a", "/b"]


def test_all_urls_that_failed_are_told(server):
    server.answers = [(404, b"")]
    with pytest.raises(FetchError, match=r"(?s)/a does not exist.*/b does not exist"):
        fetch([f"{server.url}/a", f"{server.url}/b"], "sha256", SHA256, RULES)


@pytest.mark.parametrize("answer", [(200, b"wrong"), (404, b""), (503, b""), (500, None)])
def test_keys_in_a_url_are_used_and_never_shown(server, answer, capsys):
    server.answers = [answer]
    url = f"http://user:p%40ss@127.0.0.1:{server.server_port}/images.zip?token=s3cret&X-Sig=k#frag"
    with pytest.raises(FetchError) as error:
        get(url)
    assert server.authorizations[0].startswith("Basic ")
    assert server.requests[0] == "/images.zip?token=s3cret&X-Sig=k"
    shown = str(error.value) + "".join(capsys.readouterr())
    assert f"http://127.0.0.1:{server.server_port}/images.zip" in shown
    for secret in ("user", "p%40ss", "p@ss", "s3cret", "X-Sig", "frag"):
        assert secret not in shown
    assert error.value.__suppress_context__ or error.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/a/b.zip", "https://host/a/b.zip"),
        ("https://key:secret@host:8443/b.zip?sig=1#x", "https://host:8443/b.zip"),
        ("s3://bucket/a/b.zip", "s3://bucket/a/b.zip"),
    ],
)
def test_a_url_is_shown_without_secrets(url, shown):
    assert without_secrets(url) == shown


def folder(path: str, sha256: str | None, **fetching: object) -> FolderSource:
    values = {
        "source": "folder",
        "path": path,
        "sha256": sha256,
        "max_rejected": 0,
        "max_pixels": 1000,
        "bit_depth": "auto",
        "corrections": None,
        "split_folders": "auto",
    }
    return FolderSource.model_validate(values | {"fetch": FETCH | fetching})


def test_a_folder_behind_a_url_gives_its_images(server, write, pack):
    archive = pack(write(Path("raw"), ["train/cat/1.png", "test/dog/1.png"]), Path("images"), "tar.gz").read_bytes()
    server.answers = [(200, archive)]
    digest = hashlib.sha256(archive).hexdigest()
    params = folder(f"{server.url}/x?key=1", digest)
    assert open_source(params).identity() == {"source": "folder", "sha256": digest}
    assert server.requests == []
    assert sorted(image.id for image in open_source(params).images()) == ["test/dog/1.png", "train/cat/1.png"]


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("https://host/images.zip", None, "data.sha256 is missing"),
        ("ftp://host/images.zip", SHA256, "data.path starts with ftp://; allowed"),
        ("file:///etc/passwd", SHA256, "data.path starts with file://; allowed"),
    ],
)
def test_a_url_needs_its_digest_and_a_known_scheme(path, sha256, message):
    with pytest.raises(ValueError, match=message):
        folder(path, sha256)


@pytest.mark.parametrize("written", [SHA256.upper(), f"sha256:{SHA256}", f" {SHA256}\n"])
def test_a_digest_counts_however_it_is_written(written):
    assert folder("https://host/images.zip", written).sha256 == SHA256
    assert open_source(folder("https://host/images.zip?id=1ZyQ9mWfE7aKc3TgB0nXvRjLhU2s", written)).identity() == {
        "source": "folder",
        "sha256": SHA256,
    }


@pytest.fixture
def part(repository) -> Path:
    """Where what is there of CONTENT lies until all of it is."""
    (repository / ".lightline/downloads").mkdir(parents=True)
    return repository / ".lightline/downloads" / f".{SHA256}.part"


@pytest.mark.parametrize("sends_parts", [True, False])
def test_a_download_that_broke_off_goes_on_where_the_server_sends_parts(server, sends_parts):
    server.sends_parts = sends_parts
    server.answers = [(200, None), (200, CONTENT)]
    assert get(f"{server.url}/images.zip").read_bytes() == CONTENT
    assert server.ranges[0] is None
    assert server.ranges[1].startswith("bytes=")
    assert 0 < int(server.ranges[1][6:-1]) <= 5_000_000


def test_the_next_run_goes_on_too_and_only_the_final_name_is_whole(server, part, repository):
    server.answers = [(200, None)]
    with pytest.raises(FetchError, match="broke off"):
        get(f"{server.url}/images.zip")
    assert kept(repository) == [part.name]
    size = part.stat().st_size
    server.sends_parts, server.answers = True, [(200, CONTENT)]
    assert get(f"{server.url}/images.zip").read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={size}-"
    assert kept(repository) == [SHA256]


@pytest.mark.parametrize("left", [b"of another file", CONTENT + b"and more", CONTENT[:-1] + b"?"])
@pytest.mark.parametrize("sends_parts", [True, False])
def test_what_does_not_fit_is_thrown_away_and_all_is_asked_for(server, part, left, sends_parts):
    part.write_bytes(left)
    server.sends_parts = sends_parts
    assert get(f"{server.url}/images.zip").read_bytes() == CONTENT
    assert not part.exists()


def test_what_the_disk_does_not_take_is_told_and_never_has_the_final_name(server, repository):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, -1))\n"
        f"from tests.support.serving import get; get({server.url!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert re.search(
        rf"NoRoomError: {repository}/.lightline/downloads/.{SHA256}.part cannot be written: File too large. It needs "
        rf"more than the \d+ bytes that are there of {server.url}, and \d+ bytes are free in ",
        done.stderr,
    )
    assert all(name.endswith(".part") for name in kept(repository))


@pytest.mark.parametrize("announced", [True, False])
def test_a_full_disk_is_told_if_possible_before_it_is_full(server, tmp_path, announced):
    if not announced:
        server.headers = {"Transfer-Encoding": "identity"}
    code = (
        "from tests.support.serving import get\nfrom lightline.errors import LightlineError\n"
        f"try: get({server.url!r})\nexcept LightlineError as error: exit(str(error))"
    )
    (tmp_path / "content").mkdir()
    outcome = run_on_small_disk(tmp_path / "content", tmp_path / "disk", 3_000_000, sys.executable, "-c", code)
    needed = f"{len(CONTENT)} bytes" if announced else rf"more than the \d+ bytes that are there of {server.url}"
    assert outcome.status == 1
    assert re.fullmatch(
        rf"{tmp_path}/disk/.lightline/downloads/.{SHA256}.part cannot be written: No space left on device. It needs "
        rf"{needed}, and \d+ bytes are free in {tmp_path}/disk/.lightline/downloads. Make room there, then give the "
        r"same command again.\n",
        outcome.stderr,
    )
    assert len(server.requests) == 1
    assert list(outcome.after) == [] if announced else [f".lightline/downloads/.{SHA256}.part"]


def test_two_processes_download_a_file_once(server, repository):
    with ThreadPoolExecutor(4) as pool:  # threads take the lock as processes do: each opens the file anew
        paths = list(pool.map(lambda _: get(f"{server.url}/images.zip"), range(4)))
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert kept(repository) == [SHA256]


def test_a_failed_download_is_a_data_error():
    assert issubclass(FetchError, DataError)


def test_the_part_of_an_old_download_is_cleared_unless_it_is_under_way(server, part, repository):
    parts = {name: part.with_name(f".{name}.part") for name in ("old", "new", "locked")}
    for path in parts.values():
        path.write_bytes(b"some of it")
    month_ago = time.time() - 30 * 24 * 3600
    for name in ("old", "locked"):
        os.utime(parts[name], (month_ago, month_ago))
    with parts["locked"].open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as the process does that downloads it
        get(f"{server.url}/images.zip")
    assert set(kept(repository)) == {SHA256, parts["new"].name, parts["locked"].name}


def test_an_old_part_of_the_same_download_is_gone_on_with(server, part):
    part.write_bytes(CONTENT[:1000])
    os.utime(part, (0, 0))
    server.sends_parts = True
    assert get(f"{server.url}/images.zip").read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]
