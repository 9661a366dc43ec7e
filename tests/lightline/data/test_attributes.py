"""What a table says of its images comes back by id, whatever its columns are called."""

import numpy as np
import pytest

from lightline.data.attributes import read_attributes, write_attributes
from lightline.errors import DataError


def test_columns_come_back_by_id(tmp_path):
    columns = {"id": ["7", None, "9"], "camera \N{GREEK SMALL LETTER ALPHA}": ["x", "y", "z"]}
    write_attributes(["b.png", "a.png", "b.png"], columns, tmp_path / "a.parquet")
    found = read_attributes(np.array(["a.png", "unknown", "b.png"], object), tmp_path / "a.parquet")
    assert {name: values.tolist() for name, values in found.items()} == {
        "id": [None, None, "7"],
        "camera \N{GREEK SMALL LETTER ALPHA}": ["y", None, "x"],
    }
    before = (tmp_path / "a.parquet").read_bytes()
    write_attributes(["b.png", "a.png", "b.png"], columns, tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == before


def test_there_may_be_none(tmp_path):
    write_attributes((), {}, tmp_path / "a.parquet")
    assert read_attributes(np.array(["a.png"], object), tmp_path / "a.parquet") == {}
    with pytest.raises(DataError, match="`dvc repro download` writes it"):
        read_attributes(np.array(["a.png"], object), tmp_path / "none.parquet")
