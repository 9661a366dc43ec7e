"""Downloads against real servers on 127.0.0.1: what is kept, what is refused or tried again, what stays secret."""

import hashlib
from pathlib import Path

import pytest

from lightline.config.data import FolderSource
from lightline.runtime.fetch.errors import FetchError, without_secrets
from lightline.runtime.fetch.fetch import fetch
from lightline.sources import open_source
from tests.support.serving import CONTENT, SHA256, get, kept
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
    with pytest.raises(FetchError, match=r"images.zip answered 503 Service Unavailable") as failed:
        get(f"{server.url}/images.zip")
    assert failed.value.may_pass
    assert len(server.requests) == 3
    assert kept(repository) == []


@pytest.mark.parametrize(("status", "message"), [(404, "does not exist"), (403, "403 Forbidden"), (401, "401")])
def test_what_cannot_pass_is_not_tried_again(server, status, message):
    server.answers = [(status, b"")]
    with pytest.raises(FetchError, match=message) as failed:
        get(f"{server.url}/images.zip")
    assert not failed.value.may_pass
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
