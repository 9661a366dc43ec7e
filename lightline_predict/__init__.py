"""Answers of a model file of Lightline: numpy, Pillow and onnxruntime alone.

from lightline_predict import Classifier
Classifier("models/model.onnx")("some.jpg")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightline_predict.classifier import Answers, Classifier

__all__ = ["Answers", "Classifier"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load what stands in `classifier` when it is asked for: errors are read without numpy."""
    if name in __all__:
        from lightline_predict import classifier

        return getattr(classifier, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
