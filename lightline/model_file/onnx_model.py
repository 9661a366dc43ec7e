"""The model file, used: onnxruntime alone, no torch.

python -m lightline predict models/model.onnx cat.jpg dog.png
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from lightline.data import images
from lightline.errors import DataError
from lightline.model_file.decision import Decision

CONTRACT = 2  # 1: logits and probabilities alone, the plain softmax


class Answer(NamedTuple):
    """The likeliest class, its probability, and whether that is sure enough to be accepted."""

    name: str
    confidence: float
    accepted: bool


class OnnxModel:
    """A model file of Lightline's contract.

    Attributes:
        classes: the class names, in output order.
        reading: how image files become the pixels that it takes.
        decision: what made answers of logits when the file was written; a file of contract 1 has the plain softmax.
        metadata: what else the file says of itself: fingerprint, preprocessing, metrics, params, dataset, lightline,
            contract.
    """

    def __init__(self, path: Path, num_threads: int = 0):
        """Open a model file; num_threads: 0 takes all cores.

        Raises:
            DataError: the file is missing, damaged or not of the contract.
        """
        if not path.is_file():
            problem = "is a folder, not a model file" if path.is_dir() else "is missing"
            raise DataError(f"{path} {problem}; `dvc repro` writes models/model.onnx.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3  # errors
        # Threads that spin for longer take the cores from whatever else wants them, and gain nothing within a run.
        options.add_session_config_entry("session.intra_op.spin_duration_us", "50")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        # onnxruntime's own exception classes share no base of their own.
        except Exception as error:
            raise DataError(f"{path} is no model that onnxruntime can read: {str(error).splitlines()[0]}") from error
        self.metadata = self._session.get_modelmeta().custom_metadata_map
        if problem := self._problem():
            raise DataError(f"{path} {problem}; it was not written by Lightline's export.")

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
    def classes(self) -> list[str]:
        return json.loads(self.metadata["classes"])

    @cached_property
    def reading(self) -> images.Reading:
        said = _json(self.metadata.get("preprocessing")) or {}
        return images.Reading(**{key: said[key] for key in ("max_pixels", "bit_depth") if key in said})

    @cached_property
    def decision(self) -> Decision:
        return Decision(**(_json(self.metadata.get("decision")) or {}))

    def predict(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give logits and probabilities, float32 [batch, classes], of uint8 RGB [batch, height, width, 3], any size."""
        logits, probabilities = self._session.run(["logits", "probabilities"], {"image": pixels})
        return np.asarray(logits), np.asarray(probabilities)

    def outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Give all that the file answers, by name; see `pixel_classifier.PixelClassifier`."""
        names = [given.name for given in self._session.get_outputs()]
        return dict(zip(names, map(np.asarray, self._session.run(names, {"image": pixels})), strict=True))

    def classify(self, encoded: bytes) -> Answer:
        """Answer for an encoded image.

        Raises:
            UnusableImageError: it cannot be decoded.
        """
        return self.answer(self.read(encoded).pixels)

    def read(self, encoded: bytes) -> images.CheckedImage:
        """Read an encoded image as those of the training were read.

        Raises:
            UnusableImageError: it cannot be decoded.
        """
        return images.check(encoded, self.reading.max_pixels, self.reading.bit_depth)

    def answer(self, pixels: np.ndarray) -> Answer:
        """Answer for uint8 RGB [height, width, 3]."""
        given = self.outputs(pixels[None])
        probabilities = given["probabilities"][0]
        best = int(probabilities.argmax())
        return Answer(self.classes[best], float(probabilities[best]), bool(given.get("accepted", [True])[0]))


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return None
