"""Keys are noticed and taken out; what only looks a little like one is left alone."""

import pytest

from lightline.redaction import names_secret, redacted, secret_in
from tests.support.project import PLANTED

PRESIGNED = "https://b.s3.amazonaws.com/a.zip?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0a1b2c"


@pytest.fixture
def _key(monkeypatch):
    monkeypatch.setenv("SERVICE_API_KEY", "abc123def456")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("https://me:hunter2@host/a.zip", "a user name or password in a URL"),
        ("see https://token@host/a.zip", "a user name or password in a URL"),
        ("https://host/a.zip?token=x", "the part 'token' of a URL's query"),
        ("https://host/a.zip?v=1&API_KEY=x", "the part 'API_KEY' of a URL's query"),
        ("https://host/a.zip?sv=2022&sig=x", "the part 'sig' of a URL's query"),
        ("https://host/a.zip?access_token", "the part 'access_token' of a URL's query"),
        ("https://host/a.zip#token=x", "the part 'token' of a URL's query"),
        ("https://host/a.zip?v=9f8e7d6c5b4a39281706f5e4", "the part 'v' of a URL's query"),
        ("https://host/a.zip?sessionid=9f8e7d6c5b4a39281706f5e4", "the part 'sessionid' of a URL's query"),
        ("https://host/a.zip?id=abc123def456", "the value of the environment variable SERVICE_API_KEY"),
        ("https://host/a.zip?9f8e7d6c5b4a39281706f5e4", "a URL's query"),
        (PRESIGNED, "the part 'X-Amz-Algorithm' of a URL's query"),
        ("http://[", "a URL that cannot be read"),
        ("prefix-abc123def456", "the value of the environment variable SERVICE_API_KEY"),
        ("${oc.env:WANDB_API_KEY}", "the value of the environment variable WANDB_API_KEY"),
    ],
)
@pytest.mark.usefixtures("_key")
def test_a_key_is_noticed_and_not_repeated(text, kind):
    assert secret_in(text) == kind
    for secret in ("hunter2", "token@", "=x", "9f8e7d6c5b4a39281706f5e4", "0a1b2c", "abc123def456"):
        assert secret not in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "data/raw",
        "/home/me/photos",
        "https://host/a.zip",
        "https://host:8443/a/b@2x.zip?download=1",
        "https://zenodo.org/records/1/files/birds.zip?download=1",
        "https://host/a.zip?file=birds-of-the-world.zip&version=2024",
        "https://drive.google.com/uc?export=download&id=1ZyQ9mWfE7aKc3TgB0nXvRjLhU2sPdO4i",
        "https://host/download?fileId=9f8e7d6c5b4a39281706f5e4&uuid=8a6e0804-2bd0-4672-b79d-d97027f9071a",
        "https://bucket.s3.amazonaws.com/a.zip?versionId=3sL4kqtJlcpXroDTDmJrmSpXd3dIbrHY",
        "s3://bucket/a.zip",
        "git@github.com:me/repo.git",
        "${oc.env:HOME}",
        "Classifying keys and tokens of all kinds.",
    ],
)
@pytest.mark.usefixtures("_key")
def test_what_holds_no_key_is_left_alone(text):
    assert secret_in(text) is None
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SHARED_CREDENTIALS_FILE", "/home/me/.aws"),
        ("MAX_TOKENS", "1234567890"),
        ("SOME_TOKEN", "short"),
        ("LANGUAGE", "abcdefgh"),
    ],
)
def test_what_is_no_key_in_the_environment(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert secret_in(f"with {value}") is None


def test_names():
    for name in ("WANDB_API_KEY", "password", "tracking.api_key", "AWS_SESSION_TOKEN", "x-amz-signature", "auth"):
        assert names_secret(name), name
    for name in ("path", "monitor", "author", "keyboard", "data.path_column", "max_epochs", "optimizer"):
        assert not names_secret(name), name


def test_a_whole_run_leaves_no_key_of_the_environment_anywhere(finished_project):
    """Datasets, models, reports, W&B's files, DVC's cache, experiments: whatever a run of all stages has written."""
    files = [file for file in finished_project.path.rglob("*") if file.is_file()]
    assert {"model.onnx", "best.ckpt", "params.yaml", "dvc.lock"} < {file.name for file in files}
    assert any(file.suffix == ".wandb" for file in files)
    history = finished_project.run("git", "log", "--patch", "--all", "--text").stdout
    for secret in PLANTED.values():
        assert secret not in history
        assert not [file for file in files if secret.encode() in file.read_bytes()]
