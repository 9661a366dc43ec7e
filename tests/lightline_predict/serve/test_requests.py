"""What the server answers, and what it refuses."""

import base64
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from lightline_predict import images
from lightline_predict.classifier import Classifier
from tests.support.prediction_server import Serving, error, serving
from tests.support.samples import CLASSES, random_pixels

PICTURES = [random_pixels(*size, 3, seed=seed) for seed, size in enumerate([(16, 16), (16, 16), (9, 30), (60, 50)])]
ENCODED = [images.encode(pixels) for pixels in PICTURES]


@pytest.fixture(scope="module")
def model_file(exported):
    return exported("cnn", crop_pct=0.9)[1]


@pytest.fixture(scope="module")
def server(model_file):
    with serving(model_file, "--max-body", 1, "--max-images", 5, "--max-pixels", 1, "--delay", 20) as server:
        yield server


@pytest.fixture
def client(server: Serving):
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def expected(model_file) -> list[dict]:
    model = Classifier(model_file, 1)
    answers = model(PICTURES)
    return [
        {
            "class": name,
            "confidence": float(row.max()),
            "accepted": bool(accepted),
            "set": [other for other, inside in zip(CLASSES, chosen, strict=True) if inside],
            "probabilities": dict(zip(CLASSES, map(float, row), strict=True)),
            "model": "f" * 64,
        }
        for name, row, accepted, chosen in zip(
            answers.classes, answers.probabilities, answers.accepted, answers.set, strict=True
        )
    ]


def equal(answer: dict, wanted: dict) -> None:
    near = pytest.approx(wanted["probabilities"], abs=1e-5)
    assert answer["probabilities"] == near
    assert answer["confidence"] == pytest.approx(wanted["confidence"], abs=1e-5)
    rest = ("class", "accepted", "set", "model")
    assert [answer[key] for key in rest] == [wanted[key] for key in rest]


def test_an_image_is_answered_as_the_classifier_answers_in_each_form(client, expected):
    based = [base64.b64encode(encoded).decode() for encoded in ENCODED]
    for number, wanted in enumerate(expected):
        equal(client.post("/predict", content=ENCODED[number]).json(), wanted)
        equal(client.post("/predict", content=ENCODED[number], headers={"content-type": "image/png"}).json(), wanted)
        equal(client.post("/predict", files={"a": ENCODED[number]}).json(), wanted)
        equal(client.post("/predict", json={"image": based[number]}).json(), wanted)
    many = client.post("/predict", files=[("a", encoded) for encoded in ENCODED], data={"note": "no image"}).json()
    listed = client.post("/predict", json={"images": based}).json()
    for answers in (many, listed):
        for answer, wanted in zip(answers, expected, strict=True):
            equal(answer, wanted)


def test_what_comes_at_once_is_answered_together_and_alike(server, expected):
    def ask(number: int) -> dict:
        with server.client() as client:
            return client.post("/predict", content=ENCODED[number % 4]).json()

    with ThreadPoolExecutor(12) as threads:
        for number, answer in enumerate(threads.map(ask, range(48))):
            equal(answer, expected[number % 4])
    with server.client() as client:
        said = client.get("/metrics").text
        runs, single = (float(re.search(pattern, said)[1]) for pattern in (
            r"lightline_batch_size_count (\S+)", r'lightline_batch_size_bucket{le="1.0"} (\S+)'))  # fmt: skip
    assert single < runs


@pytest.mark.parametrize("line_ends", [b"\r\n", b"\n--\r\n--", b""])
def test_bytes_in_a_form_stay_as_they_are(client, expected, line_ends):
    body = b'--cut\r\nContent-Disposition: form-data; name="a"; filename="x.png"\r\n\r\n%b\r\n--cut--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=cut"}
    # A PNG may be followed by anything.
    equal(client.post("/predict", content=body % (ENCODED[0] + line_ends), headers=headers).json(), expected[0])


JSON, FORM = {"content-type": "application/json"}, {"content-type": "multipart/form-data; boundary=cut"}
REFUSED = [
    ({}, b"text", 422, "the image cannot be used: not an image in a known format (JPEG, PNG"),
    ({}, ENCODED[3][:300], 422, "the image cannot be used: cannot be decoded"),
    ({}, b"", 400, "There is no image in the body: send an image as it is"),
    ({"content-type": "text/html"}, b"x", 415, "A body of text/html is not understood: send an image as it is"),
    (JSON, b"{", 400, "The body is no JSON: "),
    (JSON, b"[" * 100_000, 400, "The body is no JSON: "),
    (JSON, b"[]", 400, "The JSON has no image: "),
    (JSON, b'{"image": 3}', 400, "The images in the JSON are no base64: send"),
    (JSON, b'{"image": "a!"}', 400, "The images in the JSON are no base64: "),
    (JSON, b'{"images": []}', 400, "There is no image in the body"),
    (JSON, json.dumps({"images": ["aaaa"] * 6}).encode(), 413, "6 images are more than 5 (--max-images)"),
    ({"content-type": "multipart/form-data"}, b"x", 400, "names no boundary"),
    (FORM, b"x", 400, "cut short, or not cut by the boundary"),
    (FORM, b"--cut\r\nA: b\r\n--cut--", 400, "has no end of its headers"),
    (FORM, b'--cut\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n--cut--', 400, "There is no image"),
    (FORM, b"--cut\r\ncontent-disposition: form-data; filename*=idna''x%ff\r\n\r\nb\r\n--cut--", 400, "cannot be read"),
    (FORM, b"--cut\r\ncontent-disposition: form-data; filename*=unicode-escape''\\ud800\r\n\r\nb\r\n--cut--", 422,
     "image 1 (\\ud800)"),
    ({"content-type": f"multipart/form-data; boundary*{'9' * 4400}*=x"}, b"x", 400, "names no boundary"),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "body", "status", "sentence"), REFUSED)
def test_what_is_no_image_is_refused_with_a_sentence(client, headers, body, status, sentence):
    found, said = error(client.post("/predict", content=body, headers=headers))
    assert found == status
    assert sentence in said


def test_the_image_that_is_none_is_named_among_others(client):
    files = [("a", ("first.png", ENCODED[0])), ("a", ("second.png", b"text"))]
    status, said = error(client.post("/predict", files=files))
    assert status == 422
    assert said.startswith("image 2 (second.png) cannot be used: not an image")


def test_a_bomb_is_refused_before_it_is_decoded(client):
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, "PNG")
    status, said = error(client.post("/predict", content=buffer.getvalue()))
    assert status == 422
    assert "30000×30000 pixels are more than --max-pixels = 1000000" in said


def test_a_body_that_is_too_large_is_refused_by_its_length_and_while_it_comes(client):
    sentence = "The body is larger than 1 MiB (--max-body); send fewer or smaller images."
    assert error(client.post("/predict", content=bytes(2**20 + 1))) == (413, sentence)
    chunks = (bytes(2**16) for _ in range(17))
    assert error(client.post("/predict", content=chunks)) == (413, sentence)
    assert client.post("/predict", content=ENCODED[0]).status_code == 200


def test_what_is_not_there(client):
    assert error(client.get("/nothing"))[0] == 404
    assert error(client.get("/predict"))[0] == 405


def test_health_metrics_and_headers(client):
    for path in ("/health/live", "/v2/health/live"):
        assert client.get(path).json() == {"live": True}
    for path in ("/health/ready", "/v2/health/ready"):
        assert client.get(path).json() == {"ready": True}
    client.post("/predict", content=ENCODED[0])
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'lightline_requests_total{route="predict",status="200"} ' in response.text
    assert f'lightline_model_info{{fingerprint="{"f" * 64}",origin="' in response.text
    assert re.search(r'lightline_answers_total{accepted="yes",class="(cat|dog|größe)"} ', response.text)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_without_a_token_names_that_lead_here_are_refused(client):
    status, said = error(client.post("/predict", content=ENCODED[0], headers={"host": "evil.example:80"}))
    assert status == 421
    assert "answers to localhost alone" in said
    for host in ("localhost", "127.0.0.2:8000", "[::1]:8000"):
        assert client.post("/predict", content=ENCODED[0], headers={"host": host}).status_code == 200
