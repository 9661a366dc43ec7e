"""The embedded digits are those of scikit-learn."""

import io
from collections import Counter

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from lightline.sources.digits import Digits


def test_the_digits_are_those_of_scikit_learn():
    expected = load_digits()
    images = list(Digits().images())
    assert [int(image.class_name) for image in images] == expected.target.tolist()
    assert len({image.id for image in images}) == 1797
    for number in (0, 1000, 1796):
        pixels = np.asarray(Image.open(io.BytesIO(images[number].read())))
        np.testing.assert_array_equal(pixels, (expected.images[number] * 255 // 16).astype(np.uint8))


def test_every_class_occurs():
    assert set(Counter(image.class_name for image in Digits().images())) == set(Digits.classes)
