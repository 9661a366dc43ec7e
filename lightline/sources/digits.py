"""The handwritten digits that scikit-learn carries.

Source: UCI "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998), its test set; 8×8 pixels of 17
levels of grey.
"""

import gzip
from collections.abc import Iterator
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightline.errors import DataError
from lightline.files import file_digest
from lightline.sources.base import SourceImage


class Digits:
    classes = tuple("0123456789")

    @cached_property
    def _file(self) -> Path:
        # Found without importing scikit-learn, which takes a second and is not needed to read a CSV file.
        package = find_spec("sklearn")
        if package is None or package.origin is None:
            raise DataError("data.source = 'digits' needs scikit-learn; `make setup` installs it.")
        return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"

    def identity(self) -> dict[str, Any]:
        return {"source": "digits", "sha256": file_digest(self._file)}

    def images(self) -> Iterator[SourceImage]:
        import numpy as np  # here: `identity` does without, and every `dvc repro` asks for it

        from lightline_predict.images import encode

        with gzip.open(self._file, "rt") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.int64)
        for number, row in enumerate(table):
            pixels = (row[:64].reshape(8, 8) * 255 // 16).astype(np.uint8)
            yield SourceImage(f"digit-{number:04d}", str(row[64]), partial(encode, pixels), pixels.nbytes)
