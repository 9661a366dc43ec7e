"""Logits that a model might give, and how they are judged."""

import numpy as np

from lightline.config.params import Evaluate
from stages.test.evaluate import Evaluation, evaluate

SETTINGS = Evaluate(
    batch_size=8,
    calibration_bins=10,
    bootstrap_samples=500,
    confidence=0.95,
    num_mistakes=4,
    metrics=[],
    slices=[],
    min_slice=20,
)
CLASSES = ["ant", "bee", "a $5 cow, with a comma", "dog", "eel", "fox"]
NOTHING = (np.zeros((0, 0), np.float32), np.zeros(0, np.int32))


def made_up(num_images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of an overconfident classifier, and labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, len(CLASSES), num_images).astype(np.int32)
    logits = generator.normal(size=(num_images, len(CLASSES)))
    logits[np.arange(num_images), labels] += 1.5
    return (4 * logits).astype(np.float32), labels


def made_up_evaluation() -> Evaluation:
    return evaluate(*made_up(300, 0), made_up(300, 1), SETTINGS, CLASSES)
