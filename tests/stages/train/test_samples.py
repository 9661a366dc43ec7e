"""Which validation images W&B is shown; that they reach it is in test_tracking.py."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from lightline.data.dataset import Dataset
from lightline.runtime.tracking import Run
from stages.train.fit import prepare
from stages.train.samples import SamplePredictions, log_extremes
from tests.support.tiny import CLASSES, tiny_params, tiny_task

pytestmark = pytest.mark.usefixtures("own_folder")


class Log(Run):
    """Keeps what would be sent."""

    def __init__(self):
        super().__init__(step=2)
        self.images: dict[str, tuple[np.ndarray, list[str], int]] = {}

    def log_images(self, name: str, images: np.ndarray, captions: list[str], step: int) -> None:
        self.images[name] = (images, captions, step)


def samples(**changes: Any) -> SamplePredictions:
    task = tiny_task(tiny_params(**changes))
    return SamplePredictions(Run(), prepare(task)[0], task.dataset)


@pytest.mark.parametrize("num_images", [1, 3, 7, 12])
def test_every_class_is_among_them_as_often_as_can_be(num_images: int):
    counts = Counter(samples(tracking__num_sample_images=num_images).labels.tolist())
    assert counts.total() == num_images
    assert max(counts.values()) - min(counts.get(label, 0) for label in range(len(CLASSES))) <= 1


def test_the_seed_chooses_them_and_their_labels_are_theirs():
    first, again, other = (samples(seed=seed, tracking__num_sample_images=6) for seed in (1, 1, 2))
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)
    assert (first.images.mean((1, 2)).argmax(1) == 2 - first.labels).all()  # a class is a colour


def test_more_than_there_are_and_none():
    assert len(samples(tracking__num_sample_images=1000).images) == 14  # all of val
    assert len(samples(tracking__num_sample_images=0).images) == 0


def test_the_worst_and_the_best_are_those_of_least_and_most_probability():
    task = tiny_task(tiny_params(tracking__num_sample_images=2))
    data, _ = prepare(task)
    labels = Dataset().labels[data.val.rows.numpy()]
    logits = np.zeros((len(labels), 3), np.float32)
    logits[4, (labels[4] + 1) % 3] = 9  # surely wrong
    logits[7, (labels[7] + 2) % 3] = 5
    logits[2, labels[2]], logits[9, labels[9]] = 9, 5  # surely right
    log = Log()
    log_extremes(log, data, logits, labels, list(CLASSES))
    for name, chosen in (("val_worst", [4, 7]), ("val_best", [2, 9])):
        images, captions, step = log.images[name]
        assert np.array_equal(images, data.val.images_at(data.val.rows.new_tensor(chosen)).numpy())
        assert captions == [f"{CLASSES[logits[row].argmax()]} / {CLASSES[labels[row]]}" for row in chosen]
        assert step == 3
    assert log.step == 3


def test_without_images_there_is_nothing_to_show():
    data, _ = prepare(tiny_task(tiny_params(tracking__num_sample_images=0)))
    log = Log()
    log_extremes(log, data, np.zeros((13, 3), np.float32), np.zeros(13, np.int32), list(CLASSES))
    assert log.images == {}
