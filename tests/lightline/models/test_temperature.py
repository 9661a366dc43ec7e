"""The temperature makes probabilities that mean what they say, and is not there where none can."""

import numpy as np
import pytest

from lightline.models.temperature import fit_temperature, probabilities


def _made_up(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that know something of the labels, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(5, size=images)
    logits = rng.normal(size=(images, 5))
    logits[np.arange(images), labels] += rng.exponential(2.0, size=images)
    return logits, labels


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0, 40.0])
def test_the_temperature_undoes_a_scale(scale: float):
    logits, labels = _made_up(2_000, 0)
    plain = fit_temperature(logits, labels)
    assert plain is not None
    assert fit_temperature(logits * scale, labels) == pytest.approx(plain * scale, rel=1e-3)


def test_the_temperature_has_the_smallest_loss():
    logits, labels = _made_up(500, 1)
    logits *= 5
    best = fit_temperature(logits, labels)
    assert best is not None
    of_label = [
        probabilities(logits, temperature)[np.arange(500), labels] for temperature in (best, best * 1.02, best / 1.02)
    ]
    losses = [-np.log(shares).mean() for shares in of_label]
    assert losses[0] == min(losses)


def test_there_is_no_temperature_for_a_perfect_or_a_clueless_model():
    labels = np.random.default_rng(2).integers(4, size=50)
    assert fit_temperature(np.eye(4)[labels], labels) is None
    assert fit_temperature(-np.eye(4)[labels], labels) is None
    assert fit_temperature(np.zeros((50, 4)), labels) is None
