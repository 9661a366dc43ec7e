"""How the server starts, or says why it does not."""

import subprocess
import sys

import httpx
import pytest
from psutil import Process

from lightline_predict import images
from tests.support import ROOT
from tests.support.prediction_server import error, refused, serving
from tests.support.samples import random_pixels

TOKEN = "t0ken-of-the-tests"
ENCODED = images.encode(random_pixels(16, 16, 3))


@pytest.fixture(scope="module")
def model_file(exported):
    return exported("cnn", crop_pct=0.9)[1]


def test_what_cannot_be_served_is_said(model_file, tmp_path):
    (tmp_path / "short").write_text("abc")
    assert "give a model file, or --from GIT-URL; one of them." in refused()
    assert f"{tmp_path / 'no.onnx'} does not exist" in refused(tmp_path / "no.onnx")
    assert "--examples no: no cannot be read: No such file" in refused(model_file, "--examples", "no")
    assert "one is none: not an image" in refused(model_file, "--examples", tmp_path / "short")
    said = refused(model_file, "--host", "0.0.0.0")
    assert (
        "--host 0.0.0.0 lets others than this machine ask: that needs a token, in --token-file FILE or LIGHTLINE_TOKEN"
        in said
    )
    assert "a token is at least 16 printable ASCII characters" in refused(
        model_file, "--token-file", tmp_path / "short"
    )
    assert f"--log {tmp_path / 'short' / 'x'} cannot be written to" in refused(
        model_file, "--log", tmp_path / "short" / "x"
    )


def test_missing_packages_are_named(model_file):
    code = ("import sys\nsys.modules |= dict.fromkeys(['{}'])\nfrom lightline_predict.__main__ import main\n"
            "main(['serve', {!r}, '--port', '0', '--log', 'x'])")  # fmt: skip
    for module, sentence in (
        ("starlette.requests", "error: serve needs starlette"),
        ("pyarrow.parquet", "error: --log needs pyarrow"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code.format(module, str(model_file))],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 1
        assert sentence in done.stderr


def test_a_token_is_asked_for_and_stands_in_no_command_line(model_file):
    with serving(model_file, "--token", TOKEN, "--host", "0.0.0.0") as server:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
            assert error(client.post("/predict", content=ENCODED))[0] == 401
            assert error(client.get("/metrics"))[0] == 401
            wrong = client.post("/predict", content=ENCODED, headers={"authorization": "Bearer wrong"})
            assert error(wrong)[1] == "This server asks for a token: Authorization: Bearer TOKEN."
            right = client.post("/predict", content=ENCODED, headers={"authorization": f"Bearer {TOKEN}"})
            assert right.status_code == 200
            assert client.get("/health/ready").status_code == 200
            assert client.get("/").status_code == 200
        assert not any(TOKEN in word for word in Process(server.process.pid).cmdline())
        assert server.end() == 0
        assert not any(TOKEN in line for line in server.said)
