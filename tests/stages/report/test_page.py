"""The page in a real browser: opened from disk, it asks for nothing, complains of nothing, and can be used."""

import csv
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.report.page import render
from tests.support.browser import CHROMIUM, Tab, browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
EVIL = "<img src=x onerror=alert(1)></script><b>&amp;\u2028"
CLASSES = ["ant", EVIL, "bee \"q\", 'r'"]


def picture(number: int) -> str:
    import base64

    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), 40 * (number % 6), np.uint8)).save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode()


def made_up(num_images: int = 130) -> dict[str, Any]:
    """Images of three classes, every fifth answered wrongly, every seventh not accepted."""
    labels = [number % 3 for number in range(num_images)]
    predicted = [(label + (number % 5 == 0)) % 3 for number, label in enumerate(labels)]
    confidence = [0.5 + 0.4 * number / num_images for number in range(num_images)]
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (labels, predicted), 1)
    return {
        "classes": CLASSES,
        "pixelated": True,
        "images": {
            "id": [f"{EVIL}/{number}.jpg" for number in range(num_images)],
            "thumb": [picture(number) for number in range(num_images)],
            "label": labels,
            "predicted": predicted,
            "confidence": confidence,
            "accepted": [int(number % 7 != 0) for number in range(num_images)],
            "top": [[[answer, 0.9], [(answer + 1) % 3, 0.1]] for answer in predicted],
            "set": [[answer] for answer in predicted],
            "set_size": [1] * num_images,
            "suspect": [0.1 if number % 50 == 0 else None for number in range(num_images)],
            "place": [[number * 7 % 1000, number * 13 % 1000] for number in range(num_images)],
            "near": [[0, 1]] * num_images,
        },
        "train": {"id": ["t0", EVIL], "label": [0, 1], "thumb": [picture(1), picture(2)], "odd": [1]},
        "slices": {EVIL: {"values": ["x", EVIL], "of": [number % 2 for number in range(num_images)]}},
        "confusion": {"counts": counts.tolist()},
        "heat": {"maps": {"5": [1, 2, "AP8="]}, "crop": 0.8, "told": "No map."},
    }


TEXTS: dict[str, Any] = {
    "title": EVIL, "headline": "Right.", "sure": "Sure.", "shortfalls": [EVIL], "confused": EVIL,
    "accepts": "From 0.5 on.",
    "classes": [{"class": name, "images": 1, "precision": 1, "recall": 1, "f1": 1, "number": number, "answered": 1,
                 "wrong": 0} for number, name in enumerate(CLASSES)],
    "slices_told": "None.", "sampled": "All.", "map_told": "Map.", "trained": "Yes.",
    "reliability": "", "risk_coverage": "",
    "slices": [{"by": EVIL, "value": EVIL, "images": 1, "accuracy": 1, "lower": 0, "upper": 1, "ece": 0,
                "p_value": ""}],
    "curves": [], "facts": [("a", EVIL)], "sizes": [{"class": EVIL, "train": 1, "val": 1, "test": 1}],
    "lists": [("Copies", ["id"], [[EVIL]], 1)], "latency": [], "lineage": [("x", EVIL)], "changed": [("y", EVIL, EVIL)],
    "commands": EVIL,
}  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(TEXTS, made_up()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("browser")
    with browser(folder) as tab:
        yield tab, folder


@pytest.fixture
def tab(page, chromium) -> Tab:
    tab, _ = chromium
    tab.requests.clear()
    tab.complaints.clear()
    tab.open(page)
    return tab


def count(tab: Tab) -> str:
    return tab.run("document.getElementById('count').textContent")


def test_it_asks_for_nothing_and_complains_of_nothing(tab, page):
    tab.run("new Promise(done => setTimeout(done, 300))")
    assert tab.requests == [page.as_uri()]
    assert tab.complaints == []
    assert count(tab) == "26 of 130 images: wrong, the surest first"
    assert tab.run("[...document.querySelectorAll('.card img')].slice(0, 3).every(image => image.naturalWidth > 0)")


def test_names_of_classes_and_files_stay_text(tab):
    assert tab.run("document.querySelectorAll('img[src=x], b').length") == 0
    assert tab.run("document.querySelector('h1').textContent") == EVIL
    names = tab.run("[...document.querySelectorAll('#confusion th[scope=row]')].map(cell => cell.textContent)")
    assert names == CLASSES
    tab.run("document.querySelector('.card').click()")
    assert tab.run("document.getElementById('detail-title').textContent").startswith(EVIL)
    assert tab.run("document.querySelectorAll('img[src=x], b').length") == 0


def test_a_cell_of_the_confusion_matrix_shows_its_images(tab):
    tab.run("document.querySelectorAll('#confusion td button')[1].click()")
    shown = tab.run("[...document.querySelectorAll('.card')].map(card => Number(card.dataset.image))")
    assert shown == [number for number in range(129, -1, -1) if number % 3 == 0 and number % 5 == 0], "surest first"
    assert count(tab).startswith("9 of 130 images: all; is ant; answered <img")
    assert tab.run("document.activeElement.dataset.image") == str(shown[0]), "the keyboard goes on there"
    assert tab.run("document.getElementById('by-answer').value") == "1"


def test_galleries_classes_and_slices_filter(tab):
    tab.run("document.querySelector('[data-gallery=rejected]').click()")
    assert count(tab).startswith("19 of 130 images: not accepted")
    tab.run("document.querySelector('[data-gallery=suspects]').click()")
    assert count(tab).startswith("3 of 130")
    tab.run("document.getElementById('reset').click()")
    assert tab.run("document.querySelectorAll('.card').length") == 60
    tab.run("document.getElementById('more').click()")
    assert tab.run("document.querySelectorAll('.card').length") == 120
    tab.run("document.querySelector('button[data-by]').click()")
    assert count(tab).startswith("65 of 130")
    tab.run(
        "{const box = document.getElementById('by-class'); box.value = '2'; box.dispatchEvent(new Event('change'))}"
    )
    assert count(tab).startswith(f"{sum(number % 2 == 1 and number % 3 == 2 for number in range(130))} of 130")


def test_what_is_marked_is_a_file_of_corrections(tab, chromium):
    _, folder = chromium
    for button, image in (("mark", 0), ("drop", 5)):
        tab.run("document.getElementById('reset').click()")
        tab.run(f"document.querySelector('[data-image=\"{image}\"]').click()")
        assert tab.run("document.getElementById('detail').open")
        if button == "mark":  # nothing is preset, least of all the model's answer
            tab.run("document.getElementById('mark').click()")
            assert tab.run("document.activeElement.id") == "right-label"
            tab.run("document.getElementById('right-label').value = '1'")
        tab.run(f"document.getElementById('{button}').click()")
    assert tab.run("document.getElementById('marked').textContent") == "2 images marked."
    tab.run("document.getElementById('download').click()")
    path, end = folder / "corrections.csv", time.monotonic() + 20
    while not path.exists() and time.monotonic() < end:
        tab.run("1")
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    assert [(row["label"], row["split"]) for row in rows] == [(EVIL, "test"), ("drop", "test")]
    assert rows[0]["id"] == f"{EVIL}/0.jpg"


def test_previous_and_next_go_through_the_gallery(tab):
    tab.run("document.getElementById('reset').click(); document.querySelector('[data-image=\"5\"]').click()")
    tab.run("document.getElementById('next').click()")
    tab.press("ArrowRight")
    assert tab.run("state.open") == 7
    tab.run("document.getElementById('previous').click()")
    assert tab.run("state.open") == 6
    assert tab.run("document.getElementById('detail').open")


def test_where_the_network_looked_lies_over_the_image(tab):
    tab.run("document.getElementById('reset').click(); document.querySelector('[data-image=\"5\"]').click()")
    tab.run("document.getElementById('show-heat').click()")
    assert tab.run("getComputedStyle(document.getElementById('heat')).display") == "block"
    part = tab.run("document.getElementById('heat').clientWidth / document.getElementById('large').clientHeight")
    assert part == pytest.approx(0.8, abs=0.02)
    tab.run("document.getElementById('close').click(); document.querySelector('[data-image=\"6\"]').click()")
    assert tab.run("document.getElementById('heat-told').textContent") == "No map."


def test_the_keyboard_alone_opens_marks_and_closes(tab):
    tab.run("document.querySelector('[data-gallery=all]').focus()")
    for _ in range(40):
        tab.press("Tab")
        if tab.run("document.activeElement.classList.contains('card')"):
            break
    tab.press("Enter")
    assert tab.run("document.getElementById('detail').open")
    tab.press("Escape")
    assert not tab.run("document.getElementById('detail').open")
    assert tab.run("document.activeElement.classList.contains('card')")
    tab.run("document.getElementById('places').focus()")
    tab.press("ArrowRight")
    assert tab.run("document.getElementById('hover').style.display") == "block"
    tab.press("Enter")
    assert tab.run("document.getElementById('detail').open")


@pytest.mark.parametrize("width", [375, 1440])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_its_window_in_light_and_dark(chromium, page, width, dark):
    tab, folder = chromium
    tab.open(page, width, dark)
    assert tab.run("document.documentElement.scrollWidth") <= width
    back, text = tab.run("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    brightness = [sum(map(int, colour[4:-1].split(","))) for colour in (back, text)]
    assert (brightness[0] < brightness[1]) == dark
    tab.screenshot(folder / f"{width}-{dark}.png")
    with Image.open(folder / f"{width}-{dark}.png") as shot:
        assert len(np.unique(np.asarray(shot.convert("RGB").resize((40, 40))).reshape(-1, 3), axis=0)) > 20


def test_equal_findings_make_equal_bytes(page):
    assert page.read_text(encoding="utf-8") == render(TEXTS, made_up())
