"""The Open Inference Protocol, version 2."""

import base64
import json
import shutil
import subprocess

import numpy as np
import pytest

from lightline_predict.classifier import Classifier
from tests.support import ROOT
from tests.support.prediction_server import error, serving
from tests.support.samples import random_pixels

PICTURES = [random_pixels(*size, 3, seed=seed) for seed, size in enumerate([(16, 16), (16, 16), (9, 30)])]
INFER = "/v2/models/classifier/infer"


@pytest.fixture(scope="module")
def model_file(exported):
    return exported("cnn", crop_pct=0.9)[1]


@pytest.fixture(scope="module")
def client(model_file):
    with serving(model_file, "--max-images", 5, "--max-pixels", 1) as server, server.client() as client:
        yield client


def infer(pixels: np.ndarray, **more: object) -> dict:
    image = {"name": "image", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.ravel().tolist()}
    return {"inputs": [image], **more}


def test_the_inference_protocol_answers_what_the_file_gives(client, model_file):
    stack = np.stack(PICTURES[:2])
    wanted = Classifier(model_file, 1).outputs(stack)
    said = client.post(INFER, json=infer(stack, id="7")).json()
    assert (said["model_name"], said["model_version"], said["id"]) == ("classifier", "f" * 64, "7")
    odd = client.post(
        INFER, content=json.dumps(infer(stack, id="\ud800")), headers={"content-type": "application/json"}
    )
    assert odd.json()["id"] == "\\ud800"
    described = client.get("/v2/models/classifier").json()
    assert described["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
    assert [output["name"] for output in said["outputs"]] == list(wanted)
    for output, told in zip(said["outputs"], described["outputs"], strict=True):
        values = np.array(output["data"]).reshape(output["shape"])
        np.testing.assert_allclose(values, wanted[output["name"]], atol=1e-5)
        assert told == {"name": output["name"], "datatype": output["datatype"], "shape": [-1, *output["shape"][1:]]}
    one = client.post("/v2/models/classifier/versions/" + "f" * 64 + "/infer",
                      json=infer(stack, outputs=[{"name": "accepted"}])).json()  # fmt: skip
    assert one["outputs"] == [
        {"name": "accepted", "datatype": "BOOL", "shape": [2], "data": wanted["accepted"].tolist()}
    ]


def test_pixels_may_be_nested_lists_or_bytes_behind_the_json(client):
    pixels = PICTURES[2][None]
    flat = client.post(INFER, json=infer(pixels)).json()
    nested = infer(pixels)
    nested["inputs"][0]["data"] = pixels.tolist()
    binary = infer(pixels)
    del binary["inputs"][0]["data"]
    binary["inputs"][0]["parameters"] = {"binary_data_size": pixels.size}
    head = json.dumps(binary).encode()
    headers = {"inference-header-content-length": str(len(head))}
    assert client.post(INFER, json=nested).json() == flat
    assert client.post(INFER, content=head + pixels.tobytes(), headers=headers).json() == flat


def image(shape: list[int], data: object = None, datatype: str = "UINT8") -> dict:
    given = {"name": "image", "datatype": datatype, "shape": shape}
    return {"inputs": [given if data is None else given | {"data": data}]}


V2_REFUSED = [
    ({"inputs": []}, 400, 'one input "image" of datatype UINT8'),
    ([], 400, 'one input "image" of datatype UINT8'),
    (image([1, 1, 1, 3], datatype="FP32"), 400, "this one's is ('image', 'FP32')"),
    (image([1, -1, 1, 3]), 400, "[1, -1, 1, 3]"),
    (image([1, 1, 1, 3], [1, 2]), 400, "has 2 values"),
    (image([1, 1, 1, 3], [1, 2, 256]), 400, "0 to 255"),
    (image([1, 1, 1, 3], [1, 2, 2.5]), 400, "0 to 255"),
    (image([1, 1, 1, 3], [1, [2], 3]), 400, "0 to 255"),
    (image([1, 1, 1, 3]), 400, "0 to 255"),
    (image([6, 1, 1, 3], [0] * 18), 413, "--max-images"),
    (image([1, 10**4, 10**4, 3], []), 413, "--max-pixels"),
    (infer(PICTURES[0][None], outputs=[{"name": "depth"}]), 400, "There is no output 'depth'; there are logits"),
    (infer(PICTURES[0][None], outputs=[{"name": [1]}]), 400, "There is no output '[1]'; there are logits"),
    (infer(PICTURES[0][None], outputs=7), 400, 'one input "image" of datatype UINT8'),
    ({"inputs": [image([1, 1, 1, 3], [1, 2, 3])["inputs"][0] | {"parameters": 5}]}, 400, "UINT8"),
]


@pytest.mark.parametrize(("body", "status", "sentence"), V2_REFUSED)
def test_an_infer_request_that_is_wrong_is_told_what(client, body, status, sentence):
    found, said = error(client.post(INFER, json=body))
    assert found == status
    assert sentence in said


def test_another_model_or_version_is_not_there(client):
    for path in ("/v2/models/other", "/v2/models/classifier/versions/1", "/v2/models/other/ready"):
        status, said = error(client.get(path))
        assert status == 404
        assert f"there is classifier, version {'f' * 64}" in said


def test_onnxruntime_web_answers_as_the_server_does(client, model_file):
    web = ROOT / "tests/support/onnxruntime_web.js"
    if shutil.which("node") is None:
        pytest.skip("needs node on PATH")
    if subprocess.run(
        ["node", "-e", "require('onnxruntime-web')"], cwd=web.parent, check=False, capture_output=True
    ).returncode:
        pytest.skip("needs onnxruntime-web: `npm install --no-save onnxruntime-web` in the repository, once")
    asked = [{"shape": [1, *pixels.shape], "data": base64.b64encode(pixels).decode()} for pixels in PICTURES]
    done = subprocess.run(["node", str(web), str(model_file)], input=json.dumps(asked), check=True, capture_output=True,
                          text=True, cwd=ROOT)  # fmt: skip
    for pixels, logits in zip(PICTURES, json.loads(done.stdout), strict=True):
        said = client.post(INFER, json=infer(pixels[None], outputs=[{"name": "logits"}])).json()
        assert said["outputs"][0]["data"] == pytest.approx(logits, abs=1e-4)


def test_a_length_without_end_is_no_length(client):
    headers = {"inference-header-content-length": "9" * 5000}
    assert error(client.post(INFER, content=b"{}", headers=headers)) == (
        400,
        "Inference-Header-Content-Length is no length within the body.",
    )


def test_an_output_that_is_asked_for_twice_is_given_once(client):
    asked = infer(PICTURES[0][None], outputs=[{"name": "confidence"}] * 3)
    assert [one["name"] for one in client.post(INFER, json=asked).json()["outputs"]] == ["confidence"]
