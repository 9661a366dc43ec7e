"""The page in a real browser: a picture is dropped on it, and the answer is seen."""

import base64
import json

import onnx
import pytest

from lightline_predict import images
from lightline_predict.classifier import Classifier
from tests.support.browser import CHROMIUM, Tab, browser
from tests.support.prediction_server import serving
from tests.support.samples import random_pixels

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
TOKEN = "t0ken-of-the-tests"
PIXELS = random_pixels(16, 16, 3)
DROP = """
(() => {
  const bytes = Uint8Array.from(atob(%s), letter => letter.charCodeAt(0)), data = new DataTransfer();
  data.items.add(new File([bytes], "a.png", {type: "image/png"}));
  const settings = {dataTransfer: data, bubbles: true, cancelable: true};
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", settings));
})()
"""


@pytest.fixture(scope="module")
def model_file(exported):
    return exported("cnn", crop_pct=0.9)[1]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def tab(chromium) -> Tab:
    chromium.requests.clear()
    chromium.complaints.clear()
    return chromium


def drop(tab: Tab, encoded: bytes) -> str:
    """Drop a picture on the page; gives what it says once it has an answer."""
    tab.run(DROP % json.dumps(base64.b64encode(encoded).decode()))
    while (said := tab.run("document.getElementById('answer').textContent")) in ("", "…"):
        pass
    return said


@pytest.fixture(scope="module")
def server(model_file):
    with serving(model_file) as server:
        yield server


def test_a_picture_is_dropped_and_its_answer_seen(tab, server, model_file):
    answer = Classifier(model_file, 1).classify(images.encode(PIXELS))
    tab.show(server.url + "/")
    assert drop(tab, images.encode(PIXELS)) == f"{answer.name}, {100 * answer.confidence:.1f} % sure."
    shown = tab.run("[...document.querySelectorAll('#classes li')].map(item => item.textContent)")
    assert shown[0] == f"{answer.name}: {100 * answer.confidence:.1f} %"
    assert len(shown) == 3
    assert tab.run("document.getElementById('picture').naturalWidth") == 16
    assert tab.run("document.getElementById('model').textContent") == "model " + "f" * 64
    assert tab.requests == [f"{server.url}/", f"{server.url}/predict"]
    assert tab.complaints == []
    assert drop(tab, b"text").startswith("the image cannot be used: not an image in a known format")
    assert tab.run("document.querySelectorAll('#classes li').length") == 0


def test_it_says_where_it_is_not_sure(tab, model_file, tmp_path):
    model = onnx.load(model_file)
    for node in model.graph.node:  # an answer that no confidence is enough for
        for place, name in enumerate(node.output):
            if name == "accepted":
                node.output[place] = "enough"
    model.graph.node.append(onnx.helper.make_node("Xor", ["enough", "enough"], ["accepted"]))
    onnx.save(model, tmp_path / "unsure.onnx")
    name = Classifier(model_file, 1).classify(images.encode(PIXELS)).name
    with serving(tmp_path / "unsure.onnx") as server:
        tab.show(server.url + "/")
        assert drop(tab, images.encode(PIXELS)).startswith(f"Not sure: likeliest {name}, ")


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_telephone_nothing_is_cut_off_and_text_stands_out(tab, server, dark):
    tab.show(server.url + "/", width=360, dark=dark)
    drop(tab, images.encode(random_pixels(900, 1200, 3)))
    assert tab.run("document.documentElement.scrollWidth") <= 360
    colours = tab.run("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    light = [sum(map(int, colour[4:-1].split(", "))) > 380 for colour in colours]
    assert light == [dark, not dark]


def test_a_token_is_asked_for(tab, model_file):
    with serving(model_file, LIGHTLINE_TOKEN=TOKEN) as server:
        tab.show(server.url + "/")
        assert drop(tab, images.encode(PIXELS)) == "This server asks for a token: Authorization: Bearer TOKEN."
        assert tab.run("document.getElementById('ask').hidden") is False
        tab.run(f"document.getElementById('token').value = '{TOKEN}'")
        assert drop(tab, images.encode(PIXELS)).endswith(" % sure.")
