"""Classify image files with a model file.

python -m lightline predict models/model.onnx cat.jpg dog.png
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lightline.data import images
from lightline.errors import LightlineError
from lightline.model_file.onnx_model import OnnxModel


def main(arguments: Sequence[str]) -> int:
    """Print a line an image: its path, the class, the probability, and "not accepted" where that is not sure enough."""
    parser = argparse.ArgumentParser(prog="python -m lightline predict", description="Classify images.")
    parser.add_argument("model", type=Path, help="models/model.onnx or models/model.int8.onnx")
    parser.add_argument("image", type=Path, nargs="+", help="image files of any common format and size")
    options = parser.parse_args(arguments)
    try:
        model = OnnxModel(options.model)
    except LightlineError as error:
        sys.exit(f"error: {error}")
    failed = [path for path in options.image if not _print_answer(model, path)]
    return 1 if failed else 0


def _print_answer(model: OnnxModel, path: Path) -> bool:
    try:
        image = model.read(path.read_bytes())
    except images.UnusableImageError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return False
    except IsADirectoryError:
        print(f"{path}: is a folder; name the images in it, as in {path}/*.jpg", file=sys.stderr)
        return False
    except OSError as error:
        print(f"{path}: cannot be read: {error.strerror}", file=sys.stderr)
        return False
    if (image.bits or 0) > (depth := model.reading.bit_depth):
        print(
            f"{path}: its values take {image.bits} bits, those of the training images {depth} (data.bit_depth); "
            "what is above became white",
            file=sys.stderr,
        )
    answer = model.answer(image.pixels)
    print(f"{path}\t{answer.name}\t{answer.confidence:.4f}" + "\tnot accepted" * (not answer.accepted))
    return True
