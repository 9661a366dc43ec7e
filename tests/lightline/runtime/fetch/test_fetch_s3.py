"""Archives in S3, from moto's real server on 127.0.0.1."""

import hashlib
import shutil

import pytest

from lightline.config.data import FolderSource
from lightline.runtime.fetch.fetch import FetchError, fetch
from lightline.sources import open_source
from tests.support.source_settings import FETCH, RULES

CONTENT = bytes(range(256)) * 30_000  # 7.7 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def bucket(s3):
    s3.create_bucket(Bucket="data")
    return s3


def test_an_object_is_downloaded(bucket):
    bucket.put_object(Bucket="data", Key="sets/images.zip", Body=CONTENT)
    assert fetch(["s3://data/sets/images.zip"], "sha256", SHA256, RULES).read_bytes() == CONTENT


def test_a_public_object_needs_no_credentials(bucket, monkeypatch):
    bucket.put_object(Bucket="data", Key="images.zip", Body=CONTENT, ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert fetch(["s3://data/images.zip"], "sha256", SHA256, RULES).read_bytes() == CONTENT


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("url", ["s3://data/none.zip", "s3://no-such-bucket/none.zip"])
def test_what_is_not_there_is_not_tried_again(url, capsys):
    with pytest.raises(FetchError, match=f"{url} does not exist"):
        fetch([url], "sha256", SHA256, RULES, pauses=(0, 0))
    assert "Trying again" not in capsys.readouterr().err


def test_a_wrong_digest_is_not_kept(bucket, repository):
    bucket.put_object(Bucket="data", Key="images.zip", Body=b"other")
    with pytest.raises(FetchError, match="is expected; it was not kept"):
        fetch(["s3://data/images.zip"], "sha256", SHA256, RULES)
    assert not list((repository / ".lightline/downloads").iterdir())


def test_an_archive_in_s3_gives_its_images(bucket, write, pack, tmp_path):
    archive = pack(write(tmp_path / "raw", ["cat/1.png", "dog/1.png"]), tmp_path / "images", "zip").read_bytes()
    bucket.put_object(Bucket="data", Key="images.zip", Body=archive)
    digest = hashlib.sha256(archive).hexdigest()
    values = {
        "source": "folder",
        "path": "s3://data/images.zip",
        "sha256": digest,
        "fetch": FETCH,
        "split_folders": "auto",
    }
    params = FolderSource.model_validate(
        values | {"max_rejected": 0, "max_pixels": 1000, "bit_depth": "auto", "corrections": None}
    )
    assert [image.id for image in open_source(params).images()] == ["cat/1.png", "dog/1.png"]


def test_an_object_of_more_bytes_than_allowed_is_not_downloaded(bucket, repository):
    bucket.put_object(Bucket="data", Key="images.zip", Body=CONTENT)
    rules = RULES.model_copy(update={"max_bytes": len(CONTENT) - 1})
    with pytest.raises(FetchError, match=rf"has more bytes than data\.fetch\.max_bytes = {len(CONTENT) - 1}"):
        fetch(["s3://data/images.zip"], "sha256", SHA256, rules, pauses=(0, 0))
    assert not list((repository / ".lightline/downloads").iterdir())
    exact = RULES.model_copy(update={"max_bytes": len(CONTENT)})
    assert fetch(["s3://data/images.zip"], "sha256", SHA256, exact).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("left", "asked_for"),
    [
        (CONTENT[:5_000_000], 2_680_000),
        (CONTENT, 0),
        (b"of another object", 7_680_000 - 17 + 7_680_000),
        (CONTENT + b"and more", 7_680_000),
    ],
)
def test_a_download_that_broke_off_goes_on(bucket, repository, monkeypatch, left, asked_for):
    bucket.put_object(Bucket="data", Key="images.zip", Body=CONTENT)
    part = repository / ".lightline/downloads" / f".{SHA256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    copied = []
    copy = shutil.copyfileobj

    def count(source, target, *arguments):
        before = target.seek(0, 2)
        copy(source, target, *arguments)
        copied.append(target.seek(0, 2) - before)

    monkeypatch.setattr(shutil, "copyfileobj", count)
    assert fetch(["s3://data/images.zip"], "sha256", SHA256, RULES).read_bytes() == CONTENT
    assert sum(copied) == asked_for
    assert not part.exists()
