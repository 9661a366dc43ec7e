"""Classify image files with a model file.

python -m lightline predict models/model.onnx cat.jpg photos/
"""

from collections.abc import Sequence

from lightline_predict import classify


def main(arguments: Sequence[str]) -> int:
    """Print a line an image; what `lightline-predict classify` does, which needs no clone."""
    return classify.main(arguments, "python -m lightline predict")
