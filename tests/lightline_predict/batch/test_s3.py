"""Images in S3, from moto's real server on 127.0.0.1."""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.csv import write_csv
from s3fs.core import S3File

from lightline_predict import images
from lightline_predict.__main__ import main
from lightline_predict.batching import places
from lightline_predict.classifier import Classifier
from tests.support.batch import as_tar, as_zip
from tests.support.model_files import write_model

NAMES = ("a.png", "b/1.png", "b/2.png", "c.png")
CONTENTS = {
    name: images.encode(np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8))
    for number, name in enumerate(NAMES)
}


@pytest.fixture
def bucket(s3):
    places._s3.cache_clear()
    s3.create_bucket(Bucket="data")
    for name, content in CONTENTS.items():
        s3.put_object(Bucket="data", Key=f"photos/{name}", Body=content)
    for hidden in ("photos/.hidden/x.png", "photos/b/.hidden.png", "photos2/x.png"):
        s3.put_object(Bucket="data", Key=hidden, Body=b"hidden")
    s3.put_object(Bucket="data", Key="photos/b/", Body=b"")
    return s3


@pytest.fixture
def batch(tmp_path):
    """Classify what lies at an address; gives the exit status, and the rows by id."""
    model = write_model(tmp_path / "model.onnx")

    def run(source: str) -> tuple[int, dict[str, dict]]:
        out = tmp_path / "out.parquet"
        try:
            status = main(["batch", str(model), source, str(out)])
        except SystemExit as end:
            print(end.code, file=sys.stderr)
            return 1, {}
        return status, {row["id"]: row for row in pq.read_table(out).to_pylist()}

    run.model = Classifier(model)
    return run


def check(found: dict[str, dict], model: Classifier, ids: dict[str, str]) -> None:
    assert list(found) == list(ids)
    for name, key in ids.items():
        answers = model(CONTENTS[key])
        assert found[name]["predicted"] == answers.classes[0]
        np.testing.assert_allclose(found[name]["probabilities"], answers.probabilities[0], atol=1e-5)


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("address", ["s3://data/photos", "s3://data/photos/"])
def test_what_lies_under_a_name(batch, address):
    status, found = batch(address)
    assert status == 0
    check(found, batch.model, dict(zip(NAMES, NAMES, strict=True)))


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "csv"])
def test_an_archive_or_table(batch, bucket, kind, tmp_path):
    import tarfile
    import zipfile

    path = tmp_path / f"photos.{kind}"
    if kind == "csv":
        path.write_text("\n".join(["path", *NAMES[:3], "s3://data/photos/c.png"]))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in CONTENTS.items():
                archive.writestr(name, content)
    else:
        (tmp_path / "one.png").write_bytes(CONTENTS["a.png"])
        with tarfile.open(path, "w:gz") as archive:
            archive.add(tmp_path / "one.png", "a.png")
    bucket.upload_file(str(path), "data", f"photos/all.{kind}")
    status, found = batch(f"s3://data/photos/all.{kind}")
    assert status == 0
    ids = {
        "zip": dict(zip(NAMES, NAMES, strict=True)),
        "tar.gz": {"a.png": "a.png"},
        "csv": dict(zip([*NAMES[:3], "s3://data/photos/c.png"], NAMES, strict=True)),
    }
    check(found, batch.model, ids[kind])


def test_a_local_table_that_names_objects(batch, bucket, tmp_path):
    addresses = [f"s3://data/photos/{name}" for name in (*NAMES, "none.png")]
    (tmp_path / "table.csv").write_text("\n".join(["path", *addresses]))
    status, found = batch(str(tmp_path / "table.csv"))
    assert status == 1
    assert found.pop(addresses[-1])["error"].startswith("cannot be read: ")
    check(found, batch.model, dict(zip(addresses, NAMES, strict=False)))


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("address", ["s3://data/none", "s3://no-such-bucket/photos", "s3://no-such-bucket"])
def test_what_is_not_there(batch, address, capsys):
    assert batch(address) == (1, {})
    assert capsys.readouterr().err == f"error: {address} does not exist.\n"


@pytest.mark.usefixtures("bucket")
def test_a_server_that_does_not_answer(batch, monkeypatch, free_port, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    places._s3.cache_clear()
    assert batch("s3://data/photos") == (1, {})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: s3://data/photos cannot be read now: ")
    assert line.endswith("The same command goes on where it stopped.")


@pytest.mark.parametrize("kind", ["tar", "zip", "csv", "parquet"])
def test_a_network_that_breaks_off_in_the_middle_is_told(batch, bucket, photos, monkeypatch, capsys, kind):
    path = photos.with_name(f"photos.{kind}")
    if kind in ("tar", "zip"):
        {"tar": as_tar, "zip": as_zip}[kind](photos, path)
    else:
        table = pa.table({"path": ["photos/a.png"] * 3})
        (write_csv if kind == "csv" else pq.write_table)(table, path)
    bucket.upload_file(str(path), "data", path.name)

    def broken(self, start, end):
        raise OSError("SlowDown")

    monkeypatch.setattr(S3File, "_fetch_range", broken)
    assert batch(f"s3://data/{path.name}") == (1, {})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: s3://data/{path.name} cannot be read now: SlowDown. The same command goes on")
