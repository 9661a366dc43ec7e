"""A model file that has been tried before it answers anybody."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightline_predict.classifier import Classifier
from lightline_predict.errors import ModelFileError
from lightline_predict.images import UnusableImageError, check

_SIZES = ((1, 1), (8, 8), (33, 57), (224, 224))  # of the noise that every model is tried on
_QUICK = 0.0015  # seconds of one image


@dataclass(frozen=True)
class Loaded:
    """A model that answers.

    fingerprint: the model file's. origin: where it came from, for a person. outputs: name → type and shape of one
    image's. examples: the class that it gives each of the examples.
    """

    classifier: Classifier
    fingerprint: str
    origin: str
    outputs: dict[str, tuple[np.dtype, tuple[int, ...]]]
    examples: list[str]


def load(path: Path, origin: str, threads: int, examples: Sequence[bytes]) -> Loaded:
    """Open a model file and try it on noise of several sizes, alone and two together, and on encoded images.

    threads: 0 takes all cores, or one where an answer is so quick that handing parts of it to others costs more.

    Raises:
        ModelFileError: it cannot be opened, fails, or gives what are no probabilities.
    """
    classifier = Classifier(path, threads)
    reading = classifier.reading
    noise = np.random.default_rng(0)
    outputs: dict[str, np.ndarray] = {}
    for size in _SIZES:
        for batch in (1, 2):
            outputs = _tried(classifier, noise.integers(0, 256, (batch, *size, 3), dtype=np.uint8), path)
    if threads == 0 and _seconds(classifier) < _QUICK:
        classifier = Classifier(path, 1)
    named = []
    for encoded in examples:
        try:
            pixels = check(encoded, reading.max_pixels, reading.bit_depth, keep=False).pixels
        except UnusableImageError as error:
            raise ModelFileError(f"{path} cannot be tried on the examples, of which one is none: {error}.") from None
        named.append(classifier.classes[_tried(classifier, pixels[None], path)["probabilities"][0].argmax()])
    shapes = {name: (given.dtype, given.shape[1:]) for name, given in outputs.items()}
    return Loaded(classifier, classifier.metadata.get("fingerprint", ""), origin, shapes, named)


def agreement(new: Loaded, old: Loaded) -> str:
    """Say on how many of the examples two models agree."""
    if not new.examples:
        return "there are no examples (--examples) to compare them by"
    same = sum(one == other for one, other in zip(new.examples, old.examples, strict=True))
    return f"the two agree on {same} of {len(new.examples)} examples"


def _seconds(classifier: Classifier) -> float:
    pixels, took = np.zeros((1, 33, 57, 3), np.uint8), []
    for _ in range(3):
        started = time.perf_counter()
        classifier.outputs(pixels)
        took.append(time.perf_counter() - started)
    return min(took)


def _tried(classifier: Classifier, pixels: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    try:
        outputs = classifier.outputs(pixels)
    except Exception as error:  # onnxruntime's own classes share no base
        raise ModelFileError(f"{path} fails on pixels {list(pixels.shape)}: {str(error).splitlines()[0]}") from error
    given = outputs["probabilities"]
    right = given.shape == (len(pixels), len(classifier.classes)) and np.isfinite(given).all()
    if not right or np.abs(given.sum(1) - 1).max() > 1e-3:
        raise ModelFileError(f"{path} gives what are no probabilities for pixels {list(pixels.shape)}.")
    return outputs
