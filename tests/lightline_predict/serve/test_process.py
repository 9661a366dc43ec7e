"""The server under what happens to servers: slow senders, too many, signals, new models, kills."""

import re
import resource
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest

from lightline_predict import images
from lightline_predict.classifier import Classifier
from lightline_predict.measures import measure_pixels
from tests.support.prediction_server import Serving, connect, error, head, metric, rest_of, serving, until
from tests.support.samples import random_pixels

PIXELS = [random_pixels(16, 16, 3, seed=seed) for seed in range(4)]
ENCODED = [images.encode(pixels) for pixels in PIXELS]
NEW = "e" * 64


@pytest.fixture(scope="module")
def model_file(exported):
    return exported("cnn", crop_pct=0.9)[1]


# -- limits


def test_who_sends_slowly_is_told_so_and_who_says_nothing_is_hung_up_on(model_file):
    with serving(model_file, "--timeout", 0.3) as server, ExitStack() as stack:
        begun, slow, silent = (
            stack.enter_context(connect(server, sent))
            for sent in (head(100) + b"a", b"POST /predict HTTP/1.1\r\nhost: 127", b"")
        )
        answer = rest_of(begun)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'{"error":"The body took longer than 0.3 s (--timeout) to arrive."}' in answer
        assert rest_of(slow) == rest_of(silent) == b""
        with server.client() as client:
            assert client.post("/predict", content=ENCODED[0]).status_code == 200


def test_further_requests_are_told_to_come_again_when_it_is_full(model_file):
    with serving(model_file, "--max-requests", 2) as server, server.client() as client, ExitStack() as stack:
        held = [stack.enter_context(connect(server, head(len(ENCODED[0])))) for _ in range(2)]
        until(lambda: metric(server, "lightline_requests_in_progress") == 2)
        response = client.post("/predict", content=ENCODED[0])
        assert error(response) == (429, "Too busy: 2 requests are being answered; try again in a second.")
        assert response.headers["retry-after"] == "1"
        assert client.get("/health/ready").status_code == 200
        held[0].sendall(ENCODED[0])
        assert held[0].recv(2**16).startswith(b"HTTP/1.1 200 ")
        assert client.post("/predict", content=ENCODED[0]).status_code == 200


def test_bodies_fill_no_more_memory_than_they_may(model_file):
    with serving(model_file, "--max-memory", 1) as server, server.client() as client:
        with connect(server, head(2**20) + bytes(2**20 - 1)):
            until(lambda: metric(server, "lightline_held_bytes") == 2**20 - 1)
            status, said = error(client.post("/predict", content=ENCODED[0]))
            assert status == 429
            assert "fill the memory that they may have" in said
        until(lambda: client.post("/predict", content=ENCODED[0]).status_code == 200)


def test_ten_thousand_open_connections_keep_nobody_from_an_answer(model_file):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 10_500:
        pytest.skip("needs `ulimit -Hn` of at least 10,500")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with serving(model_file, "--max-connections", 10_001, "--timeout", 600) as server, ExitStack() as stack:
            for number in range(10_000):
                stack.enter_context(connect(server, b"POST" if number % 2 else b""))
            with server.client() as client:
                assert client.post("/predict", content=ENCODED[0]).status_code == 200
                with connect(server) as further:
                    assert rest_of(further).startswith(b"HTTP/1.1 503 ")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_on_its_way_is_answered_before_it_ends(model_file, number):
    with serving(model_file) as server, ExitStack() as stack:
        on_the_way = [
            stack.enter_context(connect(server, head(len(ENCODED[0])) + ENCODED[0][: 20 * place])) for place in range(8)
        ]
        until(lambda: metric(server, "lightline_requests_in_progress") == 8)
        with server.client() as client:
            assert client.get("/health/ready").status_code == 200
            server.process.send_signal(number)
            until(lambda: _is_gone(server))
        for place, connection in enumerate(on_the_way):
            connection.sendall(ENCODED[0][20 * place :])
        answers = [rest_of(connection) for connection in on_the_way]
        assert [answer[:13] for answer in answers] == [b"HTTP/1.1 200 "] * 8
        assert server.process.wait(60) == 0
        assert server.said == []


def _is_gone(server: Serving) -> bool:
    try:
        connect(server).close()
    except ConnectionRefusedError:
        return True
    return False


# -- a new model


def renamed(model_file: Path, folder: Path, fingerprint: str) -> Path:
    model = onnx.load(model_file)
    next(entry for entry in model.metadata_props if entry.key == "fingerprint").value = fingerprint
    onnx.save(model, folder / f"{fingerprint[:8]}.onnx")
    return folder / f"{fingerprint[:8]}.onnx"


def test_a_new_model_takes_over_under_load_without_a_failed_request(model_file, tmp_path):
    served = renamed(model_file, tmp_path, "d" * 64)
    (tmp_path / "examples").mkdir()
    for number, encoded in enumerate(ENCODED):
        (tmp_path / "examples" / f"{number}.png").write_bytes(encoded)
    stop = threading.Event()

    def ask(server: Serving) -> list[tuple[int, str]]:
        found = []
        with server.client() as client:
            while not stop.is_set():
                response = client.post("/predict", content=ENCODED[0])
                found.append((response.status_code, response.json().get("model")))
        return found

    arguments = (served, "--every", 0.05, "--examples", tmp_path / "examples")
    with serving(*arguments) as server, ThreadPoolExecutor(4) as threads:
        try:
            asking = [threads.submit(ask, server) for _ in range(4)]
            until(lambda: metric(server, 'lightline_requests_total{route="predict",status="200"}') > 4)
            renamed(model_file, tmp_path, NEW).replace(served)
            until(lambda: metric(server, 'lightline_model_swaps_total{outcome="taken"}') == 1)
            before = metric(server, 'lightline_requests_total{route="predict",status="200"}')
            until(lambda: metric(server, 'lightline_requests_total{route="predict",status="200"}') > before + 4)
        finally:
            stop.set()
        answers = [answer for one in asking for answer in one.result()]
        assert {status for status, _ in answers} == {200}
        assert {model for _, model in answers} == {"d" * 64, NEW}
        assert "the two agree on 4 of 4 examples" in server.said[0]


def test_a_new_model_that_is_broken_is_not_taken_and_a_signal_makes_it_look_at_once(model_file, tmp_path):
    served = renamed(model_file, tmp_path, "d" * 64)
    with serving(served, "--every", 1000) as server, server.client() as client:
        (tmp_path / "broken").write_bytes(model_file.read_bytes()[:1000])
        (tmp_path / "broken").replace(served)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: metric(server, 'lightline_model_swaps_total{outcome="kept"}') == 1)
        assert client.post("/predict", content=ENCODED[0]).json()["model"] == "d" * 64
        assert client.get("/health/ready").status_code == 200
        assert "no new model: " in server.said[0]
        assert "The one from before (dddddddddddddddd) goes on answering." in server.said[0]
        renamed(model_file, tmp_path, NEW).replace(served)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: client.post("/predict", content=ENCODED[0]).json()["model"] == NEW)


# -- the log


def test_the_log_has_a_row_an_answer_and_no_image(model_file, tmp_path):
    with serving(model_file, "--log", tmp_path / "log") as server, server.client() as client:
        for encoded in ENCODED:
            assert client.post("/predict", content=encoded).status_code == 200
        assert client.post("/predict", content=b"text").status_code == 422
        assert server.end() == 0
        (file,) = (tmp_path / "log").rglob("*.*")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d/\d\d-[0-9a-f]{8}\.parquet", str(file.relative_to(tmp_path / "log")))
    rows = pq.read_table(file).to_pylist()
    answers = Classifier(model_file, 1)(PIXELS)
    assert [row["digest"] for row in rows] == [images.pixel_digest(pixels) for pixels in PIXELS]
    assert [row["predicted"] for row in rows] == answers.classes
    np.testing.assert_allclose([row["probabilities"] for row in rows], answers.probabilities, atol=1e-5)
    for row, pixels in zip(rows, PIXELS, strict=True):
        assert (row["brightness"], row["contrast"], row["sharpness"]) == measure_pixels(pixels)
        assert (row["width"], row["height"], row["model"], row["accepted"]) == (16, 16, "f" * 64, True)
        assert row["confidence"] == pytest.approx(max(row["probabilities"]))
        assert row["embedding"] is None
        assert abs(row["time"].timestamp() - time.time()) < 1000
    assert set(rows[0]) == set("time digest model predicted confidence accepted probabilities embedding brightness "
                               "contrast sharpness width height".split())  # fmt: skip
    content = file.read_bytes()
    assert not any(encoded[40:80] in content for encoded in ENCODED)


def test_killed_in_the_middle_it_leaves_whole_files_and_starts_again(model_file, tmp_path):
    arguments = (model_file, "--log", tmp_path / "log")
    with serving(*arguments) as server, ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connect(server, head(len(ENCODED[0])) + ENCODED[0]))
        server.end(signal.SIGKILL)
    with serving(*arguments) as server, server.client() as client:
        assert client.post("/predict", content=ENCODED[0]).status_code == 200
        assert server.end() == 0
    files = list((tmp_path / "log").rglob("*.parquet"))
    assert sum(pq.read_table(file).num_rows for file in files) == 1
