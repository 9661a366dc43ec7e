"""What the first stage finds out, so that nobody learns it after a training."""

import pyarrow as pa
import pytest
from pyarrow import csv

from lightline.errors import ParameterError
from stages.source import __main__ as source
from tests.support.tiny import tiny_params


def test_a_slice_by_nothing_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    csv.write_csv(pa.table({"path": ["a.png"], "label": ["x"], "camera": [1]}), "table.csv")
    (tmp_path / "a.png").write_bytes(b"any")
    table = {
        "source": "table", "path": "table.csv", "path_column": "path", "label_column": "label", "split_column": None,
        "group_column": None, "max_rejected": 0, "max_pixels": 1000, "bit_depth": "auto", "corrections": None,
    }  # fmt: skip
    source.main(tiny_params(data=table, evaluate__slices=["camera", "folder", "size"]))
    with pytest.raises(ParameterError, match=r"names 'lens'.* there are group, folder, .*aspect, camera"):
        source.main(tiny_params(data=table, evaluate__slices=["lens"]))
    with pytest.raises(ParameterError, match="names 'camera'"):
        source.main(tiny_params(evaluate__slices=["camera"]))


def test_a_store_that_may_not_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    store = {"checkpoint__store": str(tmp_path / "file/states")}
    with pytest.raises(ParameterError, match=r"checkpoint\.store = '.*/file/states' cannot be written"):
        source.main(tiny_params(**store))
    store = {"checkpoint__store": str(tmp_path / "states")}
    source.main(tiny_params(**store))
    assert list((tmp_path / "states").iterdir()) == []
