"""Images to measure with."""

import os
from pathlib import Path

CIFAR_VARIABLE = "LIGHTLINE_BENCH_CIFAR"


class MissingDataError(Exception):
    """The question needs images that are not at hand."""


def cifar_archive() -> Path:
    """CIFAR-10 as JPEG files, train/CLASS/*.jpg and test/CLASS/*.jpg, in a tar.gz.

    Raises:
        MissingDataError: `make bench CIFAR=FILE` did not say where it is.
    """
    path = os.environ.get(CIFAR_VARIABLE)
    if not path or not Path(path).is_file():
        raise MissingDataError("needs CIFAR-10 as an archive of JPEG files: `make bench CIFAR=FILE`")
    return Path(path)
