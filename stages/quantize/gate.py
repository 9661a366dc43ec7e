"""The gate before an int8 file is let out: it must be nearly as right as the fp32 file on the test split."""

from dataclasses import dataclass

import numpy as np

from lightline.data.dataset import Dataset, pixel_stacks
from lightline_predict.classifier import Classifier
from stages.quantize.int8 import QuantizationError

_BATCH = 64


@dataclass(frozen=True)
class Comparison:
    """fp32's and int8's accuracy, and the share of images to which both give the same class; all from 0 to 1."""

    fp32: float
    int8: float
    agreement: float

    @property
    def drop(self) -> float:
        return self.fp32 - self.int8


@dataclass(frozen=True)
class Quantization:
    """What became of a model file.

    num_images: training images that decided the ranges; num_bytes, num_bytes_before: of the int8 and the fp32 file.
    """

    found: Comparison
    num_images: int
    num_bytes: int
    num_bytes_before: int

    def metrics(self) -> dict[str, float | int]:
        """Give the numbers for the report."""
        return {
            "int8_accuracy": round(self.found.int8, 6),
            "int8_accuracy_drop": round(self.found.drop, 6),
            "int8_agreement": round(self.found.agreement, 6),
            "int8_calibration_images": self.num_images,
            "int8_bytes": self.num_bytes,
        }

    def markdown(self) -> str:
        """Write a section of the model card."""
        share = self.num_bytes / self.num_bytes_before
        return (
            "Static, from the fp32 file: uint8 between the layers, int8 weights per channel, ranges from "
            f"{self.num_images:,} training images. Crop, resize, normalisation and softmax are fp32.\n\n"
            f"On the test split its accuracy is {self.found.int8:.4f} and fp32's {self.found.fp32:.4f}; they name the "
            f"same class for {self.found.agreement:.2%} of the images. It has {self.num_bytes:,} bytes, {share:.1%} of "
            "fp32's. "
            "The metrics below, and those in the file, are fp32's; when it is sure, it has found for itself.\n\n"
            "Weights use 7 of their 8 bits: no sum overflows on x86 processors without VNNI (avx512_vnni, avx_vnni) "
            "either, where the file is slower than with it."
        )


def compare(fp32: np.ndarray, int8: np.ndarray, labels: np.ndarray, max_drop: float) -> Comparison:
    """Compare both files' logits, float [images, classes], for the same images.

    Raises:
        QuantizationError: int8's accuracy is lower by more than max_drop.
    """
    exact, rounded = fp32.argmax(1), int8.argmax(1)
    found = Comparison(
        fp32=float((exact == labels).mean()),
        int8=float((rounded == labels).mean()),
        agreement=float((exact == rounded).mean()),
    )
    # The numbers of right answers are whole: no rounding of the quotients decides.
    if int((exact == labels).sum()) - int((rounded == labels).sum()) > max_drop * len(labels) + 1e-6:
        raise QuantizationError(
            f"int8 reaches a test accuracy of {found.int8:.6f} where fp32 has {found.fp32:.6f}, a drop of "
            f"{found.drop:.6f}; export.max_accuracy_drop allows {max_drop}. No int8 file was written. More "
            "export.calibration_images may help; else allow a larger drop, or export fp32 alone with `-S "
            "export.quantize=[]`."
        )
    return found


def logits_of(model: Classifier, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Ask a file for its logits: float32 [len(rows), classes].

    Raises:
        QuantizationError: it answers what is no number.
    """
    found = [np.zeros((0, len(dataset.classes)), np.float32)]
    for stack in pixel_stacks(dataset, rows, _BATCH):
        logits, _ = model.predict(stack)
        if not np.isfinite(logits).all():
            raise QuantizationError("The int8 file answers with what is no number. No int8 file was written.")
        found.append(logits)
    return np.concatenate(found)
