"""Classify images with a model file: `lightline-predict classify MODEL IMAGE…`."""

import argparse
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lightline_predict import images
from lightline_predict.batching.items import printable
from lightline_predict.classifier import Classifier
from lightline_predict.errors import LightlineError
from lightline_predict.modes import mode_of


class UnreadableFolderError(LightlineError):
    """A folder's names cannot be read."""


def main(arguments: Sequence[str], prog: str = "lightline-predict classify") -> int:
    """Print a line an image: its path, the class, the probability, and "not accepted" where that is not sure enough."""
    parser = argparse.ArgumentParser(prog=prog, description="Classify images.")
    parser.add_argument("model", type=Path, help="models/model.onnx or models/model.int8.onnx")
    parser.add_argument("image", type=Path, nargs="+", help="image files of any common format and size, or folders")
    options = parser.parse_args(arguments)
    try:
        model = Classifier(options.model)
    except LightlineError as error:
        sys.exit(f"error: {error}")
    try:
        answered = [_print_answer(model, path) for given in options.image for path in files_of(given)]
    except LightlineError as error:
        sys.exit(f"error: {error}")
    if not answered:
        sys.exit(f"error: there is no file in {', '.join(map(str, options.image))}.")
    return 0 if all(answered) else 1


def files_of(path: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """List the files in a folder and in those in it, hidden ones left out, in order; of a file, itself.

    above: the folders that it lies in, to which a link below does not lead back.

    Raises:
        UnreadableFolderError: what is in a folder cannot be told, and so not what is left out.
    """
    if not stat.S_ISDIR(mode_of(path)):
        yield path
    elif (folder := path.resolve()) not in above:
        try:
            names = sorted(path.iterdir())
        except OSError as error:
            raise UnreadableFolderError(f"The folder {path} cannot be read: {error.strerror or error}.") from error
        for inside in names:
            if not inside.name.startswith("."):
                yield from files_of(inside, above | {folder})


def _print_answer(model: Classifier, path: Path) -> bool:
    shown = printable(str(path))
    if (mode := mode_of(path)) and not stat.S_ISREG(mode):  # to read a pipe would wait for ever
        print(f"{shown}: a pipe or device, not a file", file=sys.stderr)
        return False
    try:
        image = model.read(path.read_bytes())
    except images.UnusableImageError as error:
        print(f"{shown}: {error}", file=sys.stderr)
        return False
    except OSError as error:
        print(f"{shown}: cannot be read: {error.strerror}", file=sys.stderr)
        return False
    if (image.bits or 0) > (depth := model.reading.bit_depth):
        print(
            f"{shown}: its values take {image.bits} bits, those of the training images {depth} (data.bit_depth); "
            "what is above became white",
            file=sys.stderr,
        )
    answers = model.answers([image.pixels])
    refused = "" if answers.accepted[0] else "\tnot accepted"
    print(f"{shown}\t{answers.classes[0]}\t{answers.probabilities.max():.4f}{refused}")
    return True
