"""Near copies: what counts as one, what does not, and that looking does not compare all with all."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from lightline.data.splits import EXCLUDED, TEST, TRAIN, VAL
from lightline.data.thumbnails import SIZE, thumbnails
from stages.split import near_copies
from stages.split.near_copies import find_near_copies


def picture(seed: int, size: int = 64) -> Image.Image:
    """Something with large and small shapes, as photos have."""
    generator = np.random.default_rng(seed)
    layers = [Image.fromarray(generator.integers(0, 256, (n, n, 3), dtype=np.uint8)) for n in (3, 6, 12)]
    grown = [np.asarray(layer.resize((size, size), Image.Resampling.BICUBIC), float) for layer in layers]
    return Image.fromarray(np.average(grown, axis=0, weights=[4, 2, 1]).astype(np.uint8))


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer)


def find(pictures: list[Image.Image], splits: list[int], digests: list[str] | None = None):
    made = np.array([*thumbnails([np.asarray(image) for image in pictures]), None], object)[:-1]
    names = np.array(digests or [str(number) for number in range(len(pictures))], object)
    return find_near_copies(made, np.array(splits, np.int8), names)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved again": jpeg,
    "smaller": lambda image: image.resize((40, 40), Image.Resampling.LANCZOS),
    "much larger": lambda image: image.resize((500, 400), Image.Resampling.BICUBIC),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "an edge cut off": lambda image: image.crop((1, 1, 64, 64)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others(change):
    others = [picture(seed) for seed in range(1, 200)]
    found = find([picture(0), *others, CHANGES[change](picture(0))], [TRAIN] * 200 + [TEST])
    assert (found.judged.tolist(), found.resembled.tolist()) == ([200], [0])
    assert 0 <= found.difference[0] <= 0.15


def test_different_pictures_are_no_copies():
    assert len(find([picture(seed) for seed in range(400)], [TRAIN, TEST] * 200).judged) == 0


@pytest.mark.parametrize("change", [lambda image: image.rotate(180), lambda image: image.transpose(Image.Transpose(0))])
def test_turned_or_mirrored_is_another_picture(change):
    assert len(find([picture(0), change(picture(0))], [TRAIN, TEST]).judged) == 0


def test_exact_copies_blank_and_tiny_pictures_and_those_left_out_do_not_count():
    blank = [Image.new("RGB", (32, 32), (value, value, value)) for value in (254, 255)]
    tiny = [picture(1, size=8), jpeg(picture(1, size=8))]
    pictures = [picture(0), picture(0), *blank, *tiny, picture(2), jpeg(picture(2))]
    splits = [TRAIN, TEST, TRAIN, TEST, TRAIN, TEST, EXCLUDED, TEST]
    digests = ["a", "a", *"bcdefg"]
    assert len(find(pictures, splits, digests).judged) == 0


def test_of_several_the_likest_is_named_and_the_stronger_split_is_judged():
    one = picture(0)
    pictures = [CHANGES["brighter"](one), jpeg(one), one, CHANGES["smaller"](one)]
    found = find(pictures, [TRAIN, VAL, TEST, TRAIN])
    assert dict(zip(found.judged.tolist(), found.resembled.tolist(), strict=True)).keys() == {1, 2}
    assert found.difference.tolist() == sorted(found.difference.tolist())
    assert found.resembled[found.judged == 2].tolist() != [0]


def test_nothing_to_compare_is_no_pair():
    assert len(find([], []).judged) == len(find([picture(0)], [TRAIN]).judged) == 0


def test_each_hash_is_compared_with_a_few_and_not_with_all(monkeypatch):
    compared = 0

    def counted(bits: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += len(bits)
        return count(bits)

    count = np.bitwise_count
    monkeypatch.setattr(near_copies.np, "bitwise_count", counted)
    rows = 4000
    grey = np.random.default_rng(0).integers(0, 256, (rows, SIZE), dtype=np.uint8)
    grey[: rows // 2] = grey[0]  # half of all are alike, which must not cost the square of their number
    made = np.array([line.tobytes() for line in grey], object)
    found = find_near_copies(made, np.arange(rows) % 2, np.arange(rows).astype(str).astype(object))
    assert len(found.judged) > 900
    assert compared <= 56 * 8 * rows < rows**2
