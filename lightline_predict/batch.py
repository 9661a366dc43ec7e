"""Classify many images into a table: `lightline-predict batch MODEL IN OUT.parquet`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lightline_predict.errors import LightlineError

_DESCRIPTION = """
Classify a folder, an archive (zip, tar, tar.gz, tar.zst), a table (Parquet, CSV, TSV) or s3://BUCKET/NAME of one of
these into a Parquet file with a row for each image, in the input's order: id, predicted, confidence, accepted, set,
probabilities, width, height, error. What cannot be read has a row that says why in `error`. After a kill the same
command goes on where it was, from OUT.parquet.parts beside it.
"""


def main(arguments: Sequence[str]) -> int:
    """Write OUT; gives 1 where an image could not be read, else 0."""
    options = _parser().parse_args(arguments)
    try:
        from lightline_predict.batching.run import run
    except ImportError as error:
        sys.exit(f'error: batch needs {error.name}: pip install "lightline-predict[batch]".')
    try:
        return run(options)
    except LightlineError as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lightline-predict batch", description=_DESCRIPTION)
    parser.add_argument("model", type=Path, help="models/model.onnx or models/model.int8.onnx")
    parser.add_argument("input", metavar="IN", help="a folder, archive, table, or s3:// address of one")
    parser.add_argument("output", metavar="OUT.parquet", type=Path)
    parser.add_argument("--column", help="a table's column of paths or images; default: path, image or file_name")
    parser.add_argument("--id-column", help="a table's column that becomes id; default: the path, or the row's number")
    parser.add_argument("--embedding", action="store_true", help="add what the last layer takes, if the file gives it")
    parser.add_argument("--threads", type=_positive, help="default: one a core")
    parser.add_argument("--batch-size", type=_positive, default=32, help="images a thread takes at a time; default: 32")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)
