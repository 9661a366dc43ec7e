"""A model file of Lightline, used: onnxruntime alone, no torch.

from lightline_predict import Classifier
answers = Classifier("models/model.onnx")(["cat.jpg", "dog.png"])
"""

import json
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from PIL import Image

from lightline_predict import images
from lightline_predict.errors import ModelFileError
from lightline_predict.modes import mode_of, why_not

CONTRACT = 2  # 1: logits and probabilities alone, the plain softmax

# Bytes of pixels from which on a session gives back what a run took, 30 bytes a pixel: else it keeps the most for good.
_GIVEN_BACK = 2**24
_AT_ONCE = 64  # images of one size that are answered in one run: more take memory and no less time

Picture = str | PathLike[str] | bytes | bytearray | memoryview | np.ndarray | Image.Image
_SINGLE = (str, PathLike, bytes, bytearray, memoryview, Image.Image)


class Answer(NamedTuple):
    """The likeliest class, its probability, and whether that is sure enough to be accepted."""

    name: str
    confidence: float
    accepted: bool


@dataclass(frozen=True)
class Answers:
    """What a model file says of images.

    Attributes:
        classes: the likeliest class of each, by name.
        probabilities: float32 [images, classes], in the order of `Classifier.classes`.
        accepted: bool [images], whether that is sure enough; false means "I don't know".
        set: bool [images, classes], the classes that each may well be, the likeliest among them.
        embedding: float32 [images, features], where the file was exported with export.embedding.
    """

    classes: list[str]
    probabilities: np.ndarray
    accepted: np.ndarray
    set: np.ndarray
    embedding: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.classes)


class Classifier:
    """A model file of Lightline's contract.

    Threads may share one. It can be pickled, as its path: a process that takes it opens the file again.

    Attributes:
        classes: the class names, in output order.
        reading: how image files become the pixels that it takes.
        metadata: what else the file says of itself: fingerprint, preprocessing, decision, metrics, params, dataset,
            lightline, contract.
    """

    def __init__(self, path: str | PathLike[str], num_threads: int = 0):
        """Open a model file; num_threads: 0 takes all cores, 1 computes in the thread that asks.

        Raises:
            ModelFileError: the file is missing, damaged or not of the contract.
            ValueError: num_threads is negative.
        """
        if num_threads < 0:
            raise ValueError(f"num_threads is {num_threads}; 0 takes all cores, a positive number so many threads")
        self._opened = ((path := Path(path)).absolute(), num_threads)
        if not stat.S_ISREG(mode_of(path)):
            raise ModelFileError(f"{path} {why_not(path)}. Lightline's pipeline writes models/model.onnx.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3  # errors
        # Threads that spin for longer take the cores from whatever else wants them, and gain nothing within a run.
        options.add_session_config_entry("session.intra_op.spin_duration_us", "50")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        # onnxruntime's own exception classes share no base of their own.
        except Exception as error:
            raise ModelFileError(
                f"{path} is no model that onnxruntime can read: {str(error).splitlines()[0]}"
            ) from error
        self.metadata = self._session.get_modelmeta().custom_metadata_map
        if problem := self._problem():
            raise ModelFileError(f"{path} {problem}; it was not written by Lightline's export.")

    def __reduce__(self) -> tuple[Any, ...]:
        return (Classifier, self._opened)

    def _problem(self) -> str | None:
        """Tell what the file lacks of the contract; None for nothing."""
        if not isinstance(_json(self.metadata.get("classes")), list):
            return "does not name its classes"
        inputs = [(taken.name, taken.type) for taken in self._session.get_inputs()]
        if inputs != [("image", "tensor(uint8)")]:
            return f"takes {', '.join(' '.join(taken) for taken in inputs)} instead of image tensor(uint8)"
        missing = {"logits", "probabilities"} - {given.name for given in self._session.get_outputs()}
        return f"does not give {' and '.join(sorted(missing))}" if missing else None

    @cached_property
    def output_names(self) -> list[str]:
        return [given.name for given in self._session.get_outputs()]

    @cached_property
    def classes(self) -> list[str]:
        return json.loads(self.metadata["classes"])

    @cached_property
    def reading(self) -> images.Reading:
        said = _json(self.metadata.get("preprocessing")) or {}
        return images.Reading(**{key: said[key] for key in ("max_pixels", "bit_depth") if key in said})

    def predict(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give logits and probabilities, float32 [batch, classes], of uint8 RGB [batch, height, width, 3], any size."""
        logits, probabilities = self._session.run(["logits", "probabilities"], {"image": pixels})
        return np.asarray(logits), np.asarray(probabilities)

    def outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Give all that the file answers, by name; as docs/model-file.md lists it."""
        names, options = self.output_names, onnxruntime.RunOptions()
        if pixels.nbytes > _GIVEN_BACK:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        given = self._session.run(names, {"image": pixels}, options)
        return dict(zip(names, map(np.asarray, given), strict=True))

    def __call__(self, pictures: Picture | Iterable[Picture]) -> Answers:
        """Answer for images: paths, encoded bytes, Pillow's, or uint8 RGB pixels [height, width, 3]; one or many.

        Pixels [batch, height, width, 3] are many. Of many, some are held at a time, so that a generator of them may
        give any number; those of equal size among them are answered together.

        Raises:
            UnusableImageError: one of them cannot be read; the message says which.
            OSError: a file cannot be read.
            TypeError: it is nothing of these.
        """
        one = isinstance(pictures, _SINGLE) or (isinstance(pictures, np.ndarray) and pictures.ndim != 4)
        if not one and not isinstance(pictures, Iterable):
            raise TypeError(_wrong_type(pictures))
        if hasattr(pictures, "read"):  # an open file is an iterable, too: of lines
            raise TypeError("an open file is no image; give its path, or what its read() gives")
        pixels = (self._pixels(picture, number) for number, picture in enumerate([pictures] if one else pictures))  # type: ignore[arg-type]
        return self._joined(list(self._some_at_a_time(pixels)))

    def _some_at_a_time(self, pixels: Iterator[np.ndarray]) -> Iterator[Answers]:
        while some := list(islice(pixels, _AT_ONCE)):
            yield self.answers(some)

    def _joined(self, parts: Sequence[Answers]) -> Answers:
        if len(parts) < 2:
            return parts[0] if parts else self.answers([])
        embeddings = [part.embedding for part in parts if part.embedding is not None]
        return Answers(
            [name for part in parts for name in part.classes],
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.accepted for part in parts]),
            np.concatenate([part.set for part in parts]),
            np.concatenate(embeddings) if embeddings else None,
        )

    def _pixels(self, picture: Picture, number: int) -> np.ndarray:
        try:
            if isinstance(picture, np.ndarray):
                return images.checked_pixels(picture)
            if isinstance(picture, Image.Image):
                return images.pixels_of(picture)
            if isinstance(picture, bytes | bytearray | memoryview):
                return self.read(bytes(picture)).pixels
            if isinstance(picture, str | PathLike):
                return self.read(Path(picture).read_bytes()).pixels
        except images.UnusableImageError as error:
            which = picture if isinstance(picture, str | PathLike) else f"image {number}"
            raise images.UnusableImageError(f"{which}: {error}") from None
        raise TypeError(_wrong_type(picture))

    def read(self, encoded: bytes) -> images.CheckedImage:
        """Read an encoded image as those of the training were read: `pixels` and `bits`, without bytes to keep.

        Raises:
            UnusableImageError: it cannot be decoded.
        """
        return images.check(encoded, self.reading.max_pixels, self.reading.bit_depth, keep=False)

    def answers(self, pixels: list[np.ndarray]) -> Answers:
        """Answer for uint8 RGB images [height, width, 3], each of any size, all in memory together."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, one in enumerate(pixels):
            by_shape.setdefault(one.shape, []).append(number)
        runs = [same[at : at + _AT_ONCE] for same in by_shape.values() for at in range(0, len(same), _AT_ONCE)]
        parts = [self.outputs(_stacked([pixels[number] for number in run])) for run in runs]
        if not parts:
            none = np.zeros((0, len(self.classes)), np.float32)
            return Answers([], none, np.zeros(0, bool), none.astype(bool))
        back = np.argsort([number for run in runs for number in run])
        given: dict[str, Any] = {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}
        probabilities = given["probabilities"]
        best = probabilities.argmax(1)
        likeliest = np.arange(len(self.classes)) == best[:, None]  # what a file of contract 1 does not say
        return Answers(
            [self.classes[number] for number in best],
            probabilities,
            given.get("accepted", np.ones(len(best), bool)),
            given.get("set", likeliest),
            given.get("embedding"),
        )

    def classify(self, encoded: bytes) -> Answer:
        """Answer for an encoded image.

        Raises:
            UnusableImageError: it cannot be decoded.
        """
        answers = self.answers([self.read(encoded).pixels])
        return Answer(answers.classes[0], float(answers.probabilities.max()), bool(answers.accepted[0]))


def _stacked(pixels: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(pixels) if len(pixels) > 1 else pixels[0][None]  # a large photo is not copied


def _wrong_type(found: object) -> str:
    return (
        "an image is a path, encoded bytes, a Pillow image or uint8 RGB pixels [height, width, 3] of numpy; this is "
        f"{type(found).__module__}.{type(found).__qualname__}"
    )


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return None
